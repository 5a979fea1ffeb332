"""JSON objects as scalars by dotted name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Flat = dict[str, str]

_TRANSPARENT = frozenset(("attributes", "Attributes", "resource", "Resource"))
_ANY_VALUES = frozenset(
    ("stringValue", "intValue", "doubleValue", "boolValue", "bytesValue", "kvlistValue")
)


def below(flat: Flat, prefix: str) -> Flat:
    """Return the fields whose names begin so, without that beginning."""
    if not prefix:
        return flat
    start = len(prefix)
    return {name[start:]: value for name, value in flat.items() if name.startswith(prefix)}


def flatten(record: Mapping[str, Any]) -> Flat:
    """Scalars by dotted name, in the object's order; the first one of a name stays."""
    flat: Flat = {}
    todo: list[tuple[str, Iterator[tuple[str, Any]]]] = [("", iter(record.items()))]
    while todo:
        prefix, items = todo[-1]
        for key, value in items:
            name = f"{prefix}.{key}" if prefix else key
            if type(value) is str:  # nearly always
                flat.setdefault(name, value)
                continue
            inner = _unwrapped(value)
            if isinstance(inner, dict):
                todo.append(("" if name in _TRANSPARENT else name, iter(inner.items())))
                break
            if isinstance(inner, (str, int, float)):
                flat.setdefault(name, _text(inner))
        else:
            todo.pop()
    return flat


def _unwrapped(value: Any) -> Any:
    """OTLP's `{"stringValue": x}` is x, and its list of `{"key", "value"}` is an object."""
    if isinstance(value, list):
        return dict(_pairs(value))
    if isinstance(value, dict) and len(value) == 1 and not _ANY_VALUES.isdisjoint(value):
        (inner,) = value.values()
        if isinstance(inner, dict) and isinstance(inner.get("values"), list):
            return dict(_pairs(inner["values"]))
        return inner
    return value


def _pairs(items: list[Any]) -> Iterator[tuple[str, Any]]:
    for item in items:
        if isinstance(item, dict) and isinstance(item.get("key"), str) and "value" in item:
            yield item["key"], item["value"]


def _text(value: str | float) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
