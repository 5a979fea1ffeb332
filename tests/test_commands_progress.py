"""Progress: a bar on a terminal, now and then a line elsewhere, nothing when quiet."""

import io
import os
import pty
import select
import termios
from contextlib import contextmanager, redirect_stderr

import pytest

from logmlm.commands import progress
from logmlm.commands.progress import Progress
from logmlm.mlm.train import EpochReport


def epoch(number, of=3, validation=1.25):
    return EpochReport(number, of, 1.5, 0.25, 4.4817, validation, 10_000.0)


@contextmanager
def terminal():
    """Standard error is a terminal of 120 columns; gives what it shows, as a function."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 120))
    with os.fdopen(theirs, "w", buffering=1) as stream, redirect_stderr(stream):
        yield lambda: _shown_on(ours)
    os.close(ours)


def _shown_on(descriptor):
    """All that a terminal's other end gives, until it is quiet."""
    shown = b""
    while select.select([descriptor], [], [], 0.2)[0]:
        shown += os.read(descriptor, 1 << 16)
    return shown.decode()


def test_a_bar_is_drawn_on_a_terminal():
    with terminal() as seen, Progress(quiet=False) as shown:
        for name in ("model", "fold 1 of 2"):
            for number in (1, 2, 3):
                shown.report(name, epoch(number))
        shown.warn("look out")
        text = seen()
    assert "model: 100%|" in text
    assert "fold 1 of 2: 100%|" in text
    assert "perplexity 4.482, masked accuracy 25.0%, 10,000 events/s" in text
    assert text.endswith("warning: look out\r\n")


def test_a_training_that_goes_on_begins_its_bar_where_it_was():
    with terminal() as seen:
        with Progress(quiet=False) as shown:
            shown.report("model", epoch(3, of=4))
        assert "model:  75%|" in seen()


def test_nothing_is_drawn_when_quiet():
    with terminal() as seen, Progress(quiet=True) as shown:
        shown.report("model", epoch(1))
        shown.say("hello")
        shown.warn("look out")
        assert seen() == "warning: look out\r\n"


def test_elsewhere_the_last_epoch_and_one_now_and_then_have_a_line(monkeypatch):
    monkeypatch.setattr(progress, "LINE_EVERY_S", 1e9)
    out = io.StringIO()
    with redirect_stderr(out), Progress(quiet=False) as shown:
        shown.say("hello")
        for number in (1, 2, 3):
            shown.report("model", epoch(number, validation=None))
    assert out.getvalue() == (
        "hello\n"
        "model: epoch 3/3, loss 1.5000, perplexity 4.482, masked accuracy 25.0%, 10,000 events/s\n"
    )
    monkeypatch.setattr(progress, "LINE_EVERY_S", -1.0)
    out = io.StringIO()
    with redirect_stderr(out), Progress(quiet=False) as shown:
        shown.report("model", epoch(1))
        shown.report("model", epoch(2))
    assert out.getvalue().count("validation 1.2500\n") == 2


def _interrupted():
    with Progress(quiet=True):
        raise KeyboardInterrupt


def test_who_interrupts_a_training_is_told_how_to_go_on():
    out = io.StringIO()
    with redirect_stderr(out), pytest.raises(KeyboardInterrupt):
        _interrupted()
    assert out.getvalue() == "\nstopped; the same command goes on from the last epoch\n"
