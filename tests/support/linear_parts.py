"""Hostile texts, and a check that work on them grows with their length and no faster."""

from __future__ import annotations

import time
from collections.abc import Callable

KIB = 1024
LONG, SHORT = 100 * KIB, 25 * KIB
QUICK_S = 0.05
"""What takes less CPU than this for `LONG` is not measured again."""
_GROWTH = 8
"""Four times the length is four times the work if it is linear, sixteen times if it is not."""
_HOPELESS_S = 1.0
"""CPU for a quarter of the length after which nobody waits for the whole."""

ASCII = [chr(code) for code in range(128)]
OTHERS = [
    "\u0661",  # ARABIC-INDIC DIGIT ONE
    "\u0967",  # DEVANAGARI DIGIT ONE
    "\uff11",  # FULLWIDTH DIGIT ONE
    "\U0001d7ce",  # MATHEMATICAL BOLD DIGIT ZERO
    "\u00b2",  # SUPERSCRIPT TWO: a digit to `str.isdigit`, not to `int`
    "\u2167",  # ROMAN NUMERAL EIGHT
    "\u00e9",
    "\u00b5",
    "\u0416",
    "\u4e2d",
    "\U0001f600",
    "\u0301",  # COMBINING ACUTE ACCENT
    "\u200d",  # ZERO WIDTH JOINER
    "\u202e",  # RIGHT-TO-LEFT OVERRIDE
    "\u00a0",
    "\u2003",
    "\u2028",
    "\u0085",
    "\ufeff",
    "\ufffd",
]
_MIXED = """1. 1, 1: 1:2: a= a=1, [_ [a ](_ "_ '_ "a\\ \\" a1 1a 01 1\u0661 \u06611 a\u0661 a\u0301
/a a/ ../ :: f: f- a@ @a a.a@ x:// 0x 1e 1s 1.1s 1_ms_ 1_KiB_ 12:00:00_ 2024-01-01T 2024-01-01_
Jan_1_ GET_ GET_/_ ?a= %41 C:\\ <1> {" {"a": [[ ]] }{ (_( -- _- _: ,_ ||_ a,b= "a"="b"_ <NUM>
~/ 1_1_ 00 ff fe1 \u00e91 Aa A. $A"""
MIXED = [unit.replace("_", " ") for unit in _MIXED.split()]
UNITS = ASCII + OTHERS + MIXED


def repeated(unit: str, length: int) -> str:
    """A text of that many characters."""
    return (unit * (length // len(unit) + 1))[:length]


def cpu_s(call: Callable[[str], object], text: str) -> float:
    """Seconds of CPU that a call takes."""
    started = time.process_time()
    call(text)
    return time.process_time() - started


def is_linear(
    call: Callable[[str], object], unit: str, before: str = "", behind: str = "", long: int = LONG
) -> bool:
    """Whether the work on a repeated unit is in proportion to its length, or next to nothing."""
    texts = [before + repeated(unit, length) + behind for length in (long // 4, long)]
    if cpu_s(call, texts[0]) > _HOPELESS_S:
        return False
    if cpu_s(call, texts[1]) < QUICK_S:
        return True
    short, whole = (min(cpu_s(call, text) for _ in range(3)) for text in texts)
    return whole < max(QUICK_S, _GROWTH * short)
