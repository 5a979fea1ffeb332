"""Lines parsed by their shapes: what lies where in a line, lies there in all lines of its shape.

Most lines of a log differ from one that came before in digits alone (see
`logmlm.parsing.digit_shapes`). Of such a line, neither the format nor the key nor the masks need
be tried again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from logmlm.parsing.digit_shapes import Sight, has_digit, shape_of
from logmlm.parsing.formats import Attributes, LineFormat, PatternFormat, first_line
from logmlm.parsing.formats.timestamp_cache import StampReader, stamp_reader
from logmlm.parsing.keys import KeyExtractor
from logmlm.parsing.masking import LONGEST_KNOWN, MOST_KNOWN, Masks, Variants
from logmlm.parsing.parsed import Found, unparsed
from logmlm.records import Fields, LogLine


class Parser(Protocol):
    """Parses lines as a `LineFormat` does, but that some of the fields may wait for the asking."""

    def parse(self, texts: Sequence[str], nows: Sequence[float]) -> Found:
        """What is found in each text, by when each was received."""
        ...


def columns(lines: Sequence[LogLine]) -> tuple[list[str], list[float]]:
    """The texts of lines, and when they were received, as a `Parser` takes them."""
    return [line.text for line in lines], [line.received_at for line in lines]


def parser(line_format: LineFormat, key_of: KeyExtractor, masks: Masks | None = None) -> Parser:
    """What parses lines as `line_format` does, many of them faster.

    Of what it finds by a line's shape the rest waits; `masks` are asked what they make of the
    message.
    """
    if (
        isinstance(line_format, PatternFormat)
        and line_format.is_told
        and Sight(line_format.pattern).is_of_shape
        and key_of.is_of_shape(line_format.plain)
    ):
        return _Layouts(line_format, key_of, masks)
    return _OneByOne(line_format)


class _OneByOne:
    """Parses each line by itself."""

    def __init__(self, line_format: LineFormat) -> None:
        self._parse = line_format.parse

    def parse(self, texts: Sequence[str], nows: Sequence[float]) -> Found:
        """See `Parser`."""
        return unparsed(list(map(self._parse, texts, nows)))


class _Layouts:
    """Where all is in lines, by their shapes; `MOST_KNOWN` at most. For one thread."""

    def __init__(
        self, line_format: PatternFormat, key_of: KeyExtractor, masks: Masks | None
    ) -> None:
        self._format = line_format
        self._key_of = key_of
        self._masks = masks
        self._known: dict[bytes, _Layout] = {}
        self._stamps: dict[object, StampReader] = {}

    def parse(self, texts: Sequence[str], nows: Sequence[float]) -> Found:
        """See `Parser`."""
        shapes = _shapes(texts)
        layouts = list(map(self._known.get, shapes))
        if None not in layouts:
            return _found(cast(list[_Layout], layouts), texts, nows)
        odd = self._met(layouts, shapes, texts, nows)
        stand_in = next((place for place in range(len(texts)) if layouts[place]), None)
        if stand_in is None:
            return unparsed(list(odd.values()))
        texts = list(texts)
        for place in odd:
            layouts[place], texts[place] = layouts[stand_in], texts[stand_in]
        found = _found(cast(list[_Layout], layouts), texts, nows)
        found.odd.extend(odd)
        for place, fields in odd.items():
            found.rests[place] = fields
        return found

    def _met(
        self,
        layouts: list[_Layout | None],
        shapes: Sequence[bytes],
        texts: Sequence[str],
        nows: Sequence[float],
    ) -> dict[int, Fields | None]:
        """Fill in the layouts of new shapes; what is in lines that get none, by their places."""
        odd: dict[int, Fields | None] = {}
        for place in [place for place, layout in enumerate(layouts) if layout is None]:
            shape = shapes[place]
            if shape not in self._known:
                odd[place] = self._meet(shape, texts[place], nows[place])
            if (layout := self._known.get(shape)) is not None:
                layouts[place] = layout
                odd.pop(place, None)
        return odd

    def _meet(self, shape: bytes, text: str, now: float) -> Fields | None:
        """Parse a line of a new shape, and keep where all is if that is of the shape alone."""
        fields = self._format.parse(text, now)
        if fields is None or not self._format.is_of_shape(fields):
            return fields
        match = self._format.pattern.match(text)
        if match is None or not self._is_of_shape(text, fields, match):
            return fields
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
            self._stamps.clear()
        self._known[shape] = self._layout(fields, match)
        return fields

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
        stamp = self._stamp(match)
        return _Layout(self._format, fields.level, fields.label, stamp, message, key, masked)

    def _stamp(self, match: re.Match[str]) -> StampReader:
        """How to read the time: alike in most layouts, so that they share it."""
        text = match.string
        places = {n: slice(*match.span(n)) for n in self._format.time_groups if match[n]}
        kind = tuple((n, at.start, shape_of(text[at])) for n, at in places.items())
        if kind not in self._stamps:
            clock, zone = self._format.clock, self._format.zone
            self._stamps[kind] = stamp_reader(clock, zone, text, places)
        return self._stamps[kind]


@dataclass(eq=False, slots=True)
class _Layout:
    """Where all is in the lines of one shape, and what is the same in all of them."""

    format: PatternFormat
    level: str
    label: str | None
    stamp: StampReader
    message_at: slice
    key: slice
    masked: str | Variants | None

    def fields(self, line: LogLine) -> Fields:
        """See `Rest`."""
        text = first_line(line.text)
        (time,) = self.stamp.read([text], [line.received_at])
        attributes = Attributes(self.format, text)
        return Fields(time, self.level, text[self.message_at], attributes, self.label)

    def message(self, line: LogLine) -> str:
        """See `Rest`."""
        return line.text[self.message_at]


def _shapes(texts: Sequence[str]) -> list[bytes]:
    """The shape of each text, found for all in one step where none holds a line end."""
    shapes = shape_of("\n".join(texts)).split(b"\n")
    return shapes if len(shapes) == len(texts) else list(map(shape_of, texts))


def _found(layouts: Sequence[_Layout], texts: Sequence[str], nows: Sequence[float]) -> Found:
    """What lies in each text where its layout says."""
    keys = [text[layout.key] for layout, text in zip(layouts, texts, strict=True)]
    masked = [
        known.of(text[layout.message_at]) if isinstance(known := layout.masked, Variants) else known
        for layout, text in zip(layouts, texts, strict=True)
    ]
    return Found(_times(layouts, texts, nows), keys, masked, [*layouts], [])


def _times(
    layouts: Sequence[_Layout], texts: Sequence[str], nows: Sequence[float]
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
