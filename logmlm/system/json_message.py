"""The text of a log message that JSON holds as something else than a string."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

MOST_PARTS = 256
"""A message is made of so many values at most."""

_ERRORS = (
    *("error", "error.message", "err", "err.message", "errorMessage", "error_message"),
    *("exception", "exception.message", "reason", "description", "detail", "details", "text"),
)


def scalars(value: Any, name: str = "") -> Iterator[tuple[str, str | float]]:
    """Yield the texts, numbers and booleans in `value`, in order, each with its dotted name."""
    todo = [(name, value)]
    while todo:
        name, value = todo.pop()
        if isinstance(value, Mapping):
            inner = [(f"{name}.{key}" if name else str(key), child) for key, child in value.items()]
            todo += reversed(inner)
        elif isinstance(value, list):
            todo += reversed([(name, child) for child in value])
        elif isinstance(value, (str, int, float)):
            yield name, value


def scalar_text(value: str | float) -> str:
    """Return a value as one line of text; booleans are spelt as in JSON."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return " ".join(text.split()) if "\n" in text or "\r" in text else text.strip()


def field(record: Mapping[str, Any], name: str, missing: Any = None) -> Any:
    """Find a field: `a.b` is the field of that name, or field `b` of field `a`."""
    if name in record:
        return record[name]
    first, _, rest = name.partition(".")
    inner = record.get(first)
    return field(inner, rest, missing) if rest and isinstance(inner, Mapping) else missing


def message_text(value: Any) -> str:
    """Return a message of any JSON type as one line of text; empty if it holds nothing.

    Fields of an object are written `name=value`, in its order, those of an inner object with
    dotted names; elements of a list are separated by spaces.
    """
    if isinstance(value, str):
        return value
    parts: list[str] = []
    for name, each in scalars(value):
        text = scalar_text(each)
        if text:
            parts.append(f"{name}={text}" if name else text)
            if len(parts) == MOST_PARTS:
                break
    return " ".join(parts)


def journal_text(value: Any) -> str | None:
    """Return the text of a journal entry's MESSAGE; None if there is none.

    journalctl writes a message that is no UTF-8 as a list of bytes. An entry with several
    messages has a list of texts or of such lists, which are joined by spaces (journalctl(1), -o
    json).
    """
    if isinstance(value, list) and value and isinstance(value[0], (str, list)):
        texts = [journal_text(each) for each in value if not _holds_lists(each)]
        return " ".join(text.strip() for text in texts if text) or None
    if isinstance(value, list):
        try:
            return bytes(value).decode(errors="replace")
        except (TypeError, ValueError):  # not a list of numbers 0 to 255
            return None
    return value if isinstance(value, str) else None


def error_text(record: Mapping[str, Any]) -> str:
    """Return what an object without a message says of an error; empty if it says nothing."""
    for name in _ERRORS:
        value = field(record, name)
        if isinstance(value, str) and (text := scalar_text(value)):
            return text
    return ""


def _holds_lists(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], (str, list))
