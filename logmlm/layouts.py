"""Lines parsed by their shapes: what lies where in a line, lies there in all lines of its shape.

Most lines of a log differ from one that came before in digits alone (see `logmlm.shapes`). Of such
a line, neither the format nor the key nor the masks need be tried again.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from logmlm.formats import Attributes, LineFormat, PatternFormat, first_line
from logmlm.formats.stamps import ReadStamp, stamp_reader
from logmlm.keys import KeyExtractor
from logmlm.masks import LONGEST_KNOWN, MOST_KNOWN, Masks
from logmlm.records import Fields, LineFields, Parsed
from logmlm.shapes import ALIKE, Sight, has_digit, shape_of

Parse = Callable[[str, float], LineFields | None]
"""As `LineFormat.parse`, but that some of the fields may wait until they are asked for."""


def parser(line_format: LineFormat, key_of: KeyExtractor, masks: Masks | None = None) -> Parse:
    """A function that parses lines as `line_format` does, many of them faster.

    What it finds by a line's shape is `Parsed`; `masks` are asked what they make of the message.
    """
    if (
        isinstance(line_format, PatternFormat)
        and line_format.is_told
        and Sight(line_format.pattern).is_of_shape
        and key_of.is_of_shape(line_format.plain)
    ):
        return _Layouts(line_format, key_of, masks).parse
    return line_format.parse


class _Layouts:
    """Where all is in lines, by their shapes; `MOST_KNOWN` at most. For one thread."""

    def __init__(
        self, line_format: PatternFormat, key_of: KeyExtractor, masks: Masks | None
    ) -> None:
        self._format = line_format
        self._key_of = key_of
        self._masks = masks
        self._known: dict[bytes, _Layout] = {}
        self._stamps: dict[object, ReadStamp] = {}

    def parse(self, text: str, now: float) -> LineFields | None:
        """See `Parse`."""
        layout = self._known.get(text.encode("utf-8", "surrogatepass").translate(ALIKE))
        if layout is None:
            return self._meet(text, now)
        timestamp = layout.read_stamp(text, now)
        return Parsed(
            timestamp, text[layout.message], text[layout.key], layout.masked, text, layout
        )

    def _meet(self, text: str, now: float) -> LineFields | None:
        """Parse a line of a new shape, and keep where all is if that is of the shape alone."""
        fields = self._format.parse(text, now)
        match = None if fields is None else self._format.pattern.match(text)
        if fields is None or match is None or not self._is_of_shape(text, fields, match):
            return fields
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
            self._stamps.clear()
        layout = self._known[shape_of(text)] = self._layout(fields, match)
        found = fields.timestamp, fields.message, text[layout.key], layout.masked
        return Parsed(*found, text, layout)

    def _is_of_shape(self, text: str, fields: Fields, match: re.Match[str]) -> bool:
        """Whether what is the same in all lines of a layout holds no digit."""
        if fields.partial or len(text) > LONGEST_KNOWN or first_line(text) != text:
            return False
        names = [name for name in ("level", "label") if name in match.re.groupindex]
        if any(has_digit(match[name] or "") for name in names):
            return False
        is_refined = any(match[name] for name in self._format.by_digits or ())
        if is_refined or not fields.message:
            return not is_refined
        return match["message"].lstrip().startswith(fields.message)

    def _layout(self, fields: Fields, match: re.Match[str]) -> _Layout:
        message = _message(fields, match)
        key = self._key_of.place(match, self._format.plain, message)
        masked = None if self._masks is None else self._masks.of_shape(fields.message)
        level, label, read_stamp = fields.level, fields.label, self._read_stamp(match)
        return _Layout(self._format, level, label, read_stamp, message, key, masked)

    def _read_stamp(self, match: re.Match[str]) -> ReadStamp:
        """How to read the time: alike in most layouts, so that they share it."""
        text = match.string
        places = {n: slice(*match.span(n)) for n in self._format.time_groups if match[n]}
        kind = tuple((n, at.start, shape_of(text[at])) for n, at in places.items())
        if kind not in self._stamps:
            clock, zone = self._format.clock, self._format.zone
            self._stamps[kind] = stamp_reader(clock, zone, text, places)
        return self._stamps[kind]


@dataclass(slots=True)
class _Layout:
    """Where all is in the lines of one shape, and what is the same in all of them."""

    format: PatternFormat
    level: str
    label: str | None
    read_stamp: ReadStamp
    message: slice
    key: slice
    masked: str | None

    def fields(self, parsed: Parsed) -> Fields:
        """See `Rest`."""
        attributes = Attributes(self.format, parsed.text)
        return Fields(parsed.timestamp, self.level, parsed.message, attributes, self.label)


def _message(fields: Fields, match: re.Match[str]) -> slice:
    """Where the message is, without the space around it."""
    if not fields.message:
        return slice(0)
    start = match.start("message")
    start += match["message"].index(fields.message)
    return slice(start, start + len(fields.message))
