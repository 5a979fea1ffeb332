"""Signs that a log is no text, or text of an encoding that is not read."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

SNIFF_BYTES = 8192
"""So much of a log's beginning is looked at for signs that it is no text."""
_OTHERS = b"\0\b\t\n\v\f\r\x1b" + bytes({*range(32, 256)} - {127})
_KINDS, _SHARE = 8, 1 / 32
"""Of noise a ninth are control characters that texts don't need, of all kinds. Logs have few, or of
few kinds (FIX parts its fields by one). Bytes over 127 say nothing: a log may be in Latin-1, or
KOI8-R, and a crash leaves NUL bytes."""
_PAIRS = 32
_HALVES: Mapping[str, tuple[int, int]] = MappingProxyType({"LE": (1, 0), "BE": (0, 1)})
"""Where UTF-16 has zeros and letters, where the text is of ASCII, by its byte order."""

_OTHER_KINDS = (
    (b"\x1f\x8b", "it is packed by gzip; unpack it, or name it *.gz"),
    (b"\xfd7zXZ\0", "it is packed by xz; unpack it, or name it *.xz"),
    (b"\x28\xb5\x2f\xfd", "it is packed by zstd; unpack it, or name it *.zst"),
    (b"BZh", "it is packed by bzip2, which is not read; unpack it (bzcat)"),
    (b"PK\x03\x04", "it is packed by zip, which is not read; unpack it (unzip -p)"),
    (b"\xff\xfe\0\0", "it is UTF-32; make it UTF-8 (iconv -f UTF-32 -t UTF-8)"),
    (b"\0\0\xfe\xff", "it is UTF-32; make it UTF-8 (iconv -f UTF-32 -t UTF-8)"),
    (b"\xff\xfe", "it is UTF-16; make it UTF-8 (iconv -f UTF-16 -t UTF-8)"),
    (b"\xfe\xff", "it is UTF-16; make it UTF-8 (iconv -f UTF-16 -t UTF-8)"),
)
"""How files begin that users take for text, and what to do."""


def why_not_text(head: bytes) -> str:
    """Say why a log's first bytes can't be text, and what to do; empty if they can."""
    for beginning, reason in _OTHER_KINDS:
        if head.startswith(beginning):
            return reason
    for order, (zeros, letters) in _HALVES.items():
        if len(head) >= _PAIRS and not any(head[zeros:_PAIRS:2]) and all(head[letters:_PAIRS:2]):
            return f"it looks like UTF-16; make it UTF-8 (iconv -f UTF-16{order} -t UTF-8)"
    first = head.partition(b"\n")[0]
    text = first.lstrip(b"\0")  # before it: of a file that was truncated while it was written
    if b"\0" in text or (first and not text):
        return "its first line holds a NUL byte"
    head = head[:SNIFF_BYTES]
    controls = head.translate(None, _OTHERS)
    if len(set(controls)) >= _KINDS and len(controls) > _SHARE * len(head):
        return "its beginning is full of control characters"
    return ""
