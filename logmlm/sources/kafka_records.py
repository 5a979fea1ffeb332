"""From a Kafka record to a line: its text, and what key, headers and fields say beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from logmlm.errors import DataError
from logmlm.jsontext import read_json
from logmlm.kafkaconfig import KafkaSourceConfig
from logmlm.records import LogLine
from logmlm.sources.base import decode

_NOTHING: Mapping[str, Any] = {}
_LINE_ENDS = b"\r\n"


class Record(Protocol):
    """What we use of kafka-python's ConsumerRecord; `timestamp` is in milliseconds, or -1."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


Letter = tuple[Record, str]
"""An unreadable record, and the reason."""


class RecordReader:
    """Reads records as the configuration says: text, or JSON objects with a message field."""

    def __init__(self, config: KafkaSourceConfig, discarded: Counter[str]) -> None:
        """Lines that are over `max_line_bytes` are counted in `discarded`."""
        self._discarded = discarded
        self._is_json = config.value == "json"
        self._message_field = config.message_field
        self._max_record_bytes = config.max_record_bytes
        self._max_line_bytes = config.max_line_bytes
        self._places = [
            (name, *place.partition(":")[::2]) for name, place in config.attributes.items()
        ]
        is_text = not (self._is_json or self._message_field or self._places)
        self._simple_bytes = min(self._max_record_bytes, self._max_line_bytes) if is_text else 0
        """Values up to here are text that is taken as it is, unless it has a line end."""

    def read(
        self, records: Sequence[Record], partition: str, received_at: float
    ) -> tuple[list[LogLine], list[Letter]]:
        """Return those of a partition's records that can be read as `line` does, and the others."""
        lines: list[LogLine] = []
        letters: list[Letter] = []
        for record in records:
            value = record.value
            if value and len(value) <= self._simple_bytes and value[-1] not in _LINE_ENDS:
                text = value.decode("utf-8", "backslashreplace")
                lines.append(_line(record, text, partition, received_at))
                continue
            try:
                lines.append(self.line(record, partition, received_at))
            except DataError as error:
                letters.append((record, str(error)))
        return lines, letters

    def line(self, record: Record, partition: str, received_at: float) -> LogLine:
        """Return the record of a `partition` as a line; its text is cut to `max_line_bytes`.

        Raises:
            DataError: it can't be read; the text says why, and holds nothing of its content.

        """
        value = record.value
        if value is None:
            raise DataError("no value")
        if len(value) > self._max_record_bytes:
            raise DataError("over max_record_bytes")
        fields = _object(value) if self._is_json else _NOTHING
        raw = value if self._message_field is None else self._message(fields)
        if len(raw) > self._max_line_bytes and len(raw.rstrip(b"\r\n")) > self._max_line_bytes:
            self._discarded["cut"] += 1
        attributes = self._attributes(record, fields) if self._places else _NOTHING
        return _line(record, decode(raw, self._max_line_bytes), partition, received_at, attributes)

    def _message(self, fields: Mapping[str, Any]) -> bytes:
        message = _field(fields, str(self._message_field))
        if not isinstance(message, str):
            raise DataError("no text in message_field")
        return message.encode("utf-8", "replace")

    def _attributes(self, record: Record, fields: Mapping[str, Any]) -> dict[str, str]:
        found = (
            (name, _text(self._find(record, fields, kind, what)))
            for name, kind, what in self._places
        )
        return {name: text for name, text in found if text}

    def _find(self, record: Record, fields: Mapping[str, Any], kind: str, what: str) -> Any:
        if kind == "key":
            return record.key
        if kind == "header":
            return next((value for name, value in record.headers if name == what), None)
        return _field(fields, what)


def _line(
    record: Record,
    text: str,
    partition: str,
    received_at: float,
    attributes: Mapping[str, str] = _NOTHING,
) -> LogLine:
    offset, timestamp = record.offset, record.timestamp
    written_at = timestamp / 1000 if timestamp > 0 else None
    # By position: naming eight arguments takes as long as making the line.
    return LogLine(text, partition, offset, offset + 1, received_at, 0, written_at, attributes)


def _object(value: bytes) -> dict[str, Any]:
    try:
        found = read_json(value)
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, or nested too deep
        raise DataError("no JSON") from error
    if not isinstance(found, dict):
        raise DataError("no JSON object")
    return found


def _field(fields: Mapping[str, Any], name: str) -> Any:
    """Find a field: `a.b` is the field of that name, or field `b` of field `a`."""
    if name in fields:
        return fields[name]
    first, _, rest = name.partition(".")
    inner = fields.get(first)
    return _field(inner, rest) if rest and isinstance(inner, dict) else None


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace").strip()
    if isinstance(value, bool):
        return str(value).lower()
    return str(value).strip() if isinstance(value, (str, int, float)) else ""
