"""Which line format fits, decided from a log's first lines."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from logmlm.config.training import FormatConfig
from logmlm.errors import FormatError
from logmlm.parsing.formats.line_format import LineFormat
from logmlm.parsing.formats.multiline import join_all
from logmlm.parsing.formats.registry import auto_candidates
from logmlm.records import LogLine

MIN_SHARE = 0.9
"""A format fits well that matches this share of the lines that could start an event."""

_NAMED_IN_ERROR = 3
_NO_DATE = 0.0  # the time that years are guessed by, where timestamps are not looked at
_CONTINUATION = re.compile(
    r"\s|Caused by: |Suppressed: |Traceback \(|During handling of|The above exception"
    r"|\.\.\. \d+ more|[)\]}]+[,;]?\s*$|goroutine \d+ \["
    # Possessive and lazy, so that a run of letters is gone through but once.
    r"|(?:\w*+[.$])*+[^\WA-Z]*+[A-Z]\w*?"
    r"(?:Exception|Error|Warning|Interrupt|Throwable|Fault)(?::|\s*$)",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Detection:
    """The format that was taken; it matched `share` (0 to 1) of `lines` lines.

    `lines` counts those that could start an event: not blank, no part of a stack trace.
    """

    format: LineFormat
    share: float
    lines: int


def detect_format(lines: Sequence[str], config: FormatConfig) -> Detection:
    """Take the first format that fits `lines` well: the config's own, then the strictest.

    Formats are tried in order from strict to loose, not by share, since a loose one matches
    what a stricter one does and more. `plain` is never taken.

    Raises:
        FormatError: none fits well; the text names the best ones and says what to do.
        ConfigError: a custom format's settings or the time zone can't be used.

    """
    tried = []
    for line_format in auto_candidates(config):
        detection = _measure(line_format, _joined(lines, line_format, config))
        if detection.share >= MIN_SHARE:
            return detection
        tried.append(detection)
    raise FormatError(_refusal(tried, len(lines)))


def _joined(lines: Sequence[str], line_format: LineFormat, config: FormatConfig) -> Sequence[str]:
    """Return the lines, joined as the format asks for unless the config says how."""
    own = config.named(line_format.name).multiline
    if own is None or config.multiline is not None:
        return lines
    return [one.text for one in join_all([LogLine(line, "", 0, 0, 0.0) for line in lines], own)]


def _measure(line_format: LineFormat, lines: Sequence[str]) -> Detection:
    matches = [line_format.parse(line, _NO_DATE) is not None for line in lines]
    starts = sum(matches)
    seen_match = False
    for matched, group in groupby(zip(matches, lines, strict=True), key=lambda pair: pair[0]):
        if not matched:
            block = [line for _, line in group]
            comment = getattr(line_format, "comment", None)
            if comment is not None:
                block = [line for line in block if not comment.match(line)]
            starts += _starts_in(block, seen_match)
        seen_match = True
    share = sum(matches) / starts if starts else 0.0
    return Detection(line_format, share, starts)


def _starts_in(block: list[str], after_match: bool) -> int:
    """Count the lines of an unmatched block that could start an event of their own.

    Blank and indented lines can't, nor those that stack traces are made of. Where these are
    at least half of a block after a matched line, the whole block is a trace: an exception's
    text may be anything.
    """
    others = sum(1 for line in block if line.strip() and not _CONTINUATION.match(line))
    return 0 if after_match and 2 * others <= len(block) else others


def _refusal(tried: list[Detection], lines: int) -> str:
    best = sorted(tried, key=lambda detection: -detection.share)[:_NAMED_IN_ERROR]
    shares = ", ".join(f"{one.format.name} {one.share:.0%}" for one in best if one.share > 0)
    return (
        f"no line format fits the first {lines} lines well: at least {MIN_SHARE:.0%} must match, "
        f"and the best are {shares or 'none at all'}. Take --format plain if each line is "
        "a message of its own, name a format with --format, or describe the lines with "
        "a regular expression under format.custom in the config"
    )
