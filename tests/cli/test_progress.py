"""Progress: a bar on a terminal, now and then a line elsewhere, nothing when quiet."""

import io
import os
import pty
import re
import termios
import threading
import time
from contextlib import contextmanager, redirect_stderr, suppress

import pytest

from logmlm.cli import progress
from logmlm.cli.progress import ProgressDisplay
from logmlm.mlm.trainer import EpochReport


def epoch(number, of=3, validation=1.25):
    return EpochReport(number, of, 1.5, 0.25, 4.4817, validation, 10_000.0)


@contextmanager
def terminal():
    """Standard error is a terminal of 120 columns; gives what it shows, as a function."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 120))
    pieces = []
    reader = threading.Thread(target=_read_all, args=(ours, pieces))
    reader.start()

    def shown():
        count = -1
        while count < len(pieces):  # until it is quiet
            count = len(pieces)
            time.sleep(0.2)
        return b"".join(pieces).decode()

    with os.fdopen(theirs, "w", buffering=1) as stream, redirect_stderr(stream):
        yield shown
    reader.join()
    os.close(ours)


def _read_all(descriptor, pieces):
    """Take what a terminal's other end gives, so that nobody who writes has to wait."""
    with suppress(OSError):  # it was closed
        while piece := os.read(descriptor, 1 << 16):
            pieces.append(piece)


def test_a_bar_is_drawn_on_a_terminal():
    with terminal() as seen, ProgressDisplay(quiet=False) as shown:
        for name in ("model", "fold 1 of 2"):
            for number in (1, 2, 3):
                shown.report(name, epoch(number))
        shown.warn("look out")
        text = seen()
    assert "model: 100%|" in text
    assert "fold 1 of 2: 100%|" in text
    assert "perplexity 4.482, masked accuracy 25.0%, 10,000 events/s" in text
    assert text.endswith("warning: look out\r\n")


def rows(text):
    """What stands on a terminal's rows after `text`."""
    screen, row, column = {0: ""}, 0, 0
    for piece in re.findall(r"\x1b\[A|.", text, re.DOTALL):
        if piece == "\x1b[A":
            row -= 1
        elif piece == "\n":
            row += 1
        elif piece == "\r":
            column = 0
        else:
            before = screen.get(row, "")
            screen[row] = before[:column].ljust(column) + piece + before[column + 1 :]
            column += 1
    return [screen[each].rstrip() for each in sorted(screen)]


def test_trainings_side_by_side_have_a_row_each_however_their_epochs_alternate():
    with terminal() as seen:
        with ProgressDisplay(quiet=False) as shown:
            for number in range(1, 61):
                shown.report("model", epoch(number, of=60))
                shown.report(f"fold {1 + number // 31} of 2", epoch((number - 1) % 30 + 1, of=30))
        found = rows(seen())
    names = [re.match(r"(.*?): 100%\|", row) for row in found if row]
    assert [name and name[1] for name in names] == ["model", "fold 1 of 2", "fold 2 of 2"]


def test_on_a_terminal_lines_are_counted_while_they_are_read(monkeypatch):
    monkeypatch.setattr(progress, "COUNT_EVERY_LINES", 10)
    with terminal() as seen:
        with ProgressDisplay(quiet=False) as shown:
            taken = shown.track_lines(iter(range(1, 101)))
            first = [next(taken) for _ in range(30)]
            shown.say("format: plain")
            assert [*first, *taken] == list(range(1, 101))
        text = seen()
    assert re.search(r"reading: 10 lines", text)
    assert re.search(r"reading: 40 lines", text)
    assert [row for row in rows(text) if row] == ["format: plain"]


def test_lines_are_not_counted_when_quiet_or_without_a_terminal():
    with terminal() as seen, ProgressDisplay(quiet=True) as shown:
        assert list(shown.track_lines(range(1000))) == list(range(1000))
        assert seen() == ""
    out = io.StringIO()
    with redirect_stderr(out), ProgressDisplay(quiet=False) as shown:
        assert list(shown.track_lines(range(1000))) == list(range(1000))
    assert out.getvalue() == ""


def test_a_training_that_goes_on_begins_its_bar_where_it_was():
    with terminal() as seen:
        with ProgressDisplay(quiet=False) as shown:
            shown.report("model", epoch(3, of=4))
        assert "model:  75%|" in seen()


def test_nothing_is_drawn_when_quiet():
    with terminal() as seen, ProgressDisplay(quiet=True) as shown:
        shown.report("model", epoch(1))
        shown.say("hello")
        shown.warn("look out")
        assert seen() == "warning: look out\r\n"


def test_elsewhere_the_last_epoch_and_one_now_and_then_have_a_line(monkeypatch):
    monkeypatch.setattr(progress, "LINE_EVERY_S", 1e9)
    out = io.StringIO()
    with redirect_stderr(out), ProgressDisplay(quiet=False) as shown:
        shown.say("hello")
        for number in (1, 2, 3):
            shown.report("model", epoch(number, validation=None))
    assert out.getvalue() == (
        "hello\n"
        "model: epoch 3/3, loss 1.5000, perplexity 4.482, masked accuracy 25.0%, 10,000 events/s\n"
    )
    monkeypatch.setattr(progress, "LINE_EVERY_S", -1.0)
    out = io.StringIO()
    with redirect_stderr(out), ProgressDisplay(quiet=False) as shown:
        shown.report("model", epoch(1))
        shown.report("model", epoch(2))
    assert out.getvalue().count("validation 1.2500\n") == 2


def _interrupted(*epochs):
    with ProgressDisplay(quiet=True) as shown:
        for each in epochs:
            shown.report("model", each)
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("epochs", "said"),
    [
        ((epoch(1),), "the same command goes on from the last epoch"),
        ((), "no epoch was done yet"),
    ],
)
def test_who_interrupts_a_training_is_told_whether_there_is_an_epoch_to_go_on_from(epochs, said):
    out = io.StringIO()
    with redirect_stderr(out), pytest.raises(KeyboardInterrupt):
        _interrupted(*epochs)
    assert out.getvalue() == f"\nstopped; {said}\n"
