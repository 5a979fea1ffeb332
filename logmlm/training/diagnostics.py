"""What to say of a lesson: what looks wrong with it, and why it is too little to train on."""

from __future__ import annotations

from logmlm.config.training import WindowConfig
from logmlm.mlm.corpus import MIN_WINDOWS
from logmlm.parsing.event_parser import NO_LINES
from logmlm.parsing.input_check import SUSPICIOUS_SHARE
from logmlm.training.corpus_builder import TrainingData

KEYLESS_SHARE = 0.5
"""With more lines than this without a key, sessions are hardly what was meant."""
_LEAST_SIZE = 2


def find_problems(lesson: TrainingData, window: WindowConfig, line_format: str) -> list[str]:
    """Sentences on what is there to learn from, but is hardly what was meant."""
    found = _suspicions(lesson, window, line_format)
    if window.kind == "count" and window.key is not None:
        found.append(
            f"windows of {window.size} lines are cut whatever their keys, so the key '{window.key}'"
            " is not used; --window session or time goes by it"
        )
    if lesson.overruns:
        found.append(
            f"matching a pattern was given up {lesson.overruns:,} times in {lesson.lines:,} lines,"
            " as it took too long (see the notes before); there it counts as no match"
        )
    return [*lesson.templates.diagnose(), *lesson.warnings, *found]


def is_foreign(lesson: TrainingData) -> bool:
    """Return whether not one line is of the line format, though they may begin with dates."""
    misfits, lines = _misfits(lesson)
    return misfits >= lines


def explain_too_few_windows(lesson: TrainingData, window: WindowConfig, line_format: str) -> str:
    """Say why there are less windows than `MIN_WINDOWS`, and what helps."""
    misfits, lines = _misfits(lesson)
    if not lines:
        return NO_LINES
    if misfits >= lines:
        return (
            f"none of the {lesson.lines} lines is of the format '{line_format}'; take --format"
            " auto, or the one that these logs have"
        )
    left_out = f" ({lesson.left_out} labelled ones left out)" if lesson.left_out else ""
    return (
        f"{lesson.lines} lines make {len(lesson.corpus)} windows{left_out}, and {MIN_WINDOWS} are"
        f" needed to train; {_help(lesson, window, line_format)}"
    )


def _help(lesson: TrainingData, window: WindowConfig, line_format: str) -> str:
    if len(lesson.corpus) + lesson.left_out >= MIN_WINDOWS:
        return (
            "it is the labels that leave too few: see that they name anomalies alone, or give"
            " more normal logs"
        )
    advice = {
        "session": f"a --gap below {window.gap:g}s, a --key of more values, or --window count",
        "count": f"a --size below {window.size}",
        "time": f"a --size below {window.span:g}s",
    }[window.kind]
    lines = lesson.lines - lesson.discarded.total()
    least = _LEAST_SIZE if window.kind == "count" else 1
    doubts = _suspicions(lesson, window, line_format)
    if lines < least * MIN_WINDOWS:
        return "; ".join(["give more logs, as no setting makes so many windows of these", *doubts])
    return "; ".join(doubts) or f"give more logs, or {advice}"


def _suspicions(lesson: TrainingData, window: WindowConfig, line_format: str) -> list[str]:
    """What may well be why there is little to learn from."""
    found = []
    misfits, lines = _misfits(lesson)
    if misfits > SUSPICIOUS_SHARE * lines:
        found.append(
            f"{misfits:,} of {lines:,} lines are not of the line format '{line_format}' and were"
            " left out; train on logs of one format, and name it with --format"
        )
    if window.kind == "session" and lesson.lines_without_key > KEYLESS_SHARE * lesson.lines:
        found.append(
            f"{lesson.lines_without_key:,} of {lesson.lines:,} lines have no key"
            f" '{window.key}', and were cut"
            " by time and number alone; name a field that this line format has, or a regular"
            " expression"
        )
    return found


def _misfits(lesson: TrainingData) -> tuple[int, int]:
    """How many lines were not of the line format, and of how many; blank ones aside."""
    aside = lesson.discarded["blank"] + lesson.discarded["comment"]
    return lesson.discarded.total() - aside + lesson.is_foreign, lesson.lines - aside
