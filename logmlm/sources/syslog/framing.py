"""Syslog messages in a stream of bytes (RFC 6587): counted octets, or ended by newline or NUL."""

from __future__ import annotations

import re
from dataclasses import dataclass

from logmlm.sources.base import decode_line

_COUNT = re.compile(rb"([1-9][0-9]{0,9}) <")
_MAY_COUNT = re.compile(rb"[1-9][0-9]{0,9} ?")
_END = re.compile(rb"[\n\0]")
_TRAILERS = b"\r\n\0"


@dataclass(frozen=True, slots=True)
class Frame:
    """A message's text; `cut` if it was too long, `incomplete` if the stream ended within it."""

    text: str
    cut: bool
    incomplete: bool = False


class Framer:
    """Cuts what one connection brings into messages; memory is bounded by `max_line_bytes`.

    Each message says itself how it is framed: `LENGTH <PRI>…` is counted, anything else ends
    with the first newline or NUL (RFC 6587, sections 3.4.1 and 3.4.2). CR, NUL and newline at a
    message's end are left out, and so are empty messages.
    """

    def __init__(self, max_line_bytes: int) -> None:
        self._max_line_bytes = max_line_bytes
        self._unread = bytearray()
        self._message = bytearray()
        self._length = 0
        self._left: int | None = None
        """Octets of a counted message that are still to come; 0 stands for a line."""

    def add(self, chunk: bytes) -> list[Frame]:
        """Messages that `chunk` ends."""
        self._unread += chunk
        frames: list[Frame] = []
        while self._unread and self._has_begun():
            frames += self._take_counted() if self._left else self._take_line()
        return frames

    def rest(self) -> list[Frame]:
        """What came of the last message: the connection has ended."""
        self._keep(len(self._unread))
        return self._finish(incomplete=bool(self._left))

    def _has_begun(self) -> bool:
        """Whether it is known how the message at hand is framed."""
        if self._left is not None:
            return True
        if match := _COUNT.match(self._unread):
            self._left = int(match[1])
            del self._unread[: match.end() - 1]
        elif not _MAY_COUNT.fullmatch(self._unread):
            self._left = 0
        return self._left is not None

    def _take_counted(self) -> list[Frame]:
        left = self._left or 0
        self._left = left - self._keep(min(left, len(self._unread)))
        return [] if self._left else self._finish()

    def _take_line(self) -> list[Frame]:
        end = _END.search(self._unread)
        self._keep(len(self._unread) if end is None else end.end())
        return [] if end is None else self._finish()

    def _keep(self, count: int) -> int:
        """Move so many octets to the message at hand, as far as there is room."""
        room = max(0, self._max_line_bytes + len(_TRAILERS) - len(self._message))
        self._message += self._unread[: min(count, room)]
        del self._unread[:count]
        self._length += count
        return count

    def _finish(self, incomplete: bool = False) -> list[Frame]:
        raw = bytes(self._message)
        is_whole = self._length == len(raw)
        raw = raw.rstrip(_TRAILERS) if is_whole else raw
        cut = not is_whole or len(raw) > self._max_line_bytes
        self._message.clear()
        self._length, self._left = 0, None
        text = decode_line(raw, self._max_line_bytes)
        return [Frame(text, cut, incomplete)] if text else []


def datagram(raw: bytes, max_line_bytes: int) -> list[Frame]:
    """Take the one message of a datagram (RFC 5426, section 3.1), if it is not empty."""
    content = raw.rstrip(_TRAILERS)
    text = decode_line(content, max_line_bytes)
    return [Frame(text, len(content) > max_line_bytes)] if text else []
