"""The text of raw lines, without terminal control sequences and without leading NULs.

Coloured output holds control sequences of ECMA-48: they are no part of what a program says. A file
that is truncated while a program goes on writing at its old position (copytruncate without
O_APPEND), or that a crash left, has NUL bytes where nothing was written.
"""

from __future__ import annotations

import re

_SEQUENCE = re.compile(
    r"\x1b(?:"
    r"\[[0-?]*+[ -/]*+[@-~]"  # CSI: colours (SGR), cursor movements
    r"|\][^\x07\x1b\n]*+(?:\x07|\x1b\\)"  # OSC: window titles, hyperlinks (OSC 8)
    r"|[()][0-9A-Z]"  # a character set, as `tput sgr0` writes it
    r")"
    r"|#033\[[0-9;]*+m"  # how rsyslog writes the colours of what it receives
)
_NULS = re.compile("^\0+", re.MULTILINE)


def strip_controls(text: str) -> str:
    """Return the text of one line without control sequences and leading NULs."""
    return _without_sequences(text).lstrip("\0")


def strip_controls_of_lines(text: str) -> str:
    """Do as `strip_controls` does with each line of a text."""
    text = _without_sequences(text)
    return _NULS.sub("", text) if "\0" in text else text


def _without_sequences(text: str) -> str:
    return _SEQUENCE.sub("", text) if "\x1b" in text or "#033[" in text else text
