"""Streams read in blocks of whole lines, which are made into records all at once."""

from __future__ import annotations

from collections.abc import Iterator
from io import BufferedIOBase
from itertools import accumulate, count, repeat

from logmlm.records import NO_ATTRIBUTES, LogLine, make_records
from logmlm.sources.lines import MARK, RUNS, pieces
from logmlm.system.line_text import strip_controls_of_lines

MAX_LINE_BYTES = 1 << 20
BLOCK_BYTES = 1 << 16
_READ_BYTES = 1 << 13
"""Read at once, so that of a damaged archive no more is lost than this."""


Block = tuple[bytes, int]
"""Whole lines, and how many bytes of the stream they are: more, if its one line was cut."""


def blocks(stream: BufferedIOBase) -> Iterator[Block]:
    """All lines of a stream, of each the first `MAX_LINE_BYTES` at least.

    Only the last one may end without a newline. What was read before an error comes before it, but
    for the line that it is in.
    """
    rest, dropped = b"", 0
    for piece in _contents(stream):
        content = rest + piece
        if dropped and (end := content.find(b"\n") + 1):
            yield content[:end][:MAX_LINE_BYTES], dropped + end
            content, dropped = content[end:], 0
        end = content.rfind(b"\n") + 1
        if end:
            yield content[:end], end
        rest = content[end:]
        if rest.startswith(b"\0"):  # a line may have far more of them before it than is kept
            length, rest = len(rest), rest.lstrip(b"\0") or b"\0"
            dropped += length - len(rest)
        if len(rest) > MAX_LINE_BYTES:
            dropped += len(rest) - MAX_LINE_BYTES
            rest = rest[:MAX_LINE_BYTES]
    if rest:
        yield rest, len(rest) + dropped


def log_lines(
    block: Block, partition: str, start: int, received_at: float, number: int
) -> list[LogLine]:
    """The lines of a block that begins at `start`, the first of which has that `number`.

    What is no UTF-8 stands there as escapes. A byte-order mark at the beginning, NULs before a line
    and terminal control sequences are no text. Many empty lines that follow each other are one run
    (`BlankLines`).
    """
    content, _ = block
    lines: list[LogLine] = []
    for piece, line_bytes in pieces(content):
        if len(piece) == len(content) and not line_bytes:
            return _lines(block, partition, start, received_at, number)
        end = start + len(piece)
        if line_bytes:
            run = RUNS[line_bytes]("", partition, start, end, received_at, number)
            lines.append(run)
            number += run.lines
        else:
            lines += _lines((piece, len(piece)), partition, start, received_at, number)
            number += piece.count(b"\n")
        start = end
    return lines


def _lines(
    block: Block, partition: str, start: int, received_at: float, number: int
) -> list[LogLine]:
    content, length = block
    raw = content.split(b"\n")
    if not raw[-1]:
        raw.pop()  # behind the last newline
    ends = list(accumulate(map(len, raw), lambda end, size: end + size + 1, initial=start))
    ends[-1] = start + length
    texts = _decoded(content).split("\n")
    if len(content) > MAX_LINE_BYTES:
        texts = [_decoded(each.lstrip(b"\0")[:MAX_LINE_BYTES]) for each in raw]
    if start == 0:
        texts[0] = texts[0].removeprefix(MARK)
    if b"\r" in content:
        texts = [text.rstrip("\r") for text in texts]
    place = repeat(partition), ends, ends[1:], repeat(received_at), count(number)
    return make_records(LogLine, texts, *place, repeat(None), repeat(NO_ATTRIBUTES), repeat(False))


def _decoded(raw: bytes) -> str:
    return strip_controls_of_lines(raw.decode("utf-8", "backslashreplace"))


def _contents(stream: BufferedIOBase) -> Iterator[bytes]:
    """What the stream holds, in pieces of about `BLOCK_BYTES`; it waits for no more than one."""
    is_open = True
    while is_open:
        pieces, damage = _pieces(stream)
        if pieces:
            yield b"".join(pieces)
        if damage is not None:
            raise damage
        is_open = bool(pieces)


def _pieces(stream: BufferedIOBase) -> tuple[list[bytes], Exception | None]:
    """What can be read at once, and what came of it."""
    pieces: list[bytes] = []
    try:
        while len(pieces) * _READ_BYTES < BLOCK_BYTES and (piece := stream.read1(_READ_BYTES)):
            pieces.append(piece)
            if len(piece) < _READ_BYTES:
                break
    except Exception as error:
        return pieces, error
    return pieces, None
