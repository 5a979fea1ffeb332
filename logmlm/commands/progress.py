"""Progress on standard error: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn

import click

if TYPE_CHECKING:
    from tqdm import tqdm

    from logmlm.mlm.train import EpochReport

LINE_EVERY_S = 15.0


class Progress:
    """Shows a training; a context manager that leaves the terminal clean."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._bar: tqdm[NoReturn] | None = None
        self._name = ""
        self._last_line = 0.0

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()
        if kind is KeyboardInterrupt:
            click.echo("\nstopped; the same command goes on from the last epoch", err=True)

    def say(self, sentence: str) -> None:
        """A sentence on a line of its own; warnings are shown even when quiet."""
        if not self._quiet or sentence.startswith("warning"):
            self._close()
            click.echo(sentence, err=True)

    def warn(self, sentence: str) -> None:
        """A warning on a line of its own."""
        self.say(f"warning: {sentence}")

    def report(self, name: str, epoch: EpochReport) -> None:
        """One epoch of the training called `name`."""
        if self._quiet:
            return
        if sys.stderr.isatty():
            self._on_terminal(name, epoch)
        elif epoch.epoch == epoch.epochs or time.monotonic() - self._last_line > LINE_EVERY_S:
            self._last_line = time.monotonic()
            click.echo(f"{name}: epoch {epoch.epoch}/{epoch.epochs}, {_figures(epoch)}", err=True)

    def _on_terminal(self, name: str, epoch: EpochReport) -> None:
        from tqdm import tqdm

        if name != self._name:
            self._close()
        bar = self._bar or tqdm(total=epoch.epochs, initial=epoch.epoch - 1, desc=name)
        self._bar, self._name = bar, name
        bar.set_postfix_str(_figures(epoch), refresh=False)
        bar.update()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _figures(epoch: EpochReport) -> str:
    validation = epoch.validation_loss
    parts = [
        f"loss {epoch.loss:.4f}",
        f"perplexity {epoch.perplexity:.3f}",
        f"masked accuracy {epoch.accuracy:.1%}",
        f"{epoch.events_per_second:,.0f} events/s",
    ]
    return ", ".join(parts) + (f", validation {validation:.4f}" if validation is not None else "")
