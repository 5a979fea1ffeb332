"""The daemon is told again and again to read its configuration anew, while lines come."""

import json
import signal
import threading
import time

from daemon_process import stop


def reload(process, *, times):
    """Another model or service each time; every fourth configuration is wrong."""
    done = threading.Event()

    def write():
        while not done.is_set():
            process.write(10)
            time.sleep(0.01)

    with process.running() as child:
        writer = threading.Thread(target=write)
        writer.start()
        try:
            for turn in range(times):
                _reload_once(process, child, turn)
        finally:
            done.set()
            writer.join()
        process.wait_for(process.written - 11)
        stop(child)
    return _judged(process, times)


def _reload_once(process, child, turn):
    is_bad, size = turn % 4 == 3, str(8 + turn % 4)
    service, more = ("bad", "lables: {}\n") if is_bad else (f"good{turn}", "")
    process.configure(model=size, service=service, more=more)
    child.send_signal(signal.SIGHUP)
    process.hear("RELOADING=1")
    process.hear("READY=1")


def _judged(process, times):
    found, bad = process.numbers(), sum(turn % 4 == 3 for turn in range(times))
    twice = sum(count > 1 for count in found.values())
    assert twice == 0, f"{twice} lines in two windows"
    lost = len(set(range(len(found))) - set(found))
    assert lost == 0, f"{lost} lines lost"
    assert process.written - len(found) < 12, f"{process.written - len(found)} lines not scored"
    note = json.loads((process.directory / "state" / "model.json").read_text())
    last = max(turn % 4 for turn in range(times - 3, times) if turn % 4 != 3)
    assert note == {"digest": f"d{8 + last}"}, f"{note} is not the last good one's"
    services = {alert["labels"]["service"] for alert in process.alerts()}
    assert "bad" not in services, "a bad config took effect"
    assert len(services) > times / 2, f"only {len(services)} configs took effect"
    refusals = process.messages_at("error")
    assert len(refusals) == bad, f"{len(refusals)} of {bad} bad configs refused"
    assert all("unknown key 'lables'; did you mean 'labels'?" in text for text in refusals)
    return f"{times} reloads, {len(found):,} lines, 0 lost, 0 twice, {bad} of {bad} bad refused"
