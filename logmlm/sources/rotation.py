"""Finished logs that a rotation made of one: which file goes on where another one ends."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

_PACKED = (".gz", ".xz", ".zst")
_NUMBER = re.compile(r"(?P<base>.+)\.(?P<number>[0-9]{1,4})")
_DATE = re.compile(
    r"(?P<base>.*[^0-9])(?P<date>(?:19|20)[0-9]{2}-?[01][0-9]-?[0-3][0-9](?:[-_.T]?[0-9]{2,6})?)"
    r"(?P<rest>[^0-9]*)"
)
"""logrotate's `dateext`, and rolling appenders: `app.log-20260501`, `app-2026-05-01.log`."""


class _Place(NamedTuple):
    """A file's series, and its place there, which sorts from old to new."""

    series: str
    age: tuple[float, str]
    kind: str


def rotation_successors(paths: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of the paths of which the second one goes on where the first one ends.

    As their names tell: `app.log.2.gz`, `app.log.1`, `app.log`; `app.log-20260501`, `app.log`. A
    number that is missing parts a series.
    """
    places = sorted((_place(path), path) for path in dict.fromkeys(paths))
    named = {place.series for place, _ in places if place.kind != "live"}
    return [
        (old, new)
        for (before, old), (after, new) in pairwise(places)
        if before.series == after.series and before.series in named and _adjoin(before, after)
    ]


def _place(path: str) -> _Place:
    name = Path(path).name
    for packed in _PACKED:
        name = name.removesuffix(packed)
    folder = str(Path(path).parent)
    if found := _NUMBER.fullmatch(name):
        return _Place(f"{folder}/{found['base']}", (-float(found["number"]), ""), "number")
    if found := _DATE.fullmatch(name):
        base = found["base"].rstrip("-_.") + found["rest"]
        return _Place(f"{folder}/{base}", (-1.0, found["date"]), "date")
    return _Place(f"{folder}/{name}", (0.0, ""), "live")


def _adjoin(before: _Place, after: _Place) -> bool:
    """Whether nothing is missing between two files of a series, as far as names tell."""
    if "date" in (before.kind, after.kind):
        return before.kind == "date" and after.kind in ("date", "live")
    return before.age[0] + 1 == after.age[0]
