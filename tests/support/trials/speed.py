"""How soon an alert is posted, and what idling costs; with a real model."""

from itertools import islice

from bench import daemon as bench
from offline_parts import write_log
from trials.service import endless

P99_ASKED_S = 1.0
IDLE_ASKED = 0.01
RATE = 5000.0
ODD_EVERY = 500
"""Sessions, of which there are more than a thousand a second."""


def measured(directory, model, *, seconds, idle_seconds, quiet_seconds=5.0):
    log = directory / "recorded.log"
    write_log(log, islice(endless(odd_every=ODD_EVERY), int(RATE * seconds)))
    told = ["--rate", str(RATE), "--seconds", str(seconds), "--idle-seconds", str(idle_seconds)]
    told += ["--quiet-seconds", str(quiet_seconds), "--device", "cpu"]
    told += ["--model", str(model), "--log", str(log)]
    return bench.measure(bench.parser().parse_args(told))


def latency(directory, model, *, seconds):
    """From a line's arrival, of a window that closes on it, to its POST; at 5,000 lines/s."""
    found = measured(directory, model, seconds=seconds, idle_seconds=1.0)
    said = (
        f"p50 {found['latency_p50_s']:.3f} s, p99 {found['latency_p99_s']:.3f} s "
        f"at {found['lines_per_s']:,.0f} lines/s, {found['alerts']} alerts"
    )
    assert found["lines_per_s"] > 0.95 * RATE, f"too slow: {said}"
    assert found["latency_p99_s"] < P99_ASKED_S, said
    return said


def idle(directory, model, *, seconds):
    """The share of a core that the daemon takes while nothing comes."""
    found = measured(directory, model, seconds=5.0, idle_seconds=seconds)
    share = found["idle_share_of_a_core"]
    said = f"{share:.2%} of a core over {seconds:.0f} s"
    assert share <= IDLE_ASKED, said
    return said
