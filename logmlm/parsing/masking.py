"""Named masks: what varies from line to line becomes `<NAME>` before templates are learned.

Every pattern is linear in the length of the line: a run of characters is entered at its
beginning only, and repetitions that could be cut in two ways are possessive.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from types import MappingProxyType
from typing import Final

from logmlm.config.regex import compile_user_pattern
from logmlm.errors import ConfigError
from logmlm.parsing.digit_shapes import DigitSensitivity, digit_shape

MaskPair = tuple[str, str]
"""A mask's name and its pattern."""

MOST_KNOWN: Final = 16_384
"""Results kept at most; beyond them all are forgotten, and what recurs is soon known again."""
LONGEST_KNOWN: Final = 1_000
"""Characters of the longest text whose result is kept: with the above, 40 MB at the very most."""

_DIGIT: Final = re.compile("[0-9]")
_NOWHERE: Final = -1
_START, _STOP = "(?<![A-Za-z0-9])", "(?![A-Za-z0-9])"
_MONTH = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_DAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_CLOCK = r"[0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]{1,9})?"
_HEX, _ALNUM = "[0-9a-fA-F]", "[A-Za-z0-9]"
_DECIMAL = r"(?<![A-Za-z0-9.])[0-9]++(?:\.[0-9]++)?"
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_NO_METHOD = "".join(f"(?<!{method} )" for method in _METHODS)
_NAME = r"[\w@%+=~#$*-]++"

BUILT_IN: Final[Mapping[str, str]] = MappingProxyType(
    {
        # The status of a web request is what an operator looks at: it stays as it is.
        "STATUS": rf"{_START}(?:{'|'.join(_METHODS)}) \S++(?: HTTP/[0-9](?:\.[0-9])?)?\"? "
        r"(?P<keep>[0-9]{3})(?!\S)",
        "TIME": rf"(?<![\w.:])(?:"
        rf"(?:{_DAY},? )?(?:{_MONTH} {{1,2}}[0-9]{{1,2}}|[0-9]{{1,2}} {_MONTH} [0-9]{{4}}),? "
        rf"{_CLOCK}(?: (?:[A-Z]{{3,4}} )?[0-9]{{4}}(?![/-]))?"
        rf"|[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}[T ]{_CLOCK}(?:Z|[+-][0-9]{{2}}:?[0-9]{{2}})?"
        rf"|[0-9]{{2}}/{_MONTH}/[0-9]{{4}}:{_CLOCK}(?: [+-][0-9]{{4}})?"
        rf"|[0-9]{{4}}[-/][0-9]{{2}}[-/][0-9]{{2}}(?: {_CLOCK})?"
        rf"|{_CLOCK})(?![\w:])",
        "URL": r"(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]*+://[^\s\"'<>()\[\]{}]++",
        "QUERY": r"(?<=\?)[\w%.~+\[\]-]*+=[^\s\"]*+",
        "UUID": rf"{_START}{_HEX}{{8}}-(?:{_HEX}{{4}}-){{3}}{_HEX}{{12}}{_STOP}",
        "MAC": rf"(?<![\w:-]){_HEX}{{2}}(?:[:-]{_HEX}{{2}}){{5}}(?![\w:-])",
        "IP": rf"(?<![\w.:])/?(?:(?:{_HEX}{{1,4}}:){{7}}{_HEX}{{1,4}}"
        rf"|(?=[0-9a-fA-F:]{{0,39}}[0-9])(?:{_HEX}{{1,4}}:){{0,6}}{_HEX}{{0,4}}::"
        rf"(?:{_HEX}{{1,4}}:){{0,6}}{_HEX}{{1,4}})(?![\w:])"
        r"|(?:(?<![\w.])/|(?<![A-Za-z0-9.]))"
        r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?!\.?[0-9])(?::[0-9]{1,5}(?![0-9]))?",
        "EMAIL": r"(?<![\w.+-])[\w.+-]++@[\w-]++(?:\.[\w-]++)++",
        # Of two or more parts, and not what a web request asks for: there, words have meaning.
        "PATH": rf"(?<![\w.<>/~-]){_NO_METHOD}(?:~|\.{{1,2}})?"
        rf"(?:/\.{{0,2}}{_NAME}(?:[.,:]++{_NAME})*+){{2,}}+/?"
        r"|(?<![\w\\])[A-Za-z]:\\[^\s:*?\"<>|]++",
        # 0x…, eight digits or more with a letter among them, a zero-padded word, an object's hash.
        "HEX": rf"{_START}(?:0[xX]{_HEX}++"
        rf"|(?={_HEX}{{0,64}}[0-9])(?={_HEX}{{0,64}}[a-fA-F]){_HEX}{{8,}}+"
        rf"|0[0-9]{{7}}|(?<=@){_HEX}{{4,8}}){_STOP}",
        # Twelve letters and digits or more, three digits among them: queue ids, pods, containers.
        "ID": rf"{_START}(?=[0-9]{{0,64}}[A-Za-z])(?={_ALNUM}{{0,64}}[0-9]{_ALNUM}{{0,64}}[0-9]"
        rf"{_ALNUM}{{0,64}}[0-9]){_ALNUM}{{12,}}+",
        "DURATION": r"(?<![A-Za-z0-9.])(?:[0-9]++(?:\.[0-9]++)?(?:ns|us|µs|ms|s|min|m|h|d)){1,6}+"
        rf"{_STOP}|{_DECIMAL} (?:ns|us|µs|ms|s|sec){_STOP}",
        "SIZE": rf"{_DECIMAL}(?: ?(?:[KMGTP]i?|[kmg])?[Bb]|[KMGTP]i?){_STOP}",
        "NUM": rf"{_START}(?:(?<![A-Za-z0-9>)\]])[-+])?[0-9]+(?:[.,][0-9]+)*"
        rf"(?:[eE][-+]?[0-9]+)?{_STOP}",
    }
)
"""The masks that every message goes through unless the config names some, in this order."""


_OWN: Final = frozenset(BUILT_IN.values())
"""Patterns that are known to take linear time."""
_NEEDED: Final = {
    "URL": "://",
    "QUERY": "=",
    "UUID": "-",
    "MAC": "[:-]",
    "IP": "[:.]",
    "EMAIL": "@",
    "PATH": r"[/\\]",
    "HEX": "[0-9@]",
    **dict.fromkeys(("STATUS", "TIME", "ID", "DURATION", "SIZE", "NUM"), "[0-9]"),
}
_NEEDED_BY: Final = {BUILT_IN[name]: re.compile(needed) for name, needed in _NEEDED.items()}
"""What each text holds that a built-in pattern matches in. It is found in a fraction of the time
that the pattern takes to find nothing."""


def select_masks(names: Sequence[str] | None, extra: Sequence[MaskPair]) -> tuple[MaskPair, ...]:
    """Return the masks to apply, in order: `extra` first, then the built-in `names` (None: all).

    Raises:
        ConfigError: a name is no built-in mask.

    """
    unknown = [name for name in names or () if name not in BUILT_IN]
    if unknown:
        raise ConfigError(
            f"templates.masks: there is no built-in mask '{unknown[0]}'; choose from "
            f"{', '.join(BUILT_IN)}, or define it under templates.extra_masks"
        )
    chosen = BUILT_IN if names is None else names
    return (*extra, *((name, BUILT_IN[name]) for name in chosen))


class LogMasker:
    """Applies masks one after the other, each to the result of those before it.

    What a pattern matches becomes `<NAME>`. A pattern with a group named `keep` does the
    opposite: what that group matches is kept from every mask.

    What came of a text is remembered for all texts of its shape, as far as the shape and the
    digits that matter decide it (see `logmlm.parsing.digit_shapes`): the result is always that of
    the patterns. At most `MOST_KNOWN` results are held, of texts of `LONGEST_KNOWN` characters at
    most.

    Raises:
        ConfigError: a pattern is no regular expression, or matches the empty text.

    """

    def __init__(self, pairs: Sequence[MaskPair]) -> None:
        masks = [_Mask(name, _compile(name, pattern)) for name, pattern in pairs]
        self.pairs = tuple(pairs)
        self.patterns = tuple(mask.regex for mask in masks)
        self._keeps = [mask for mask in masks if "keep" in mask.regex.groupindex]
        self._masks = [mask for mask in masks if "keep" not in mask.regex.groupindex]
        self._known: dict[bytes, str | MaskedByDigits] = {}
        self._count = 0

    def mask(self, text: str) -> str:
        """Return `text` with what varies in it replaced; always the same for the same text."""
        if len(text) > LONGEST_KNOWN:
            return self._apply(_MaskedText(text), set())
        shape = digit_shape(text)
        known = self._known.get(shape)
        if isinstance(known, str):
            return known
        if known is None:
            return self._mask_new_shape(text, shape)
        masked = known.of(text)
        return self._mask_with_origins(text, known) if masked is None else masked

    def mask_message(self, message: str) -> str:
        """Return the first line of a message, masked: what templates are learned from."""
        return self.mask(message.strip().partition("\n")[0])

    def for_shape(self, message: str) -> str | MaskedByDigits | None:
        """What `mask_message` makes of all messages of this one's shape, one line each.

        Where that hangs on their digits, what is known of it. None where nothing is.
        """
        self.mask_message(message)
        return self._known.get(digit_shape(message.strip()))

    def _mask_new_shape(self, text: str, shape: bytes) -> str:
        """Mask a text of a new shape; where digits decide, on which is found out if it recurs."""
        places: set[int] = set()
        masked = self._apply(_MaskedText(text), places)
        self._make_room()
        self._known[shape] = MaskedByDigits() if places else masked
        return masked

    def _mask_with_origins(self, text: str, known: MaskedByDigits) -> str:
        """Mask a text of a shape that was met before, with the digits that decide about it."""
        places: set[int] = set()
        masked = self._apply(_MaskedText(text, list(range(len(text)))), places)
        self._make_room()
        known.keep(text, masked, places)
        return masked

    def _make_room(self) -> None:
        if self._count >= MOST_KNOWN:
            self._known.clear()
            self._count = 0
        self._count += 1

    def _apply(self, half: _MaskedText, places: set[int]) -> str:
        """Mask a text, and add to `places` where in it are the digits that the result hangs on."""
        parts = list(self._parts(half, self._keeps, places))
        for part in parts:
            places.update(part.digits(0, len(part.text)))
        return "".join(part.text for part in parts)

    def _parts(
        self, half: _MaskedText, keeps: list[_Mask], places: set[int]
    ) -> Iterator[_MaskedText]:
        if not keeps:
            for mask in self._masks:
                if not mask.sensitivity.ignores_digits:
                    half.note(mask, places)
                if mask.may_match(half.text):
                    half = half.replaced(mask)
            yield half
            return
        half.note(keeps[0], places)
        end = 0
        for found in keeps[0].regex.finditer(half.text):
            yield from self._parts(half.cut(end, found.start("keep")), keeps[1:], places)
            yield half.cut(*found.span("keep"))
            end = found.end("keep")
        yield from self._parts(half.cut(end, len(half.text)), keeps[1:], places)


class _Mask:
    def __init__(self, name: str, regex: re.Pattern[str]) -> None:
        self.text = f"<{name}>"
        self.regex = regex
        self.sensitivity = DigitSensitivity(regex)
        self._needed = _NEEDED_BY.get(regex.pattern)

    def may_match(self, text: str) -> bool:
        """Return False for a text that lacks what the pattern can't do without."""
        return self._needed is None or self._needed.search(text) is not None


class MaskedByDigits:
    """Results for one shape, by the digits in the places that matter; none at first."""

    def __init__(self) -> None:
        self.sensitive_spans: frozenset[int] = frozenset()
        self.results: dict[object, str] = {}
        self.digits_of: Callable[[str], object] = len

    def of(self, text: str) -> str | None:
        """The result for a text of the shape, None where it is not known."""
        return self.results.get(self.digits_of(text))

    def keep(self, text: str, masked: str, places: set[int]) -> None:
        """Keep a result; places that did not matter before make the others worthless."""
        if not places <= self.sensitive_spans:
            self.sensitive_spans |= places
            self.digits_of = itemgetter(*sorted(self.sensitive_spans))
            self.results = {}
        self.results[self.digits_of(text)] = masked


class _MaskedText:
    """A text half-way through the masks.

    `origin` says of each character where it stood, `_NOWHERE` in a mask's name; None where nobody
    asks, and then every digit's place is `_NOWHERE`.
    """

    __slots__ = ("origin", "text")

    def __init__(self, text: str, origin: list[int] | None = None) -> None:
        self.text = text
        self.origin = origin

    def cut(self, start: int, end: int) -> _MaskedText:
        return _MaskedText(self.text[start:end], self.origin and self.origin[start:end])

    def digits(self, start: int, end: int) -> Iterator[int]:
        """Where the digits of a span stood at first."""
        for found in _DIGIT.finditer(self.text, start, end):
            if self.origin is None:
                yield _NOWHERE
            elif (place := self.origin[found.start()]) != _NOWHERE:
                yield place

    def note(self, mask: _Mask, places: set[int]) -> None:
        for span in mask.sensitivity.sensitive_spans(self.text):
            places.update(self.digits(*span))

    def replaced(self, mask: _Mask) -> _MaskedText:
        if self.origin is None:
            return _MaskedText(mask.regex.sub(mask.text, self.text))
        texts: list[str] = []
        origin: list[int] = []
        end = 0
        for found in mask.regex.finditer(self.text):
            texts += (self.text[end : found.start()], mask.text)
            origin += self.origin[end : found.start()]
            origin += [_NOWHERE] * len(mask.text)
            end = found.end()
        if not texts:
            return self
        return _MaskedText("".join((*texts, self.text[end:])), origin + self.origin[end:])


def _compile(name: str, pattern: str) -> re.Pattern[str]:
    try:
        regex = re.compile(pattern) if pattern in _OWN else compile_user_pattern(pattern)
    except re.error as error:
        raise ConfigError(f"mask {name}: '{pattern}' is no regular expression: {error}") from error
    if regex.fullmatch(""):
        raise ConfigError(f"mask {name}: '{pattern}' matches the empty text; let it match a value")
    return regex
