"""An explanation as text: a window's lines, the odd ones marked, with what was expected."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from logmlm.records import UNKNOWN_TEMPLATE, Expectation, Score

CONTEXT = 3
"""Ordinary lines shown on either side of an odd one, where not the whole window is."""
LINE_CHARACTERS = 240
END_OF_WINDOW = "(end of window)"
NEVER_SEEN = "never seen in training"
_RED, _DIM, _PLAIN = "\x1b[1;31m", "\x1b[2m", "\x1b[0m"


def format_explanation(
    score: Score,
    expectations: Sequence[Expectation],
    name: str = "",
    colour: bool = False,
    whole: bool = False,
) -> str:
    """The window's head, then a row a line: `>` if odd, line number, surprisal in nats, text.

    Below an odd line stand the templates that were expected in its place, with probability.
    `expectations` has one entry for each surprisal of `score`, in order. Long runs of ordinary
    lines are folded unless the `whole` window is wanted.
    """
    rows = [_head(score, name)]
    shown = set(range(len(expectations))) if whole else _shown(expectations)
    for place, expectation in enumerate(expectations):
        if place in shown:
            rows += _row(score, expectation, colour)
        elif place - 1 in shown or place == 0:
            count = _run(place, shown, len(expectations))
            lines = "line" if count == 1 else "lines"
            rows.append(f"  {'':>6} {'':>7}  … {count} ordinary {lines}")
    return "\n".join(rows)


def line_text(score: Score, index: int) -> str:
    """The raw line at a place of the window, on one row; the end token's place has a name."""
    if index >= len(score.window.events):
        return END_OF_WINDOW
    return printable(score.window.events[index].line.text)


def is_unseen(score: Score, index: int) -> bool:
    """Return whether the line at a place of the window matches no template of training."""
    events = score.window.events
    return index < len(events) and events[index].template_id == UNKNOWN_TEMPLATE


def printable(text: str) -> str:
    """Text on one row, without control characters, cut where it is very long."""
    row = "".join(
        c if c.isprintable() else "�" for c in text.replace("\n", " ⏎ ").replace("\t", " ")
    )
    return row if len(row) <= LINE_CHARACTERS else row[:LINE_CHARACTERS] + "…"


def _head(score: Score, name: str) -> str:
    window = score.window
    parts = [
        f"window {name}" if name else "window",
        printable(f"{window.partition} {window.key}".strip()),
        f"{_time(window.start)} to {_time(window.end)}",
        f"value {score.value:.3f} ({'at least' if score.is_anomaly else 'below'} the threshold, 1)",
        f"p {score.p_value:.2g}",
        f"pll {score.pll:.1f} nats",
    ]
    surge = surge_text(score)
    return ", ".join(parts) + (f"\nIt alarms with those before it: {surge}." if surge else "")


def surge_text(score: Score) -> str:
    """How many windows alarm together, since when; empty if the window alarms by itself."""
    surge = score.surge
    if surge is None:
        return ""
    return f"{surge.odd} of {surge.windows} windows since {_time(surge.since)} are a little unusual"


def _row(score: Score, expectation: Expectation, colour: bool) -> Iterator[str]:
    mark = ">" if expectation.odd else " "
    number = _number(score, expectation.index)
    text = line_text(score, expectation.index)
    row = f"{mark} {number:>6} {expectation.surprisal:>7.2f}  {text}"
    yield f"{_RED}{row}{_PLAIN}" if colour and expectation.odd else row
    if expectation.odd:
        if is_unseen(score, expectation.index):
            yield f"  {'':>6} {'':>7}  {NEVER_SEEN}"
        for share, template in ((share, text) for text, share in expectation.expected):
            line = f"  {'':>6} {'':>7}  expected {share:>6.1%}  {printable(template)}"
            yield f"{_DIM}{line}{_PLAIN}" if colour else line


def _number(score: Score, index: int) -> str:
    if index >= len(score.window.events):
        return ""
    line = score.window.events[index].line
    return str(line.number or index + 1)


def _shown(expectations: Sequence[Expectation]) -> set[int]:
    """Places near an odd one, and the first and last."""
    last = len(expectations) - 1
    odd = [place for place, expectation in enumerate(expectations) if expectation.odd]
    near = {p for place in odd for p in range(place - CONTEXT, place + CONTEXT + 1)}
    return {p for p in near | {0, last} if 0 <= p <= last}


def _run(place: int, shown: set[int], count: int) -> int:
    end = next((p for p in range(place, count) if p in shown), count)
    return end - place


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
