"""How fast logmlm is, beside what it rides on: ratios, measured by turns in one run.

    .venv/bin/python tests/bench/speed.py [NAME…] [--json] [--data DIR]

`parse`, `alerts`, `exact`, `fresh`, `kafka`, `train`, `start`, `growth`; all of them without a
name. What needs data that is not here is skipped with the reason. The JSON is
`{NAME: {"ratio": median, "low", "high", "what", "rows"}}`; `tests/bench/RESULTS.md` keeps what was
tried.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from speeds.figure import Figure, Options, SkippedError

sys.path.append(str(Path(__file__).parents[1]))  # some use parts of the tests
NAMES = ("parse", "alerts", "exact", "fresh", "kafka", "train", "start", "growth")


def main() -> None:
    options = _options()
    found: dict[str, Figure] = {}
    for name in options.names or NAMES:
        try:
            found[name] = import_module(f"speeds.{name}").measure(Options(options.data))
        except SkippedError as reason:
            print(f"{name}: skipped, {reason}", file=sys.stderr)
            continue
        if not options.json:
            _show(name, found[name])
    if options.json:
        print(json.dumps({name: asdict(figure) for name, figure in found.items()}, indent=2))


def _show(name: str, figure: Figure) -> None:
    print(f"{name:8}{figure.ratio:9.2f}  ({figure.low:.2f} to {figure.high:.2f})  {figure.what}")
    for row, value in figure.rows.items():
        print(f"{'':10}{row}: {value}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[[], *NAMES])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--data", type=Path, help="folder that has hdfs/ and loghub2k/")
    return parser.parse_args()


if __name__ == "__main__":
    main()
