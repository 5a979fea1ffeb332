"""JSON that others wrote, and text for streams that may not be able to hold it."""

from __future__ import annotations

import json
import re
from typing import Any, TextIO

_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")


def read_json(text: str | bytes) -> Any:
    r"""Read JSON as `json.loads` does, but every text in it is one that UTF-8 can hold.

    JSON can name half of a surrogate pair (`\ud800`; RFC 8259, section 8.2), which is no
    character: each becomes a question mark.

    Raises:
        ValueError: it is no JSON, or its bytes are no text.
        RecursionError: it is nested too deep for the parser.

    """
    if isinstance(text, bytes):
        text = text.decode(json.detect_encoding(text))  # json.loads lets surrogates pass here
    found = json.loads(text)
    if "\\ud" in text or "\\uD" in text:
        return json.loads(json.dumps(found, ensure_ascii=False).encode("utf-8", "replace"))
    return found


def writable(text: str, encoding: str | None) -> str:
    """Return `text` as it is where `encoding` (None: UTF-8) can hold it; else escaped as JSON does.

    What was JSON before stays JSON with the same content.
    """
    try:
        text.encode(encoding or "utf-8")
    except UnicodeEncodeError:
        return _NOT_ASCII.sub(lambda found: json.dumps(found[0])[1:-1], text)
    return text


class Writer:
    """Writes text to a stream, whatever its encoding can hold; see `writable`."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def write(self, text: str) -> int:
        """Write `text`, and return how many characters were written."""
        return self._out.write(writable(text, self._out.encoding))
