"""The id of a window: the same on every replay, and on every machine."""

from __future__ import annotations

import hashlib
import re
import zlib

from logmlm.records import Window

AUDIT_ONE_IN = 1_000
_FILE_NUMBER = re.compile("-[0-9]+$")
"""Tells files apart that begin alike, by which was met first; a topic's partition has none."""


def window_id(model_digest: str, window: Window) -> str:
    """16 hex digits of the SHA-256 of the model's digest and of a window's place and lines.

    It counts the partition, but not the number of one of several files that begin alike, then the
    key, the first and last position, and the first line of each event (more may come late). So it
    is the same on every replay, and another where other lines came in the same place, such as
    those of a topic that was made anew.
    """
    place = _FILE_NUMBER.sub("", window.partition), window.key
    positions = str(window.first_position), str(window.last_position)
    lines = (event.line.text.partition("\n")[0] for event in window.events)
    parts = "\0".join((model_digest, *place, *positions, *lines))
    return hashlib.sha256(parts.encode("utf-8", "backslashreplace")).hexdigest()[:16]


def is_audited(window: Window) -> bool:
    """Whether a window is one of about `AUDIT_ONE_IN` that are always scored exactly.

    Its place decides, so that the same lines are checked each time.
    """
    place = f"{window.partition}\0{window.key}\0{window.events[0].line.start}"
    return zlib.crc32(place.encode("utf-8", "backslashreplace")) % AUDIT_ONE_IN == 0
