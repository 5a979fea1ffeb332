"""JSON that others wrote, digests of our own, and text for streams that may not be able to hold it.

Times as text, RFC 3339.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime
from typing import Any, TextIO

UNSEEN = (
    "\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e0fff"
)
"""For a pattern's class: DEL, C1, bidirectional controls, and others that deceive a reader.

JSON escapes what lies below U+0020 by itself (RFC 8259, section 7). Unicode Technical Report 36,
section 2.10.4, and CVE-2021-42574 tell of bidirectional controls.
"""
_UNSEEN = re.compile(f"[{UNSEEN}]")
_CONTROL = re.compile(f"[\x00-\x1f{UNSEEN}]")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
_LAST_SECOND = datetime.max.replace(tzinfo=UTC, microsecond=0).timestamp()


def loads(text: str | bytes) -> Any:
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


def dump_json(value: Any) -> str:
    """Return `value` as one line of JSON that people can look at: nothing in it steers a terminal.

    Letters of all scripts stay as they are; characters that are not seen are escaped, which changes
    nothing for who parses it. What JSON has no type for is written as its text.
    """
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if text.isascii() and "\x7f" not in text else _UNSEEN.sub(_escaped, text)


def json_digest(value: Any) -> str:
    """Return the SHA-256 in hex of `value` as JSON; the order of keys makes no difference."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def one_line(text: str) -> str:
    """Return `text` with its control characters, line ends among them, escaped as JSON does."""
    return _CONTROL.sub(_escaped, text)


def escape_unencodable(text: str, encoding: str | None) -> str:
    """Return `text` as it is where `encoding` (None: UTF-8) can hold it; else escaped as JSON does.

    What was JSON before stays JSON with the same content.
    """
    try:
        text.encode(encoding or "utf-8")
    except UnicodeEncodeError:
        return _NOT_ASCII.sub(_escaped, text)
    return text


def _escaped(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1].replace("\x7f", "\\u007f")


class SafeWriter:
    """Writes text to a stream, whatever its encoding can hold; see `escape_unencodable`."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def write(self, text: str) -> int:
        """Write `text`, and return how many characters were written."""
        return self._out.write(escape_unencodable(text, self._out.encoding))


def format_rfc3339(seconds: float) -> str:
    """UTC epoch seconds as RFC 3339; years outside 1970 to 9999 are brought to the nearest."""
    time = datetime.fromtimestamp(min(max(seconds, 0.0), _LAST_SECOND), tz=UTC)
    return time.isoformat().replace("+00:00", "Z")
