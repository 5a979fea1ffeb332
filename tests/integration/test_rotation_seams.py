"""A rotated log makes the same windows when it is followed and when it is read later."""

from __future__ import annotations

from pathlib import Path

import pytest
from cut_parts import BEGIN, KEY, stamp

from logmlm.config.sources import FileSourceConfig
from logmlm.config.training import FormatConfig, WindowConfig
from logmlm.daemon.pipeline import Pipeline
from logmlm.detection.seams import find_rotation_seams
from logmlm.detection.surges import SurgeMonitor
from logmlm.detection.windows import Windower
from logmlm.parsing.event_parser import EventParser
from logmlm.parsing.formats import get_format
from logmlm.records import Score, Window
from logmlm.sources.archive.reader import partition_of, read_lines
from logmlm.sources.file.checkpoints import CheckpointStore
from logmlm.sources.file.source import FileSource

ISO = get_format(FormatConfig(name="iso8601"))
WINDOWS = WindowConfig(kind="session", key=KEY, gap=10)
Seen = tuple[str, str, float, int, bool, bool]
OLD = (("req-1", 0), ("req-2", 20), ("req-3", 28), ("req-2", 29), ("req-4", 30))
NEW = (("req-5", 31), ("req-2", 33), ("req-4", 38), ("req-6", 42), ("req-2", 60), ("req-7", 90))


class Clock:
    """Event time, by which the source and the loop go."""

    def __init__(self) -> None:
        self.now = BEGIN

    def wait(self, seconds: float) -> None:
        self.now += seconds


class Kept:
    """In place of alerting: the windows that were scored."""

    def __init__(self) -> None:
        self.windows: list[Window] = []

    def update(self, scores: list[Score], _now: float) -> list[object]:
        self.windows += [score.window for score in scores]
        return []

    def deliver(self, _now: float) -> None:
        """Nobody is told."""

    def is_settled(self, _alert_id: str) -> bool:
        return True

    def is_behind(self, _now: float) -> bool:
        return False


def write(path: Path, lines: tuple[tuple[str, int], ...]) -> None:
    with path.open("a") as stream:
        for key, time in lines:
            stream.write(f"{stamp(BEGIN + time)} INFO {key} works\n")


def seen(windows: list[Window]) -> set[Seen]:
    return {
        (w.partition, w.key, w.start - BEGIN, len(w.events), w.begun, w.complete) for w in windows
    }


def finished(paths: list[Path]) -> set[Seen]:
    names = [str(path) for path in paths]
    windower, reader = Windower(WINDOWS), EventParser(ISO, KEY, lambda _: "t", finished=True)
    for log, seam in find_rotation_seams(names, ISO).items():
        windower.join_partitions(log, seam.begins, seam.goes_on)
    windows = []
    for name in names:
        windows += windower.add(reader.feed(read_lines([name], 0.0)) + reader.flush())
        windows += windower.close_all()
    partitions = {name: partition_of(name) for name in names}
    return {(partitions[each[0]], *each[1:]) for each in seen(windows)}


def score(windows: list[Window]) -> list[Score]:
    return [Score(window, (1.0,), (1.0,), 0.5, 0.5) for window in windows]


@pytest.mark.parametrize("included", ["app.log*", "app.log"])
@pytest.mark.parametrize("restarts", [False, True])
def test_windows_at_a_seam_are_parts_followed_or_finished(
    tmp_path: Path, included: str, restarts: bool
) -> None:
    log, clock, kept = tmp_path / "app.log", Clock(), Kept()

    def pipeline() -> Pipeline:
        source = FileSource(
            FileSourceConfig(include=(str(tmp_path / included),), start_at="beginning"),
            CheckpointStore(tmp_path / "checkpoints.json"),
            clock=lambda: clock.now,
            wait=clock.wait,
            monotonic=lambda: clock.now,
        )
        reader = EventParser(ISO, KEY, lambda _: "t")
        parts = Windower(WINDOWS), SurgeMonitor(score), kept, lambda: clock.now
        return Pipeline(source, reader, *parts, monotonic=lambda: clock.now)  # type: ignore[arg-type]

    running = pipeline()
    for lines in (OLD, NEW):
        for line in lines:
            clock.now = BEGIN + line[1]
            write(log, (line,))
            running.step()
            if restarts and line in (OLD[-1], NEW[1], NEW[4]):
                running.commit()
                running = pipeline()
        if lines is OLD:
            log.rename(tmp_path / "app.log.1")
    for _ in range(80):
        running.step()  # which waits for half a second
    expected = finished([tmp_path / "app.log.1", log])
    assert seen(kept.windows) == expected
    flags = {(each[1], each[2]): each[4:] for each in expected}
    assert flags == {
        ("req-1", 0): (True, True),
        ("req-2", 20): (True, False),
        ("req-3", 28): (True, False),
        ("req-4", 30): (True, False),
        ("req-5", 31): (False, True),
        ("req-2", 33): (False, True),
        ("req-4", 38): (False, True),
        ("req-6", 42): (True, True),
        ("req-2", 60): (True, True),
        ("req-7", 90): (True, True),
    }
