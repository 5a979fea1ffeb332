"""`logmlm.train`: what `logmlm train` does, as a function that returns the detector."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from logmlm.config.training import TrainingConfig
from logmlm.detection.detector import Detector
from logmlm.sources.archive.reader import expand, read_lines, require_nonempty
from logmlm.training.options import NAMES, training_config
from logmlm.training.train import Reporter
from logmlm.training.train import train as train_model

logger = logging.getLogger(__name__)


def train(
    logs: Iterable[str | Path] | str | Path,
    out: str | Path,
    *,
    config: TrainingConfig | str | Path | None = None,
    **options: Any,
) -> Detector:
    r"""Learn from normal logs, write the model directory `out`, and open it.

    `logs` are paths or globs. `config` is a YAML file, or what one says; `options` win over it and
    are called as those of `logmlm train`: `name`, `format`, `window`, `key`, `gap`, `size`,
    `preset`, `epochs`, `seed`, `device`, `alerts_per_day`, … What it has to say goes to the logger
    `logmlm.training.library`. Large trainings start processes, so a script needs the usual
    `if __name__ == "__main__":`.

    >>> import logmlm
    >>> detector = logmlm.train(["app.log"], "models/app", key=r"(req-\d+)", epochs=2, folds=0)
    >>> detector.manifest.window.kind
    'session'

    Raises:
        TypeError: there is no such option.
        UsageError: an option has no meaning, or this machine has no such device.
        DataError: a log is damaged, no format fits, or there are too few windows.
        ConfigError: the format or the masks can't be used.
        StorageError: a log can't be read, or the place can't be written.

    """
    if unknown := sorted(set(options) - NAMES):
        known = ", ".join(sorted(NAMES))
        raise TypeError(f"train() has no option '{unknown[0]}'; it has {known}")
    given = [logs] if isinstance(logs, str | Path) else logs
    base = Path(config) if isinstance(config, str) else config
    settings = training_config([str(log) for log in given], out, base, options)
    settings = settings.model_copy(update={"logs": expand(settings.logs)})
    require_nonempty(settings.logs)
    lines = read_lines(settings.logs, time.time(), warn=logger.warning)
    train_model(settings, lines, Reporter(logger.info, lambda _name, _epoch: None))
    return Detector.load(settings.out, settings.model.device)
