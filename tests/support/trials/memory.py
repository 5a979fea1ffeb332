"""How much memory the daemon takes while lines come as fast as it reads them, and keys are new."""

import time
import tracemalloc
from itertools import islice

import numpy as np
from daemon_process import PATIENCE_S, stop
from offline_parts import ODD
from trials.receiver import anonymous, resident
from trials.service import endless

from logmlm.config.training import FormatConfig, WindowConfig
from logmlm.detection.windows import Windower
from logmlm.parsing.event_parser import EventParser
from logmlm.parsing.formats import get_format
from logmlm.records import LogLine

CHUNK = 20_000
CHUNKS = 50
"""So many make a log; then it is rotated."""
MIB = 2**20
STORM = 2_000
"""Sessions that alarm, at the beginning: they fill SQLite's page cache, which is 2 MB."""
ODD_EVERY = 5_000
"""Later on, so many sessions bring an alert."""
SLOPE_ASKED = 1.0
"""MiB an hour."""
NOISE = 1.0
"""MiB that a short trial may show though nothing grows: the allocator's own pieces."""


def full_speed(process, model, *, seconds):
    """The slope of the resident memory after the warm-up: a storm, and a fifth of the time.

    Its anonymous part is told beside it: what is mapped from libraries comes and goes with the
    system's memory.
    """
    lines = endless(odd_every=ODD_EVERY, odd_first=STORM)
    process.configure(model=model)
    with process.running() as child:
        for _ in range(0, len(ODD) * STORM, CHUNK):
            _write(process, lines)
        sizes, storm, began = [], process.written, time.monotonic()
        while (now := time.monotonic() - began) < seconds:
            _write(process, lines)
            sizes.append((now, resident(child.pid), anonymous(child.pid)))
        alerts = len(process.alerts())
        stop(child)
    assert alerts >= STORM, f"{alerts} alerts"
    times, total, own = np.array([each for each in sizes if each[0] > seconds / 5]).T
    slope, own_slope = (np.polyfit(times, size, 1)[0] * 3600 / MIB for size in (total, own))
    hours, rate = seconds / 3600, (process.written - storm) / seconds
    said = f"{hours:.2f} h at {rate:,.0f} lines/s, {total[-1] / MIB:.0f} MiB, {slope:.2f} MiB/h"
    tenths = ", ".join(f"{part.mean() / MIB:.1f}" for part in np.array_split(total, 10))
    said += f" ({own_slope:.2f} anonymous), by tenths of the time {tenths}"
    assert slope * hours < max(SLOPE_ASKED * hours, NOISE), said
    return f"{said}, {alerts:,} alerts"


def _write(process, lines):
    """Write a piece of a log, wait until it is read, and now and then begin another log."""
    process.write_line("\n".join(islice(lines, CHUNK)))
    process.written += CHUNK
    _wait_until_read(process)
    if process.written % (CHUNKS * CHUNK) == 0:
        process.log.rename(process.log.with_name("app.log.1"))
        process.log.touch()


def _wait_until_read(process):
    deadline = time.monotonic() + 10 * PATIENCE_S
    while process.metric("lines_total") < process.written:
        assert time.monotonic() < deadline, "the daemon does not come on"
        time.sleep(0.05)


def distinct_keys(*, keys):
    """Sessions of keys that never come twice: what is held is bounded by those within the gap."""
    form = get_format(FormatConfig(name="plain"))
    reader = EventParser(form, r"(k\d+)", lambda _: "t")
    windower = Windower(WindowConfig(kind="session", key=r"(k\d+)", gap=10, size=100))
    scored, peaks, opened = 0, [], 0
    tracemalloc.start()
    for half in (0, 1):
        tracemalloc.reset_peak()
        for number in range(half * keys // 2, (half + 1) * keys // 2):
            line = LogLine(f"k{number} came", "p", number, number + 1, number / 100)
            scored += len(windower.add(reader.feed([line])))
            opened = max(opened, windower.open_windows)
        peaks.append(tracemalloc.get_traced_memory()[1] / MIB)
    tracemalloc.stop()
    scored += len(windower.add(reader.flush()) + windower.close_all())
    assert scored == keys, f"{keys - scored} windows lost"
    assert peaks[1] < peaks[0] + 0.5, f"memory went from {peaks[0]:.1f} to {peaks[1]:.1f} MiB"
    return f"{keys:,} distinct keys: {opened:,} open at most, {peaks[1]:.1f} MiB"
