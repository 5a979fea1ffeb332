"""Cache of field offsets by line shape.

Most lines of a log differ from an earlier line only in digits (see `logmlm.parsing.digit_shapes`).
Lines of one shape have their fields at the same offsets, so the format's pattern, the key and the
masks run once per shape.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from logmlm.parsing.digit_shapes import DigitSensitivity, digit_shape, has_digit
from logmlm.parsing.formats import LazyAttributes, LineFormat, PatternFormat, first_line
from logmlm.parsing.formats.timestamp_cache import TimestampReader, make_timestamp_reader
from logmlm.parsing.keys import KeyExtractor
from logmlm.parsing.masking import LONGEST_KNOWN, MOST_KNOWN, LogMasker, MaskedByDigits
from logmlm.parsing.parsed import ParsedBatch, batch_of_fields
from logmlm.records import Fields, LogLine


class LineParser(Protocol):
    """Parses lines as a `LineFormat` does, but that some of the fields may wait for the asking."""

    def parse(self, texts: Sequence[str], nows: Sequence[float]) -> ParsedBatch:
        """What is found in each text, by when each was received."""
        ...


def to_columns(lines: Sequence[LogLine]) -> tuple[list[str], list[float]]:
    """The texts of lines, and when they were received, as a `LineParser` takes them."""
    return [line.text for line in lines], [line.received_at for line in lines]


def make_line_parser(
    line_format: LineFormat, key_of: KeyExtractor, masks: LogMasker | None = None
) -> LineParser:
    """What parses lines as `line_format` does, many of them faster.

    Of what it finds by a line's shape the rest waits; `masks` are asked what they make of the
    message.
    """
    if (
        isinstance(line_format, PatternFormat)
        and line_format.is_declared
        and DigitSensitivity(line_format.pattern).ignores_digits
        and key_of.ignores_digits(line_format.direct_groups)
    ):
        return ShapeCachingParser(line_format, key_of, masks)
    return DirectParser(line_format)


class DirectParser:
    """Parses each line by itself."""

    def __init__(self, line_format: LineFormat) -> None:
        self._parse = line_format.parse

    def parse(self, texts: Sequence[str], nows: Sequence[float]) -> ParsedBatch:
        """See `LineParser`."""
        return batch_of_fields(list(map(self._parse, texts, nows)))


class ShapeCachingParser:
    """Where all is in lines, by their shapes; `MOST_KNOWN` at most. For one thread."""

    def __init__(
        self, line_format: PatternFormat, key_of: KeyExtractor, masks: LogMasker | None
    ) -> None:
        self._format = line_format
        self._key_of = key_of
        self._masks = masks
        self._known: dict[bytes, FieldLayout] = {}
        self._stamps: dict[object, TimestampReader] = {}

    def parse(self, texts: Sequence[str], nows: Sequence[float]) -> ParsedBatch:
        """See `LineParser`."""
        shapes = _shapes(texts)
        layouts = list(map(self._known.get, shapes))
        if None not in layouts:
            return _found(cast(list[FieldLayout], layouts), texts, nows)
        odd = self._parse_new_shapes(layouts, shapes, texts, nows)
        stand_in = next((place for place in range(len(texts)) if layouts[place]), None)
        if stand_in is None:
            return batch_of_fields(list(odd.values()))
        texts = list(texts)
        for place in odd:
            layouts[place], texts[place] = layouts[stand_in], texts[stand_in]
        found = _found(cast(list[FieldLayout], layouts), texts, nows)
        found.irregular.extend(odd)
        for place, fields in odd.items():
            found.deferred[place] = fields
        return found

    def _parse_new_shapes(
        self,
        layouts: list[FieldLayout | None],
        shapes: Sequence[bytes],
        texts: Sequence[str],
        nows: Sequence[float],
    ) -> dict[int, Fields | None]:
        """Fill in the layouts of new shapes; what is in lines that get none, by their places."""
        odd: dict[int, Fields | None] = {}
        for place in [place for place, layout in enumerate(layouts) if layout is None]:
            shape = shapes[place]
            if shape not in self._known:
                odd[place] = self._learn_shape(shape, texts[place], nows[place])
            if (layout := self._known.get(shape)) is not None:
                layouts[place] = layout
                odd.pop(place, None)
        return odd

    def _learn_shape(self, shape: bytes, text: str, now: float) -> Fields | None:
        """Parse a line of a new shape, and keep where all is if that is of the shape alone."""
        fields = self._format.parse(text, now)
        if fields is None or not self._format.ignores_digits(fields):
            return fields
        match = self._format.pattern.match(text)
        if match is None or not self._ignores_digits(text, fields, match):
            return fields
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
            self._stamps.clear()
        self._known[shape] = self._layout(fields, match)
        return fields

    def _ignores_digits(self, text: str, fields: Fields, match: re.Match[str]) -> bool:
        """Whether what is the same in all lines of a layout holds no digit."""
        if fields.partial or len(text) > LONGEST_KNOWN or first_line(text) != text:
            return False
        names = [name for name in ("level", "label") if name in match.re.groupindex]
        if any(has_digit(match[name] or "") for name in names):
            return False
        is_refined = any(match[name] for name in self._format.digit_dependent or ())
        if is_refined or not fields.message:
            return not is_refined
        return match["message"].lstrip().startswith(fields.message)

    def _layout(self, fields: Fields, match: re.Match[str]) -> FieldLayout:
        message = _message(fields, match)
        key = self._key_of.key_span(match, self._format.direct_groups, message)
        masked = None if self._masks is None else self._masks.for_shape(fields.message)
        stamp = self._stamp(match)
        return FieldLayout(self._format, fields.level, fields.label, stamp, message, key, masked)

    def _stamp(self, match: re.Match[str]) -> TimestampReader:
        """How to read the time: alike in most layouts, so that they share it."""
        text = match.string
        places = {n: slice(*match.span(n)) for n in self._format.time_groups if match[n]}
        kind = tuple((n, at.start, digit_shape(text[at])) for n, at in places.items())
        if kind not in self._stamps:
            clock, zone = self._format.clock, self._format.zone
            self._stamps[kind] = make_timestamp_reader(clock, zone, text, places)
        return self._stamps[kind]


@dataclass(eq=False, slots=True)
class FieldLayout:
    """Where all is in the lines of one shape, and what is the same in all of them."""

    format: PatternFormat
    level: str
    label: str | None
    stamp: TimestampReader
    message_at: slice
    key: slice
    masked: str | MaskedByDigits | None

    def fields(self, line: LogLine) -> Fields:
        """See `DeferredFields`."""
        text = first_line(line.text)
        (time,) = self.stamp.read([text], [line.received_at])
        attributes = LazyAttributes(self.format, text)
        return Fields(time, self.level, text[self.message_at], attributes, self.label)

    def message(self, line: LogLine) -> str:
        """See `DeferredFields`."""
        return line.text[self.message_at]


def _shapes(texts: Sequence[str]) -> list[bytes]:
    """The shape of each text, found for all in one step where none holds a line end."""
    shapes = digit_shape("\n".join(texts)).split(b"\n")
    return shapes if len(shapes) == len(texts) else list(map(digit_shape, texts))


def _found(
    layouts: Sequence[FieldLayout], texts: Sequence[str], nows: Sequence[float]
) -> ParsedBatch:
    """What lies in each text where its layout says."""
    keys = [text[layout.key] for layout, text in zip(layouts, texts, strict=True)]
    masked = [
        known.of(text[layout.message_at])
        if isinstance(known := layout.masked, MaskedByDigits)
        else known
        for layout, text in zip(layouts, texts, strict=True)
    ]
    return ParsedBatch(_times(layouts, texts, nows), keys, masked, [*layouts], [])


def _times(
    layouts: Sequence[FieldLayout], texts: Sequence[str], nows: Sequence[float]
) -> list[float | None]:
    stamps = {layout.stamp for layout in layouts}
    if len(stamps) == 1:
        return stamps.pop().read(texts, nows)
    lines = zip(layouts, texts, nows, strict=True)
    return [layout.stamp.read([text], [now])[0] for layout, text, now in lines]


def _message(fields: Fields, match: re.Match[str]) -> slice:
    """Where the message is, without the space around it."""
    if not fields.message:
        return slice(0)
    start = match.start("message")
    start += match["message"].index(fields.message)
    return slice(start, start + len(fields.message))
