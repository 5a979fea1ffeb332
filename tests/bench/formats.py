"""Share of lines that each loghub sample's format matches, and of messages as published.

.venv/bin/python tests/bench/formats.py --data ../shared/data
"""

from __future__ import annotations

import argparse
import csv
import gzip
import time
from pathlib import Path

from logmlm.config.training import FormatConfig
from logmlm.parsing.formats import detect_format


def read_sample(folder: Path, name: str) -> tuple[list[str], list[str]]:
    """Lines of a loghub sample, and the published message of each."""
    raw = (folder / f"{name}_2k.log").read_bytes().decode(errors="replace")
    lines = [line.removesuffix("\r") for line in raw.removesuffix("\n").split("\n")]
    with gzip.open(folder / f"{name}_2k_structured.csv.gz", "rt", newline="") as stream:
        return lines, [row["Content"] for row in csv.DictReader(stream)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder that has loghub2k/")
    folder = parser.parse_args().data / "loghub2k"
    print(f"{'sample':12} {'format':12} {'auto':>7} {'matched':>8} {'equal':>8} {'us/line':>8}")
    for path in sorted(folder.glob("*_2k.log")):
        name = path.name.removesuffix("_2k.log")
        lines, published = read_sample(folder, name)
        found = detect_format(lines[:1000], FormatConfig())
        started = time.process_time()
        parsed = [found.format.parse(line, 0.0) for line in lines]
        micros = (time.process_time() - started) / len(lines) * 1e6
        matched = sum(fields is not None for fields in parsed) / len(lines)
        same = [f is not None and f.message == m for f, m in zip(parsed, published, strict=True)]
        equal = sum(same) / len(lines)
        print(
            f"{name:12} {found.format.name:12} {found.share:7.1%} {matched:8.2%} {equal:8.2%}"
            f" {micros:8.1f}"
        )
        for index in [index for index, one in enumerate(same) if not one][:3]:
            print(f"    line {index + 1}: published {published[index]!r}, got {parsed[index]}")


if __name__ == "__main__":
    main()
