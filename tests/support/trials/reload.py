"""The daemon is told again and again to read its configuration anew, while lines come.

The windows are sessions that overlap, with late lines; those scored are noted. Standard output
has each alert, and a file, by its groups, how many there are of each service.
"""

import json
import signal
import threading
import time
from collections import Counter
from functools import partial

import session_parts
from daemon_parts import noted
from daemon_process import stop

ODD_EVERY = 15
SERVICES = 20
"""No more label sets than a group keeps apart."""
MORE = """\
sinks: [{{stdout: {{}}}}, {{file: {{path: '{directory}/groups', grouped: true}}}}]
alerting: {{group_by: source, group_wait: 1s, group_interval: 5s, repeat_interval: 100s,
  resolve_after: 1000h, flap_window: 1000h}}
"""


def reload(process, *, times):
    """Another model or service each time; every fourth configuration is wrong."""
    done = threading.Event()
    process.line = partial(session_parts.line, odd_every=ODD_EVERY)
    more, scored = MORE.format(directory=process.directory), process.directory / "scored"
    process.configure(model="s8", service="good0", more=more)

    def write():
        while not done.is_set():
            process.write(10)
            time.sleep(0.01)

    with process.running(SCORED_WINDOWS=str(scored)) as child:
        writer = threading.Thread(target=write)
        writer.start()
        try:
            _wait_for_alert(process, "good0", since=0)
            for turn in range(times):
                _reload_once(process, child, turn, more)
        finally:
            done.set()
            writer.join()
        for text in session_parts.last_lines(process.written):
            process.write_line(text)
        process.wait_until(lambda: len(_scored(scored)) >= process.written, every_s=0.5)
        process.wait_until(lambda: _counted(process) == len(process.alerts()) > 0, every_s=0.5)
        stop(child)
    return _judged(process, _scored(scored), times)


def _reload_once(process, child, turn, more):
    is_bad, size = turn % 4 == 3, f"s{8 + turn % 4}"
    service = "bad" if is_bad else f"good{turn % SERVICES}"
    process.configure(model=size, service=service, more=more + "lables: {}\n" * is_bad)
    child.send_signal(signal.SIGHUP)
    process.hear("RELOADING=1")
    process.hear("READY=1")
    if not is_bad:
        _wait_for_alert(process, service, since=(process.directory / "out").stat().st_size)


def _wait_for_alert(process, service, since):
    """Until an alert of `service` stands in standard output, past its first `since` bytes."""

    def came():
        with (process.directory / "out").open() as out:
            out.seek(since)
            return f'"{service}"' in out.read()

    process.wait_until(came)


def _scored(path):
    """In how many different windows each line was scored."""
    return Counter(int(line) for lines in noted(path).values() for line in lines)


def _counted(process):
    """How many alerts the groups have, by what was told of each label set last."""
    told = (process.directory / "groups").read_text().splitlines(keepends=True)
    found = [json.loads(line) for line in told if line.endswith("\n")]
    last = {alert["fingerprint"]: int(alert["annotations"]["count"]) for alert in found}
    return sum(last.values())


def _judged(process, found, times):
    bad = sum(turn % 4 == 3 for turn in range(times))
    twice = sum(count > 1 for count in found.values())
    assert twice == 0, f"{twice} lines in two windows"
    lost = len(set(range(process.written)) - set(found))
    assert lost == 0, f"{lost} lines lost"
    note = json.loads((process.directory / "state" / "model.json").read_text())
    last = max(turn % 4 for turn in range(times - 3, times) if turn % 4 != 3)
    assert note["digest"] == f"s{8 + last}", f"{note} is not the last good one's"
    services = {alert["labels"]["service"] for alert in process.alerts()}
    assert "bad" not in services, "a bad config took effect"
    good = {f"good{turn % SERVICES}" for turn in range(times) if turn % 4 != 3}
    assert services == good, f"{good - services} took no effect"
    refusals = process.messages_at("error")
    assert len(refusals) == bad, f"{len(refusals)} of {bad} bad configs refused"
    assert all("unknown key 'lables'; did you mean 'labels'?" in text for text in refusals)
    return f"{times} reloads, {len(found):,} lines, 0 lost, 0 twice, {bad} of {bad} bad refused"
