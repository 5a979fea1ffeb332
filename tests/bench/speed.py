"""How fast logmlm is, beside what it rides on: ratios, measured by turns in one run.

    .venv/bin/python tests/bench/speed.py [NAME…] [--json] [--data DIR]

`parse`, `alerts`, `exact`, `fresh`, `kafka`, `train`, `start`, `growth`; all of them without a
name, and always in this order. What needs data that is not here is skipped, and the error output
says why; where nothing could be measured at all, the exit status is 1. The JSON is
`{NAME: {"ratio": median, "low", "high", "what", "rows"}}`; `tests/bench/RESULTS.md` keeps what was
tried. Whatever is measured in this process has the garbage collector look less often, as logmlm's
commands do: both sides of a ratio gain by that.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from speeds.figure import Figure, Options, SkippedError

from logmlm.system.processes import gc_frozen

sys.path.append(str(Path(__file__).parents[1] / "support"))  # some use parts of the tests
NAMES = ("parse", "alerts", "exact", "fresh", "kafka", "train", "start", "growth")


def main() -> None:
    options = _options()
    found: dict[str, Figure] = {}
    for name in options.names:
        try:
            measure = import_module(f"speeds.{name}").measure
            with gc_frozen():
                found[name] = measure(Options(options.data))
        except SkippedError as reason:
            print(f"{name}: skipped, {reason}", file=sys.stderr)
            continue
        if not options.json:
            _show(name, found[name])
    if options.json:
        print(json.dumps({name: asdict(figure) for name, figure in found.items()}, indent=2))
    if not found:
        sys.exit("nothing was measured")


def _show(name: str, figure: Figure) -> None:
    print(f"{name:8} {figure}  {figure.what}")
    for row, value in figure.rows.items():
        print(f"{'':10}{row}: {value}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--data", type=Path, help="folder that has hdfs/ and loghub2k/")
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in NAMES]:
        parser.error(f"there is no benchmark '{unknown[0]}'; choose from {', '.join(NAMES)}")
    options.names = [name for name in NAMES if name in (options.names or NAMES)]
    return options


if __name__ == "__main__":
    main()
