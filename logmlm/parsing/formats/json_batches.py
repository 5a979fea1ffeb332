"""JSON objects that hold several log records: OTLP files, CloudTrail, CloudWatch, Azure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_LISTS = ("Records", "records", "logEvents")
_OTLP = "resourceLogs"
Record = dict[str, Any]


def first_of(batch: Mapping[str, Any]) -> tuple[Record, int] | None:
    """Return the first record in an object, and how many it holds; None if it is no batch.

    What the batch says beside its records is part of the record. A line is one event: its further
    records are not read.
    """
    if isinstance(batch.get(_OTLP), list):
        return _first(_otlp_records(batch[_OTLP]))
    for name in _LISTS:
        value = batch.get(name)
        if isinstance(value, list):
            around = {key: other for key, other in batch.items() if key != name}
            return _first((record, around) for record in _objects(value))
    return None


def _first(records: Iterator[tuple[Record, Record]]) -> tuple[Record, int] | None:
    """The first record with what is around it, and how many there are."""
    found = next(records, None)
    if found is None:
        return None
    record, around = found
    missing = {name: value for name, value in around.items() if name not in record}
    return {**record, **missing}, 1 + sum(1 for _ in records)


def _otlp_records(resources: list[Any]) -> Iterator[tuple[Record, Record]]:
    """Records of `resourceLogs`, each with what is around it (OTLP, logs.proto)."""
    for resource in _objects(resources):
        around: Record = {}
        if isinstance(resource.get("resource"), dict):
            around["resource"] = resource["resource"]
        scopes = resource.get("scopeLogs") or resource.get("instrumentationLibraryLogs")
        for scope in _objects(scopes):
            own = dict(around)
            if isinstance(scope.get("scope"), dict) and "name" in scope["scope"]:
                own["logger"] = scope["scope"]["name"]
            yield from ((record, own) for record in _objects(scope.get("logRecords")))


def _objects(value: Any) -> Iterator[Record]:
    return (one for one in value if isinstance(one, dict)) if isinstance(value, list) else iter(())
