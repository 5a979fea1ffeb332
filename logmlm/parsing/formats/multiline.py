"""Several lines that are one message, joined by patterns in four modes, as Vector joins them.

The words and what they mean are Vector's (vector.dev, `multiline` of the file source). Joining
belongs to how lines are read, so it is fixed by training and stands in the model directory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from logmlm.config.regex import compile_user_pattern
from logmlm.config.training import MultilineConfig
from logmlm.parsing.formats.fragments import fitting_blank
from logmlm.records import BlankLines, LogLine


class MultilineJoiner:
    """Joins lines to messages, for each partition by itself.

    A line that matches `start_pattern` begins a message, and `condition_pattern` says by `mode`
    which of the next lines belong to it; a line outside of a message stands for itself. What is
    held back until the message ends, or `flush` or `flush_due`, is no part of any event yet. Of
    a message no more than `max_lines` lines and `max_chars` characters are kept (its first line
    always is); what is over is counted in `discarded`, and its `end` still passes it.

    Where an empty line begins a message (`begins_blank`), runs of them must come one by one.
    """

    def __init__(
        self, config: MultilineConfig, max_lines: int = 500, max_chars: int = 65536
    ) -> None:
        self.discarded: Counter[str] = Counter()
        self.patterns = (
            compile_user_pattern(config.start_pattern),
            compile_user_pattern(config.condition_pattern),
        )
        self._starts, self._matches = (each.search for each in self.patterns)
        self._mode = config.mode
        self.begins_blank = self._starts("") is not None
        self._quiet_s = config.timeout_ms / 1000
        self._max_lines = max_lines
        self._max_chars = max_chars
        self._held: dict[str, _PendingMessage] = {}

    def add(self, lines: Iterable[LogLine]) -> list[LogLine]:
        """The messages that these lines complete, in the order of their lines."""
        return [message for line in lines for message in self._add(line)]

    def flush(self) -> list[LogLine]:
        """All that is held back: the input has ended."""
        return self._release(list(self._held))

    def drop(self, partition: str) -> None:
        """Forget what is held back of a partition."""
        self._held.pop(partition, None)

    def holds(self, partition: str) -> bool:
        """Whether something of a partition is held back."""
        return partition in self._held

    def held(self) -> list[str]:
        """Partitions of which something is held back."""
        return list(self._held)

    def flush_due(self, idle: Mapping[str, float]) -> list[LogLine]:
        """Messages of partitions in which nothing more has waited for `timeout_ms`, by `idle`."""
        return self._release([name for name in self._held if idle.get(name, -1.0) >= self._quiet_s])

    def _add(self, line: LogLine) -> list[LogLine]:
        held = self._held.get(line.partition)
        if held is None:
            if not self._starts(line.text):
                return [line]
            self._held[line.partition] = _PendingMessage([line.text], line, line, len(line.text))
            return []
        matched = self._matches(line.text) is not None
        # continue_*: the message goes on while lines match; halt_*: until one does.
        if matched == self._mode.startswith("continue"):
            self._keep(held, line)
            return []
        if self._mode in ("continue_past", "halt_with"):  # the line that ends it belongs to it
            first, rest = _split(line)
            self._keep(held, first)
            return self._release([line.partition]) + rest
        return self._release([line.partition]) + self._add(line)

    def _keep(self, held: _PendingMessage, line: LogLine) -> None:
        held.last = line
        if isinstance(line, BlankLines):
            self._keep_blank(held, line)
            return
        chars = held.chars + 1 + len(line.text)
        if len(held.texts) >= self._max_lines or chars > self._max_chars:
            self.discarded["too_long" if line.text.strip() else "blank"] += 1
            return
        held.texts.append(line.text)
        held.chars = chars

    def _keep_blank(self, held: _PendingMessage, lines: BlankLines) -> None:
        room = self._max_lines - len(held.texts)
        fitting = fitting_blank(lines, room, self._max_chars - held.chars)
        held.texts += [""] * fitting
        held.chars += fitting
        if fitting < lines.lines:
            self.discarded["blank"] += lines.lines - fitting

    def _release(self, partitions: Iterable[str]) -> list[LogLine]:
        return [self._held.pop(partition).joined() for partition in partitions]


def _split(line: LogLine) -> tuple[LogLine, list[LogLine]]:
    """Return the first line of a run, and the others; a line by itself, and none."""
    if not isinstance(line, BlankLines):
        return line, []
    return line.part(0, 1), [line.part(1, line.lines)] if line.lines > 1 else []


@dataclass(slots=True)
class _PendingMessage:
    """A message whose last line may still be to come."""

    texts: list[str]
    first: LogLine
    last: LogLine
    chars: int

    def joined(self) -> LogLine:
        text, last = "\n".join(self.texts), self.last
        return self.first._replace(text=text, end=last.end, received_at=last.received_at)


def join_all(lines: Iterable[LogLine], config: MultilineConfig | None) -> list[LogLine]:
    """All messages of lines that are there as a whole; the lines themselves without `config`."""
    if config is None:
        return list(lines)
    joiner = MultilineJoiner(config)
    return joiner.add(lines) + joiner.flush()
