"""From a Kafka record to a line: its text, and what key, headers and fields say beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import repeat
from typing import Any, Protocol

from logmlm.config.kafka import KafkaSourceConfig
from logmlm.errors import DataError
from logmlm.records import NO_ATTRIBUTES, LogLine, make_records
from logmlm.sources.base import decode_line
from logmlm.system.json_message import error_text, field, message_text
from logmlm.system.line_text import strip_controls_of_lines
from logmlm.system.text import loads


class KafkaRecord(Protocol):
    """What we use of kafka-python's ConsumerRecord; `timestamp` is in milliseconds, or -1."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


TOMBSTONE = "tombstone"
_MISSING: Any = object()
DeadLetter = tuple[KafkaRecord, str]
"""An unreadable record, and the reason."""


class RecordDecoder:
    """Reads records as the configuration says: text, or JSON objects with a message field."""

    def __init__(self, config: KafkaSourceConfig, discarded: Counter[str]) -> None:
        """Lines over `max_line_bytes` (`cut`) and tombstones are counted in `discarded`."""
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
        self, records: Sequence[KafkaRecord], partition: str, received_at: float
    ) -> tuple[list[LogLine], list[DeadLetter]]:
        """Return those of a partition's records that can be read as `line` does, and the others.

        A record without a value (a tombstone) says that its key is deleted: it is neither.
        """
        texts = self._texts([record.value for record in records])
        if texts is not None:
            return _lines(records, texts, partition, received_at), []
        lines: list[LogLine] = []
        letters: list[DeadLetter] = []
        for record in records:
            if record.value is None:
                self._discarded[TOMBSTONE] += 1
                continue
            try:
                lines.append(self.line(record, partition, received_at))
            except DataError as error:
                letters.append((record, str(error)))
        return lines, letters

    def _texts(self, values: Sequence[bytes | None]) -> list[str] | None:
        """All values as text, if that is taken as it is, and none is empty, too long or broken."""
        given = [value for value in values if value]
        if len(given) < len(values) or max(map(len, given), default=0) > self._simple_bytes:
            return None
        together = b"\n".join(given)
        if together.count(b"\n") >= len(given) or b"\r" in together:
            return None
        return strip_controls_of_lines(together.decode("utf-8", "backslashreplace")).split("\n")

    def line(self, record: KafkaRecord, partition: str, received_at: float) -> LogLine:
        """Return the record of a `partition` as a line; its text is cut to `max_line_bytes`.

        Raises:
            DataError: it can't be read; the text says why, and holds nothing of its content.

        """
        value = record.value
        if value is None:
            raise DataError("no value")
        if len(value) > self._max_record_bytes:
            raise DataError("over max_record_bytes")
        fields = _object(value) if self._is_json else NO_ATTRIBUTES
        raw = value if self._message_field is None else self._message(fields)
        if len(raw) > self._max_line_bytes and len(raw.rstrip(b"\r\n")) > self._max_line_bytes:
            self._discarded["cut"] += 1
        attributes = self._attributes(record, fields) if self._places else NO_ATTRIBUTES
        text = decode_line(raw, self._max_line_bytes)
        (line,) = _lines([record], [text], partition, received_at)
        return line._replace(attributes=attributes)

    def _message(self, fields: Mapping[str, Any]) -> bytes:
        """The message field as text; where it is null, what the record says of an error."""
        message = field(fields, str(self._message_field), _MISSING)
        text = message if isinstance(message, str) else message_text(message)
        if not text and message is None:
            text = error_text(fields)
        if not text and not isinstance(message, str):
            raise DataError("no text in message_field")
        return text.encode("utf-8", "replace")

    def _attributes(self, record: KafkaRecord, fields: Mapping[str, Any]) -> dict[str, str]:
        found = (
            (name, _text(self._find(record, fields, kind, what)))
            for name, kind, what in self._places
        )
        return {name: text for name, text in found if text}

    def _find(self, record: KafkaRecord, fields: Mapping[str, Any], kind: str, what: str) -> Any:
        if kind == "key":
            return record.key
        if kind == "header":
            return next((value for name, value in record.headers if name == what), None)
        return field(fields, what)


def _lines(
    records: Sequence[KafkaRecord], texts: Sequence[str], partition: str, received_at: float
) -> list[LogLine]:
    """Records of a partition as lines, which have these texts."""
    starts = [record.offset for record in records]
    stamps = [record.timestamp for record in records]
    times = [stamp / 1000 if stamp > 0 else None for stamp in stamps]
    place = repeat(partition), starts, [start + 1 for start in starts], repeat(received_at)
    return make_records(
        LogLine, texts, *place, repeat(0), times, repeat(NO_ATTRIBUTES), repeat(False)
    )


def _object(value: bytes) -> dict[str, Any]:
    try:
        found = loads(value)
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, or nested too deep
        raise DataError("no JSON") from error
    if not isinstance(found, dict):
        raise DataError("no JSON object")
    return found


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace").strip()
    if isinstance(value, bool):
        return str(value).lower()
    return str(value).strip() if isinstance(value, (str, int, float)) else ""
