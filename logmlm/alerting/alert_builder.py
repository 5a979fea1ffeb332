"""Build the alert of a window: labels, severity, annotations."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from logmlm.detection.explanation import (
    NEVER_SEEN,
    is_unseen,
    line_text,
    printable,
    surge_text,
)
from logmlm.detection.windows import window_id
from logmlm.parsing.formats import attribute
from logmlm.parsing.severity import is_error
from logmlm.records import END_TOKEN, UNKNOWN_TEMPLATE, Alert, Event, Expectation, Score
from logmlm.system.text import format_rfc3339

ALERT_NAME = "LogAnomaly"
MAX_LINES = 20
MAX_ANOMALOUS = 5
MAX_EXPECTED = 3
MAX_CHARACTERS = 240
MAX_DESCRIPTION = 8000
ERROR_VALUE = 2.0
SURGE = "[SURGE]"
"""Part of the pattern of a surge, beside the odd places of its last window."""
LOCATION_LABELS = (("host", ("host",)), ("service", ("service", "unit")))
"""Labels that lines give themselves, and the attributes to take each from, in this order."""
_MASK = 2**64 - 1
_VARIABLE = re.compile(r"\w*\d\w*")


def build_alert(  # noqa: PLR0913  each is given by its name
    score: Score,
    expectations: Sequence[Expectation],
    *,
    digest: str,
    labels: Mapping[str, str],
    origin: str,
    description: str,
    defaults: Mapping[str, str] = MappingProxyType({}),
    redact: Callable[[str], str] = str,
) -> Alert:
    """Build the alert of a window that reaches the threshold; equal scores give equal alerts.

    `digest` is the model's. `labels` are those that all alerts of this process share (`model`,
    `source`, and the user's own), and go before what the lines say themselves (`location_labels`).
    `defaults` holds the `host` of lines that name none, and the `file` they were read from.
    `origin` says where the lines come from, `description` explains the score at length. All
    annotations are bounded in length. What lines say goes through `redact`, `description` apart,
    which is made of `redacted`; id and pattern are those of the lines as they are.
    """
    own = {"alertname": ALERT_NAME, "severity": severity(score, expectations)}
    identity = window_id(digest, score.window)
    said = {name: redact(value) for name, value in location_labels(score, defaults).items()}
    every = {**own, **said, **labels}
    shown, told = redacted(score, expectations, redact)
    more = {
        "origin": redact(origin),
        "pattern": anomaly_pattern(score, expectations),
        "window": identity,
    }
    return Alert(
        id=identity,
        fingerprint=fingerprint(every),
        labels=every,
        annotations={**_annotations(shown, told, description), **more},
        starts_at=score.window.start,
        ends_at=None,
        score=score,
    )


def _annotations(
    score: Score, expectations: Sequence[Expectation], description: str
) -> dict[str, str]:
    """Return what an alert tells of a window, each text bounded in length."""
    return {
        "summary": _summary(score, expectations),
        "description": _cut(description, MAX_DESCRIPTION),
        "score": f"{score.value:.3f}",
        "threshold": "1.000",
        "pll": f"{score.pll:.2f}",
        "lines": "\n".join(_lines(score, expectations)),
        "expected": "\n".join(_expected(score, expectations)),
        "last_line_at": format_rfc3339(score.window.end),
        "key": _cut(score.window.key, MAX_CHARACTERS),
        **({"surge": surge_text(score)} if score.surge else {}),
    }


def redacted(
    score: Score, expectations: Sequence[Expectation], redact: Callable[[str], str]
) -> tuple[Score, list[Expectation]]:
    """Return both with what lines, key and templates say gone through `redact`.

    That comes before anything is cut to its length, as half of a secret may fit no rule.
    """
    events = tuple(
        event._replace(parsed=event.fields, line=event.line._replace(text=redact(event.line.text)))
        for event in score.window.events
    )
    window = replace(score.window, events=events, key=redact(score.window.key))
    told = [
        replace(each, expected=tuple((redact(text), share) for text, share in each.expected))
        for each in expectations
    ]
    return replace(score, window=window), told


def severity(score: Score, expectations: Sequence[Expectation]) -> str:
    """Return the severity: `critical` if both conditions hold, `warning` if one does, else `info`.

    The conditions: the value is at least `ERROR_VALUE`, and an odd line is an error, which has
    level ERROR or above, or an HTTP status code of 500 or above.
    """
    events = score.window.events
    has_error = any(
        is_error(events[odd.index].fields)
        for odd in _anomalous(expectations)
        if odd.index < len(events)
    )
    return ("info", "warning", "critical")[(score.value >= ERROR_VALUE) + has_error]


def location_labels(
    score: Score, defaults: Mapping[str, str] = MappingProxyType({})
) -> dict[str, str]:
    """Return the labels `host`, `service` and `file` as far as they are known.

    `host` and `service` are there where all lines of the window say the same; a line's service is
    what its program is called, or else its unit. A surge has neither: what the windows before the
    last one said is not known any more. Where no line of the window names a host, it is the
    default one. `file` is the default one.
    """
    events = score.window.events
    said = {name: _values(events, asked) for name, asked in LOCATION_LABELS}
    found = dict(defaults)
    if any(said["host"]):
        found.pop("host", None)
    if not score.surge:
        agreed = {name: values.pop() for name, values in said.items() if _agree(values)}
        found |= {name: printable(value) for name, value in agreed.items()}
    return found


def _values(events: Sequence[Event], attributes: Sequence[str]) -> set[str]:
    """Return the distinct values of the first of `attributes` that each event has; "" for none."""
    return {next(filter(None, _text_of(event, attributes)), "") for event in events}


def _agree(values: set[str]) -> bool:
    return len(values) == 1 and "" not in values


def _text_of(event: Event, attributes: Sequence[str]) -> Iterator[str]:
    return ((attribute(event.fields, name) or "").strip() for name in attributes)


def anomaly_pattern(score: Score, expectations: Sequence[Expectation]) -> str:
    """Return the anomaly pattern: 16 hex digits of the SHA-256 of the set of odd places.

    A place is its line's template, or the end; a line without a template is its text with
    every word that has a digit replaced. Key, order, number and model make no difference, but
    a surge is another kind than one such window.
    """
    events = score.window.events
    places = {
        _event_kind(events[odd.index]) if odd.index < len(events) else END_TOKEN
        for odd in _anomalous(expectations)
    }
    places |= {SURGE} if score.surge else set()
    text = "\0".join(sorted(places))
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:16]


def _event_kind(event: Event) -> str:
    if event.template_id != UNKNOWN_TEMPLATE:
        return event.template_id
    return "?" + _VARIABLE.sub("#", event.fields.message[:MAX_CHARACTERS])


def fingerprint(labels: Mapping[str, str]) -> str:
    """Return Alertmanager's own fingerprint of a label set, in hexadecimal.

    FNV-1a, 64 bits, over sorted names and values, each followed by byte 255
    (`prometheus/common`, model/signature.go).
    """
    text = b"".join(
        name.encode() + b"\xff" + labels[name].encode() + b"\xff" for name in sorted(labels)
    )
    number = 14695981039346656037
    for byte in text:
        number = (number ^ byte) * 1099511628211 & _MASK
    return f"{number:016x}"


def _anomalous(expectations: Sequence[Expectation]) -> list[Expectation]:
    return [expectation for expectation in expectations if expectation.odd]


def _summary(score: Score, expectations: Sequence[Expectation]) -> str:
    odd = _anomalous(expectations)
    first = f": {_place(score, odd[0].index)}" if odd else ""
    if score.surge:
        return f"{surge_text(score)}{first}"
    return f"{len(odd)} of {len(score.window.events)} log lines are unusual{first}"


def _place(score: Score, index: int) -> str:
    """Return the line at a place; for an odd end, the last line."""
    last = len(score.window.events) - 1
    text = _cut(line_text(score, min(index, last)), 120)
    return text if index <= last else f"it ends after: {text}"


def _lines(score: Score, expectations: Sequence[Expectation]) -> list[str]:
    """Return the lines around the odd ones, in order; `>` marks an odd one, `…` a gap."""
    odd = {expectation.index for expectation in _anomalous(expectations)}
    count = max(len(score.window.events), *(index + 1 for index in odd), 0)
    near = sorted(range(count), key=lambda i: min((abs(i - j) for j in odd), default=i))
    rows, previous = [], -1
    for index in sorted(near[:MAX_LINES]):
        rows += [f"  … {index - previous - 1} more"] if index > previous + 1 else []
        text = _cut(line_text(score, index), MAX_CHARACTERS)
        rows.append(f"{'>' if index in odd else ' '} {text}")
        previous = index
    return rows + ([f"  … {count - previous - 1} more"] if previous + 1 < count else [])


def _expected(score: Score, expectations: Sequence[Expectation]) -> list[str]:
    """Return, for each of the first odd places, what the model expected, with probabilities."""
    return [
        f"in line {odd.index + 1}{_unseen(score, odd.index)}: "
        + "; ".join(
            f"{_cut(printable(text), MAX_CHARACTERS)} ({share:.1%})"
            for text, share in odd.expected[:MAX_EXPECTED]
        )
        for odd in _anomalous(expectations)[:MAX_ANOMALOUS]
    ]


def _cut(text: str, characters: int) -> str:
    return text if len(text) <= characters else text[: characters - 1] + "…"


def _unseen(score: Score, index: int) -> str:
    return f" ({NEVER_SEEN})" if is_unseen(score, index) else ""
