"""Print the masks and formats that take longest over a line of 100 KiB of one repeated character.

python tests/bench/long_lines.py

Every mask and all together, and every format, are given each of the 128 characters of ASCII and
some others, as the whole line; formats also behind each line of theirs in the golden file, and
behind its first half. Times are seconds of this process's CPU; what took over 50 ms is tried five
times more, and the least counts.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from linear_parts import ASCII, LONG, OTHERS, QUICK_S, cpu_s, repeated

from logmlm.config.training import FormatConfig
from logmlm.parsing.formats import FORMATS, get_format
from logmlm.parsing.masking import BUILT_IN, LogMasker, select_masks

GOLDEN = Path(__file__).parents[1] / "data/formats_golden.yaml"
SHOWN = 8
AGAIN = 5
Trial = tuple[str, Callable[[str], object], str]
"""What is tried, the call, and the text before the repeated character."""


def main() -> None:
    timed = sorted(
        (_least_s(call, before + repeated(unit, LONG)), name, unit, before)
        for name, call, before in _trials()
        for unit in ASCII + OTHERS
    )
    slow = sum(seconds > QUICK_S for seconds, *_ in timed)
    print(f"{len(timed):,} trials, {slow} over {QUICK_S * 1000:g} ms; the slowest:\n")
    print("| mask or format | character | behind | ms |")
    print("|---|---|---|---|")
    for seconds, name, unit, before in timed[: -SHOWN - 1 : -1]:
        behind = f"`{before[:40]}`" if before else "nothing"
        print(f"| {name} | {_named(unit)} | {behind} | {seconds * 1000:.1f} |")


def _trials() -> Iterator[Trial]:
    for name in BUILT_IN:
        yield f"mask {name}", LogMasker(select_masks([name], ())).mask, ""
    yield "all masks", LogMasker(select_masks(None, ())).mask, ""
    golden = yaml.safe_load(GOLDEN.read_text())
    for name in FORMATS:
        lines = [entry["line"] for entry in golden if entry["format"] == name]
        befores = {"", *lines, *(line[: len(line) // 2] for line in lines)}
        for before in sorted(befores):
            yield f"format {name}", _reader(name), before


def _reader(name: str) -> Callable[[str], object]:
    """Parse a line and look at all its fields."""
    line_format = get_format(FormatConfig(name=name))

    def read(text: str) -> dict[str, str] | None:
        fields = line_format.parse(text, 1.7e9)
        return None if fields is None else dict(fields.attributes)

    return read


def _least_s(call: Callable[[str], object], text: str) -> float:
    first = cpu_s(call, text)
    if first <= QUICK_S:
        return first
    return min(first, *(cpu_s(call, text) for _ in range(AGAIN)))


def _named(unit: str) -> str:
    return unicodedata.name(unit, f"U+{ord(unit):04X}").lower()


if __name__ == "__main__":
    main()
