"""Rotated files of one log: where one goes on that another one ends."""

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
"""So many lines are looked at for a place to cut; where none is, the shard goes on."""


@dataclass(frozen=True, slots=True)
class RotationSeam:
    """When the first line of a rotated file was written, if it goes on where another one ends.

    And `goes_on`, when that of the file was that goes on where this one ends.
    """

    begins: float | None = None
    goes_on: float | None = None


def find_rotation_seams(paths: Sequence[str], line_format: LineFormat) -> dict[str, RotationSeam]:
    """Say of files that a rotation made of one log what lies beside them.

    Where the times of their first lines go back, their names mean something else.
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
    """The time of the first line that has one, if one is near."""
    with suppress(DataError):  # what is no text is told when it is read
        for line in islice(one_by_one(read_range(path)), BOUNDARY_LINES):
            fields = line_format.parse(line.text, line.received_at)
            if fields is not None and fields.timestamp is not None:
                return [fields.timestamp]
    return []
