"""A model of the demonstration's size, trained for seconds: its weights are real, not good."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[3]
LOGMLM = (sys.executable, "-c", "from logmlm.cli.main import main; main()")
"""The program of this checkout, where `environment` says so."""
SAMPLES = ROOT / "sample_logs"
RECORDED = SAMPLES / "postgresql"


def environment() -> dict[str, str]:
    """What a process needs in order to find this checkout, and no network."""
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    return os.environ | offline | {"PYTHONPATH": str(ROOT)}


def trained(
    out: Path, epochs: int = 3, sample: str = "postgresql", more: Sequence[str] = ("--folds", "0")
) -> Path:
    """Train on a recorded log as its configuration and `more` options say; the model directory."""
    config = ["--config", f"configs/{sample}.yaml", "--out", str(out), *more]
    command = [*LOGMLM, "train", *config, "--epochs", str(epochs), "--device", "cpu", "--quiet"]
    subprocess.run(command, cwd=ROOT, env=environment(), check=True, capture_output=True)
    return out


def recorded(name: str) -> list[str]:
    """Lines of a recorded log: `normal`, or `later` with its faults."""
    with gzip.open(RECORDED / f"{name}.log.gz", "rt", errors="replace") as log:
        return log.read().splitlines()
