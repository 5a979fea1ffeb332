"""Records of which there is one for every line or window, and what makes them quickly."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

__all__ = ["made", "record"]

Row = TypeVar("Row", bound=tuple[Any, ...])

if TYPE_CHECKING:
    from dataclasses import dataclass as record
else:
    from dataclasses import dataclass

    def record(**_: Any) -> Any:
        """As `dataclass(frozen=True, slots=True)`, but that nothing stops who changes one.

        A class that watches over itself while the program runs takes four times as long to make.
        """
        return dataclass(slots=True, unsafe_hash=True)


def made(kind: type[Row], *columns: Iterable[object]) -> list[Row]:
    """Records of a kind that is a named tuple, of all its columns; `repeat` what all share.

    They end with the shortest column. It takes a third of the time of making one after the other.
    """
    return list(map(partial(tuple.__new__, kind), zip(*columns, strict=False)))
