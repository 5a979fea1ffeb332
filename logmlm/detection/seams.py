"""Rotation seams: which file of a rotated log continues which, and from when."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from logmlm.errors import DataError
from logmlm.parsing.formats import LineFormat
from logmlm.records import one_by_one
from logmlm.sources.archive.reader import read_range
from logmlm.sources.rotation import rotation_successors

BOUNDARY_LINES = 1_000
"""Number of lines that are searched for a timestamp or a shard boundary."""


@dataclass(frozen=True, slots=True)
class RotationSeam:
    """Neighbours of a rotated file, by the times of first lines in UTC epoch seconds.

    `begins` is its own first time if it continues another file; `goes_on` is the first time of the
    file that continues it.
    """

    begins: float | None = None
    goes_on: float | None = None


def find_rotation_seams(paths: Sequence[str], line_format: LineFormat) -> dict[str, RotationSeam]:
    """Find the seams among files whose names look like rotations of one log.

    Pairs whose first times go backwards are skipped: their names have another meaning.
    """
    files = [path for path in paths if Path(path).is_file()]
    found: dict[str, RotationSeam] = {}
    for old, new in rotation_successors(files):
        earlier, later = first_time(old, line_format), first_time(new, line_format)
        if earlier and later and earlier <= later:
            found[old] = replace(found.get(old, RotationSeam()), goes_on=later[0])
            found[new] = replace(found.get(new, RotationSeam()), begins=later[0])
    return found


def first_time(path: str, line_format: LineFormat) -> list[float]:
    """Return the first time within `BOUNDARY_LINES` lines, as a list of one; else an empty list."""
    with suppress(DataError):  # binary files are reported when they are read
        for line in islice(one_by_one(read_range(path)), BOUNDARY_LINES):
            fields = line_format.parse(line.text, line.received_at)
            if fields is not None and fields.timestamp is not None:
                return [fields.timestamp]
    return []
