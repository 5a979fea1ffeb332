"""Progress on standard error: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn

import click

if TYPE_CHECKING:
    from tqdm import tqdm

    from logmlm.mlm.trainer import EpochReport
    from logmlm.records import LogLine, Score

LINE_EVERY_S = 15.0
BAR_EVERY_S = 0.1
COUNT_EVERY_LINES = 100
GOES_ON = "the same command goes on from the last epoch"
NOTHING_DONE = "no epoch was done yet"


class ProgressDisplay:
    """Shows a training or an evaluation; a context manager that leaves the terminal clean."""

    def __init__(self, quiet: bool) -> None:
        self.is_quiet = quiet
        self._bars: dict[str, tqdm[NoReturn]] = {}
        """By name, in the order of their rows. All stay until the last is done: closing one by
        one would move the rows of the others."""
        self._last_line = 0.0
        self._has_epochs = False

    def __enter__(self) -> ProgressDisplay:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()
        if kind is KeyboardInterrupt:
            click.echo(f"\nstopped; {GOES_ON if self._has_epochs else NOTHING_DONE}", err=True)

    def say(self, sentence: str) -> None:
        """A sentence on a line of its own; warnings are shown even when quiet."""
        if not self.is_quiet or sentence.startswith("warning"):
            self._close()
            click.echo(sentence, err=True)

    def warn(self, sentence: str) -> None:
        """A warning on a line of its own."""
        self.say(f"warning: {sentence}")

    def track_lines(self, lines: Iterable[LogLine]) -> Iterator[LogLine]:
        """The same lines, counted on a terminal."""
        if self.is_quiet or not sys.stderr.isatty():
            yield from lines
            return
        for number, line in enumerate(lines, start=1):
            if number % COUNT_EVERY_LINES == 0:
                self._count(number)
            yield line
        self._close()

    def scoring(self, scores: Iterable[Score], total: int) -> Iterator[Score]:
        """Pass scores on, and show how many of `total` are there."""
        began = self._last_line = time.monotonic()
        for number, score in enumerate(scores, start=1):
            yield score
            if not self.is_quiet and time.monotonic() - self._last_line > self._every_s:
                self._last_line = time.monotonic()
                left = (self._last_line - began) / number * (total - number)
                self._show_share(number, total, left)
        self._close()

    def report(self, name: str, epoch: EpochReport) -> None:
        """One epoch of the training called `name`; several may go on side by side."""
        self._has_epochs = True
        if self.is_quiet:
            return
        if sys.stderr.isatty():
            self._on_terminal(name, epoch)
        elif epoch.epoch == epoch.epochs or time.monotonic() - self._last_line > LINE_EVERY_S:
            self._last_line = time.monotonic()
            click.echo(f"{name}: epoch {epoch.epoch}/{epoch.epochs}, {_figures(epoch)}", err=True)

    @property
    def _every_s(self) -> float:
        return BAR_EVERY_S if sys.stderr.isatty() else LINE_EVERY_S

    def _show_share(self, number: int, total: int, left_s: float) -> None:
        from tqdm import tqdm

        if not sys.stderr.isatty():
            share = f"{number:,} of {total:,} windows"
            click.echo(f"scoring: {share}, about {left_s:.0f} s left", err=True)
            return
        if "scoring" not in self._bars:
            self._bars["scoring"] = tqdm(total=total, desc="scoring", unit=" windows", leave=False)
        bar = self._bars["scoring"]
        bar.update(number - bar.n)

    def _count(self, lines: int) -> None:
        from tqdm import tqdm

        if "reading" not in self._bars:
            self._bars["reading"] = tqdm(initial=lines, desc="reading", unit=" lines", leave=False)
        bar = self._bars["reading"]
        bar.update(lines - bar.n)

    def _on_terminal(self, name: str, epoch: EpochReport) -> None:
        from tqdm import tqdm

        if name not in self._bars:
            self._bars[name] = tqdm(
                total=epoch.epochs,
                initial=epoch.epoch - 1,
                desc=name,
                position=len(self._bars),
            )
        bar = self._bars[name]
        bar.set_postfix_str(_figures(epoch), refresh=False)
        bar.update()
        if epoch.epoch == epoch.epochs:
            bar.refresh()

    def _close(self) -> None:
        for bar in self._bars.values():
            bar.close()
        self._bars.clear()


def _figures(epoch: EpochReport) -> str:
    validation = epoch.validation_loss
    parts = [
        f"loss {epoch.loss:.4f}",
        f"perplexity {epoch.perplexity:.3f}",
        f"masked accuracy {epoch.accuracy:.1%}",
        f"{epoch.events_per_second:,.0f} events/s",
    ]
    return ", ".join(parts) + (f", validation {validation:.4f}" if validation is not None else "")
