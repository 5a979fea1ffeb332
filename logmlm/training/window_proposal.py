"""Propose the windows that fit a log, from its first lines: kind, key, gap and size.

Sessions of a key where one makes the log predictable (`key_candidates`), else windows of a number
of lines. The size follows from the number of lines, so that there are windows enough to learn from
and to calibrate on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

from logmlm.config.training import TrainingConfig, WindowConfig
from logmlm.detection.windows import Windower
from logmlm.mlm.corpus import MIN_WINDOWS
from logmlm.parsing.event_parser import EventParser
from logmlm.parsing.formats import LineFormat
from logmlm.parsing.template_miner import TemplateMiner
from logmlm.records import Event, LogLine
from logmlm.training.key_candidates import KeyCandidate, best_key

PROPOSAL_LINES: Final = 65_536
"""So many of the first lines are counted: with more, `size` is what it is for many."""
JUDGED_LINES: Final = 8_000
"""Among so many of them a key is looked for."""
ENOUGH_WINDOWS: Final = 2 * MIN_WINDOWS
"""Sessions are proposed where they make so many windows, or more than a number of lines would."""
SIZES: Final = (128, 64, 32, 16, 8, 4, 2)
"""Sizes that are proposed, in lines."""
LEAST_SESSION: Final = 8
"""Lines at which sessions are cut at least."""
GAPS_S: Final = (5.0, 10.0, 30.0, 60.0)
"""Pauses that are proposed to end a session; what ships logs is late by seconds as it is."""
GAP_QUANTILE: Final = 0.99
GAP_FACTOR: Final = 3.0
"""A session ends at a pause so many times as long as nearly all pauses within sessions."""


@dataclass(frozen=True, slots=True)
class WindowProposal:
    """A window policy, and a sentence that says why it was taken and how to change it."""

    window: WindowConfig
    reason: str


def propose_window(
    config: TrainingConfig, line_format: LineFormat, lines: Sequence[LogLine]
) -> WindowProposal:
    """Choose kind, key, gap and size for a log with these first lines; the rest stays as it is."""
    events = _events(config, line_format, lines[:JUDGED_LINES])
    size = size_for(len(lines))
    found = best_key(events)
    session = found and _sessions(config.window, events, found, len(events) // size)
    if found and session:
        return WindowProposal(session, _session_reason(session, found, len(events)))
    return WindowProposal(
        config.window.model_copy(update={"kind": "count", "size": size}),
        f"windows: {size} lines each, as no key was found that lines close in time share;"
        " change it with --key KEY or --size N",
    )


def size_for(lines: int) -> int:
    """Return how many lines a window takes where there are so many lines in all.

    Half of the root: windows get longer, and more, with the number of lines.
    """
    return next(
        (size for size in SIZES if 4 * size * size <= lines and lines // size >= ENOUGH_WINDOWS),
        SIZES[-1],
    )


def _events(
    config: TrainingConfig, line_format: LineFormat, lines: Sequence[LogLine]
) -> list[Event]:
    """Return the lines as events, with templates that are learned for this alone."""
    miner = TemplateMiner(config.templates)
    multiline = config.format.named(line_format.name).multiline
    parser = EventParser(line_format, None, miner.learn, multiline, finished=True)
    return parser.feed(lines) + parser.flush()


def _sessions(
    window: WindowConfig, events: Sequence[Event], key: KeyCandidate, otherwise: int
) -> WindowConfig | None:
    """Return sessions, cut at a smaller size where whole ones are too few; None if all are.

    Enough are `ENOUGH_WINDOWS`, or as many as windows without a key would be: `otherwise`.
    """
    keyed = [event._replace(key=value) for event, value in zip(events, key.values, strict=True)]
    gap = _gap(events, key.values)
    for size in (size for size in SIZES if size >= LEAST_SESSION):
        policy = {"kind": "session", "key": key.key, "gap": gap, "size": size}
        session = window.model_copy(update=policy)
        windower = Windower(session)
        if len(windower.add(keyed)) + len(windower.close_all()) >= min(ENOUGH_WINDOWS, otherwise):
            return session
    return None


def _gap(events: Sequence[Event], values: Sequence[str]) -> float:
    """Return the least of `GAPS_S` that ends hardly any session early."""
    last: dict[str, float] = {}
    pauses = []
    for event, value in zip(events, values, strict=True):
        if value in last:
            pauses.append(event.timestamp - last[value])
        if value:
            last[value] = event.timestamp
    pauses = sorted(pause for pause in pauses if pause <= GAPS_S[-1])
    usual = pauses[min(len(pauses) - 1, int(GAP_QUANTILE * len(pauses)))] if pauses else inf
    return next((gap for gap in GAPS_S if gap >= GAP_FACTOR * usual), GAPS_S[-1])


def _session_reason(window: WindowConfig, key: KeyCandidate, lines: int) -> str:
    cut = "" if window.size == SIZES[0] else f" or at {window.size} lines"
    return (
        f"windows: sessions of the key '{key.key}', ended by a pause of {window.gap:g}s{cut}"
        f" ({key.coverage:.0%} of the first {lines:,} lines carry it, and lines close in time share"
        " it); change it with --key KEY, --gap or --window count --size N"
    )
