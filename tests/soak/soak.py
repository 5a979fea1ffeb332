"""Breaks the daemon for hours, and says in a table whether it kept its promises.

make soak
make soak ROWS="kill rebalance" SCALE=0.05
.venv/bin/python tests/soak/soak.py --short --allow-missing

The trials are those of the tests, with the full figures. A row that falls short of what is asked
makes the exit status 1, and so does one whose program is missing, unless that is allowed.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

ROOT = Path(__file__).parents[2]
SHORT = 0.05
Trial = Callable[[Path, float], str]
EQUAL = "alert ids equal those of `score`: 0 missing, 0 more"


@dataclass(frozen=True)
class Row:
    """`run` is given a directory and the share of the full figures, and says what it measured.

    `lacking` says which program is missing here; empty if none is.
    """

    done: str
    asked: str
    run: Trial
    lacking: Callable[[], str] = lambda: ""


@dataclass(frozen=True)
class Outcome:
    name: str
    row: Row
    measured: str
    verdict: str
    took_s: float


def part(full: float, scale: float, least: float) -> int:
    """A share of a full figure, but no less than `least`."""
    return int(max(least, full * scale))


def trial(module: str, name: str) -> Callable[..., str]:
    found: Callable[..., str] = getattr(import_module(f"trials.{module}"), name)
    return found


@contextmanager
def brokers(directory: Path, kind: str) -> Iterator[Any]:
    import kafka_parts

    place = directory / kind
    place.mkdir()
    with kafka_parts.running_broker(place, getattr(kafka_parts, kind)) as running:
        yield running


def no_kafka() -> str:
    import kafka_parts

    return kafka_parts.reason_to_skip() or ""


def no_journal() -> str:
    import journal_parts

    return journal_parts.LACKING if journal_parts.is_missing() else ""


def no_mounts() -> str:
    from trials.state import can_mount

    return "" if can_mount() else "nothing may be mounted here (`unshare -rm` must work)"


def kill(directory: Path, scale: float) -> str:
    with brokers(directory, "Broker") as broker:
        counts = {"records": part(1e6, scale, 50_000), "kills": part(200, scale, 10)}
        return trial("kafka", "kill")(broker, directory, **counts)


def rebalance(directory: Path, scale: float) -> str:
    with brokers(directory, "Broker") as broker:
        records = part(500_000, scale, 30_000)
        return trial("kafka", "rebalance")(broker, directory, records=records)


def broker(directory: Path, scale: float) -> str:
    records, found = part(100_000, scale, 3_000), []
    for kind, name in (("Broker", "restart"), ("Cluster", "lose_one")):
        (directory / name).mkdir()
        with brokers(directory, kind) as running:
            found.append(trial("kafka", name)(running, directory / name, records=records))
    return "; ".join(found)


def rotation(directory: Path, scale: float) -> str:
    counts = {"lines": part(100_000, scale, 5_000), "kills": part(100, scale, 6)}
    found = trial("rotation", "rotate")(directory, files=5, **counts)
    place = directory / "shipped"
    place.mkdir()
    model = trial("disturbances", "trained")(place)
    counts = {"lines": part(200_000, scale, 10_000), "kills": part(10, scale, 2)}
    return f"{found}; as shipped: {trial('disturbances', 'rotate')(place, model, **counts)}"


def journal(directory: Path, scale: float) -> str:
    return trial("journal", "vacuum")(directory, turns=part(50, scale, 5))


def receiver(directory: Path, scale: float) -> str:
    from daemon_process import Process

    from logmlm.alerting.store.database import StateDatabase

    with closing(StateDatabase(directory / "hour.db")) as state:
        hour = trial("receiver", "an_hour")(state, every_s=min(30, round(1 / scale)))
    with closing(StateDatabase(directory / "slow.db")) as state:
        slow = trial("receiver", "slow")(state, alerts=part(1000, scale, 20))
    told = {"seconds": part(3600, scale, 300), "alerts": part(120, scale, 20)}
    told["speed"] = 10 if scale == 1 else 100
    return f"{hour}; {slow}; {trial('hostile', 'down')(Process(directory), **told)}"


def state(directory: Path, scale: float) -> str:
    found, times = [], part(400, scale, 40)
    for name, told in (
        ("damage", {"times": times, "with_log": False}),
        ("damage", {"times": times, "with_log": True}),
        ("damage_positions", {"times": times}),
        ("killed", {"times": part(100, scale, 5)}),
    ):
        place = directory / str(len(found))
        place.mkdir()
        found.append(trial("state", name)(place, **told))
    found.append(trial("state", "full_disk")(directory / "full.db"))
    found.append(trial("state", "full_tmpfs")(directory))
    return "; ".join(found)


def poison(_directory: Path, scale: float) -> str:
    fuzzed = trial("poison", "fuzz")(lines=part(1e7, scale, 20_000))
    bombs = trial("poison", "bombs")(rounds=part(500, scale, 4))
    return f"{fuzzed}; {bombs}; {trial('poison', 'records')(number=part(1e6, scale, 2_000))}"


def reload(directory: Path, scale: float) -> str:
    from daemon_process import Process

    return trial("reload", "reload")(Process(directory), times=part(1000, scale, 20))


def memory(directory: Path, scale: float) -> str:
    from daemon_process import Process

    keys = trial("memory", "distinct_keys")(keys=part(1e6, scale, 20_000))
    told = Process(directory), a_model(directory)
    return f"{trial('memory', 'full_speed')(*told, seconds=part(7200, scale, 60))}; {keys}"


def latency(directory: Path, scale: float) -> str:
    return trial("speed", "latency")(directory, a_model(directory), seconds=part(120, scale, 5))


def idle(directory: Path, scale: float) -> str:
    return trial("speed", "idle")(directory, a_model(directory), seconds=part(600, scale, 10))


def disturbed(directory: Path, name: str, **told: Any) -> str:
    """Disturb the daemon as it is shipped, on a topic."""
    model = trial("disturbances", "trained")(directory)
    with brokers(directory, "Broker") as running:
        return trial("disturbances", name)(running, directory, model, **told)


def lag(directory: Path, scale: float) -> str:
    return disturbed(directory, "backlog", records=part(300_000, scale, 20_000))


def outage(directory: Path, scale: float) -> str:
    counts = {"records": part(300_000, scale, 10_000), "live": part(30_000, scale, 10_000)}
    return disturbed(directory, "lose_broker", **counts)


def killed(directory: Path, scale: float) -> str:
    counts = {"records": part(300_000, scale, 10_000), "live": part(60_000, scale, 5_000)}
    return disturbed(directory, "kill", kills=part(8, scale, 3), **counts)


def stopped(directory: Path, scale: float) -> str:
    counts = {"records": part(300_000, scale, 15_000), "live": part(90_000, scale, 15_000)}
    return disturbed(directory, "stop_one", stops=part(5, scale, 1), **counts)


def held(directory: Path, scale: float) -> str:
    told = {"records": part(300_000, scale, 30_000), "down_s": part(110, scale, 60)}
    return disturbed(directory, "hold", **told)


def files(directory: Path, scale: float) -> str:
    model, found = trial("disturbances", "trained")(directory), []
    for number, lines in ((150, 2_000), (5_000, 60)):
        place = directory / str(number)
        place.mkdir()
        told = {"number": part(number, scale, 20), "lines": lines}
        found.append(trial("disturbances", "files")(place, model, **told))
    return "; ".join(found)


def a_model(directory: Path) -> str:
    return trial("service", "trained")(directory)


ROWS: Mapping[str, Row] = MappingProxyType(
    {
        "kill": Row(
            "SIGKILL at random times, Kafka, 6 partitions, sessions with late lines, groups; "
            "a rule for the model, a fast clock",
            "no window lost, alert ids equal, at most one repeated POST a kill",
            kill,
            no_kafka,
        ),
        "rebalance": Row(
            "3 to 1 to 3 processes, one ended, one killed; a rule for the model, a fast clock",
            "alert ids equal, lag 0",
            rebalance,
            no_kafka,
        ),
        "broker": Row(
            "broker restarted; one of three brokers killed; a rule for the model, a fast clock",
            "goes on within 10 s, nothing lost",
            broker,
            no_kafka,
        ),
        "rotation": Row(
            "rotation, with SIGKILLs: 5 files, a rule and a fast clock; one as shipped",
            "0 lost, 0 twice in a window; alert ids equal those of `score`",
            rotation,
        ),
        "journal": Row(
            "journal rotated and vacuumed; the source alone",
            "0 lost while entries exist, each gap counted",
            journal,
            no_journal,
        ),
        "receiver": Row(
            "down for an hour, 500, time-outs, 429, 401, slow; bodies and redirects that harm",
            "0 lost, others not delayed, 64 MiB at most, caught up with in 10 minutes",
            receiver,
        ),
        "state": Row(
            "state and positions cut or bits flipped, writers killed; disk full",
            "each one noticed or harmless, or told and those before used; never silently wrong",
            state,
            no_mounts,
        ),
        "poison": Row(
            "fuzzed lines and records, bombs, clock jumps; no scores",
            "0 crashes, every drop counted",
            poison,
        ),
        "reload": Row(
            "SIGHUP under load, sessions, groups; a rule for the model, a fast clock",
            "0 lost, a bad config never takes effect",
            reload,
        ),
        "lag": Row(
            "the daemon as shipped: 300,000 records wait, and it gets little of the processor",
            EQUAL,
            lag,
            no_kafka,
        ),
        "outage": Row(
            "the daemon as shipped: the only broker killed for 12 s", EQUAL, outage, no_kafka
        ),
        "killed": Row("the daemon as shipped: 8 SIGKILLs", EQUAL, killed, no_kafka),
        "stopped": Row(
            "the daemon as shipped: one of two processes stopped for 60 s, 5 times",
            EQUAL,
            stopped,
            no_kafka,
        ),
        "held": Row("the daemon as shipped: the receiver down for 110 s", EQUAL, held, no_kafka),
        "files": Row(
            "the daemon as shipped: 150 and 5,000 files from their beginning", EQUAL, files
        ),
        "memory": Row(
            "full speed, a real model, a fast clock; distinct keys",
            "slope under 1 MiB/h after warm-up; bounded",
            memory,
        ),
        "latency": Row(
            "5,000 lines/s into a followed file, a real model", "p99 under 1 s", latency
        ),
        "idle": Row("nothing comes, a real model", "1 % of a core at most", idle),
    }
)


def attempt(name: str, row: Row, scale: float, allow_missing: bool) -> Outcome:
    began = time.monotonic()
    if lacking := row.lacking():
        verdict = "skipped" if allow_missing else "short"
        return Outcome(name, row, f"skipped: {lacking}", verdict, 0.0)
    with tempfile.TemporaryDirectory() as directory:
        try:
            measured, verdict = row.run(Path(directory), scale), "ok"
        except (Exception, SystemExit) as error:  # whatever it is, the other rows run
            first = (str(error) or "no reason given").splitlines()[0]
            measured, verdict = f"{type(error).__name__}: {first}", "short"
            print(f"{name}: {error}", file=sys.stderr)
    return Outcome(name, row, measured, verdict, time.monotonic() - began)


def table(outcomes: Iterable[Outcome]) -> str:
    """What was found, as Markdown."""
    head = ["| row | what was done | asked | measured | took | |", "|---|---|---|---|---|---|"]
    lines = [
        f"| {one.name} | {one.row.done} | {one.row.asked} | {one.measured.replace('|', '/')} "
        f"| {one.took_s:.0f} s | {one.verdict} |"
        for one in outcomes
    ]
    return "\n".join([*head, *lines]) + "\n"


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"some of {', '.join(ROWS)}")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full figures")
    parser.add_argument("--short", action="store_true", help=f"the same as --scale {SHORT}")
    parser.add_argument("--allow-missing", action="store_true", help="a skipped row is no failure")
    parser.add_argument("--output", type=Path, default=ROOT / "soak-results.md")
    return parser


def main(arguments: list[str] | None = None, rows: Mapping[str, Row] = ROWS) -> int:
    options = parser().parse_args(arguments)
    if unknown := set(options.rows) - set(rows):
        parser().error(f"there is no row {', '.join(sorted(unknown))}; rows are {', '.join(rows)}")
    scale = SHORT if options.short else options.scale
    if not 0 < scale <= 1:
        parser().error("the scale is over 0, and 1 at most")
    logging.getLogger("logmlm").addHandler(logging.NullHandler())  # trouble is what is tried
    outcomes = []
    for name in options.rows or rows:
        print(f"{name} ...", file=sys.stderr, flush=True)
        outcomes.append(attempt(name, rows[name], scale, options.allow_missing))
        options.output.write_text(f"Share of the full figures: {scale:g}\n\n{table(outcomes)}")
    print(table(outcomes))
    return int(any(one.verdict == "short" for one in outcomes))


if __name__ == "__main__":
    # This checkout's logmlm is what is tried, also in the programs that the trials start.
    places = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests/support")]
    sys.path[:0] = places
    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join([*places, before])
    sys.exit(main())
