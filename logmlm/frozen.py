"""Records of which there is one for every line or window: frozen, for the type checker alone.

A class that watches over itself while the program runs takes four times as long to make.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["record"]

if TYPE_CHECKING:
    from dataclasses import dataclass as record
else:
    from dataclasses import dataclass

    def record(**_: Any) -> Any:
        """As `dataclass(frozen=True, slots=True)`, but that nothing stops who changes one."""
        return dataclass(slots=True, unsafe_hash=True)
