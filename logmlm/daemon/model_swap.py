"""From one model to another while lines flow: open windows are made again by the new rules."""

from __future__ import annotations

from collections import defaultdict

from logmlm.detection.windows import Windower
from logmlm.parsing.event_parser import EventParser
from logmlm.records import Checkpoint, LogLine, Window


def swap_model(
    old_reader: EventParser, old: Windower, reader: EventParser, windower: Windower
) -> list[Window]:
    """Give every line that is in no scored window yet to the new reader and windower.

    Returns the windows that these lines close. The old reader and windower are of no use any
    more. Until a partition's safe position has passed all that was read by now, its checkpoint
    has `reached` = `safe`: which windows were scored before says nothing about the new ones.
    """
    before = {name: at for name in old.partitions if (at := old.checkpoint(name)) is not None}
    held = [event.line for event in old_reader.flush()]
    opened = [event.line for window in old.close_all() for event in window.events]
    waiting: dict[str, list[LogLine]] = defaultdict(list)
    for line in opened + held:
        waiting[line.partition].append(line)
    windows = []
    reader.adopt(old_reader)
    for name, checkpoint in before.items():
        lines = sorted(waiting.pop(name, ()), key=lambda line: line.start)
        is_midst = lines and checkpoint.watermark is not None  # else the safe position is the first
        start = lines[0].start if is_midst else checkpoint.safe
        windower.resume(name, Checkpoint(start, start, checkpoint.watermark))
        windower.ignore_processed_until(name, checkpoint.reached)
        windows += windower.add(reader.feed(lines))
    for lines in waiting.values():  # of partitions that had nothing but a line held back
        windows += windower.add(reader.feed(lines))
    return windows
