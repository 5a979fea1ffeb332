"""Training against transformers' `Trainer` with its masked-LM collator, on the same windows.

    PYTHONPATH=tests/bench python -m speeds.train --gpu [--data DIR] [--events N] [--device cuda]

trains for 10 epochs on as many events as all of HDFS has, drawn from its training sessions (or
from the recorded log), and says how long it took and what share of the GPU's peak that is.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import AutoTokenizer, DataCollatorForLanguageModeling, TrainingArguments
from transformers.trainer_callback import PrinterCallback
from transformers.utils import logging

from logmlm.config.loader import read_training_config
from logmlm.config.training import ModelConfig, WindowConfig
from logmlm.mlm.batches import Batch, EpochBatches, RankSlice
from logmlm.mlm.checkpoint import TrainingCheckpoint, TrainingProgress
from logmlm.mlm.corpus import Corpus, EpochSample
from logmlm.mlm.model import PRESETS, build_model, resolve_device
from logmlm.mlm.process_group import DistributedContext
from logmlm.mlm.tokenizer import END, PAD, UNK, Vocabulary, add_special_tokens, save_tokenizer
from logmlm.mlm.trainer import Trainer, TrainingJob, train_model
from logmlm.parsing.batches import ParserSpec
from logmlm.parsing.parallel import ParallelParser
from logmlm.parsing.template_miner import TemplateMiner
from logmlm.sources.archive.reader import read_lines
from logmlm.training.corpus_builder import CorpusBuilder
from logmlm.training.train import choose_format
from speeds.figure import ROUNDS, Figure, Options, SkippedError, by_turns

SIZE = WindowConfig().size
BATCH = ModelConfig().batch_size
WINDOWS = 640
"""So many distinct windows a turn; both sides train on each of them once."""
HDFS_EVENTS = 11_175_629
EPOCHS = 10
PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12}
"""Dense bfloat16 operations a second, from NVIDIA's data sheets."""

Windows = list[tuple[int, ...]]


def measure(options: Options) -> Figure:
    """Seconds of `Trainer` over ours for the default preset; `small` and padding as rows."""
    windows, vocabulary = _windows(options)
    distinct = list(dict.fromkeys(windows))[:WINDOWS]
    device = resolve_device("auto").type
    sides = {preset: _sides(preset, distinct, vocabulary, device) for preset in ("tiny", "small")}
    where = "a GPU" if device == "cuda" else "a CPU"
    figures = {
        preset: by_turns(f"Trainer's seconds over ours, preset {preset}, {where}", *both)
        for preset, both in sides.items()
    }
    main, small = figures["tiny"], figures["small"]
    rows = main.rows | {
        "windows": f"{len(distinct)} distinct ones, each once on both sides, batches of {BATCH}",
        "small": str(small),
        "padding": _padding(windows, vocabulary),
        "padding, recorded PostgreSQL log": _padding(*_recorded()),
        "repeats drawn together": _together(windows),
    }
    return Figure(main.ratio, main.low, main.high, main.what, rows)


def _sides(
    preset: str, windows: Windows, vocabulary: Vocabulary, device: str
) -> tuple[Callable[[], object], Callable[[], object]]:
    """Trainer's epoch, with the threads that suit it best, and ours with all that is before it."""
    trainers = [_trainer(preset, windows, vocabulary) for _ in range(ROUNDS)]
    some = windows[: 4 * BATCH]
    tries = {n: _trainer(preset, some, vocabulary) for n in (1, torch.get_num_threads())}
    threads = min(tries, key=lambda n: _seconds(lambda: _trained(tries[n], n)))
    job = _job(Corpus.of(windows), len(vocabulary), preset, 1, device)

    def ours() -> None:
        train_model(job, TrainingCheckpoint(None, ""), lambda _: None)

    ours()
    return lambda: _trained(trainers.pop(), threads), ours


def _trained(trainer: transformers.Trainer, threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    trainer.train()
    torch.set_num_threads(before)


def _trainer(preset: str, windows: Windows, vocabulary: Vocabulary) -> transformers.Trainer:
    """For an epoch of the same model, from the same weights, in the same precision."""
    logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as folder:
        save_tokenizer(vocabulary, Path(folder))
        tokenizer = AutoTokenizer.from_pretrained(folder)
    on_gpu = torch.cuda.is_available()
    arguments = TrainingArguments(
        output_dir=tempfile.gettempdir(),
        per_device_train_batch_size=BATCH,
        num_train_epochs=1,
        learning_rate=ModelConfig().learning_rate,
        bf16=on_gpu,
        use_cpu=not on_gpu,
        dataloader_pin_memory=on_gpu,
        report_to="none",
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
    )
    trainer = transformers.Trainer(
        model=build_model(preset, len(vocabulary), SIZE, 0),
        args=arguments,
        train_dataset=[{"input_ids": add_special_tokens(window)} for window in windows],  # type: ignore[arg-type]
        data_collator=DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _job(corpus: Corpus, words: int, preset: str, epochs: int, device: str) -> TrainingJob:
    nothing = np.empty(0, dtype=np.int64)
    settings = {"preset": preset, "epochs": epochs, "device": device}
    config = ModelConfig.model_validate(settings)
    return TrainingJob(corpus, np.arange(len(corpus)), nothing, words, SIZE, config)


def _batches(corpus: Corpus, words: int, draws: EpochSample) -> list[Batch]:
    epochs = EpochBatches(corpus, BATCH, words, torch.device("cpu"))
    return list(epochs.batches(draws, 0, 0, RankSlice()))


def _padding(windows: Windows, vocabulary: Vocabulary) -> str:
    """The share of padding in an epoch as `train_model` makes it."""
    corpus = Corpus.of(windows)
    draws = EpochSample.of(corpus, np.arange(len(corpus)))
    found = _batches(corpus, len(vocabulary), draws)
    padding = sum(int((batch.inputs == PAD).sum()) for batch in found)
    return f"{padding / sum(batch.inputs.numel() for batch in found):.2%}"


def _together(windows: Windows) -> str:
    corpus = Corpus.of(windows)
    draws = len(EpochSample.of(corpus, np.arange(len(corpus))))
    shorter = len(windows) / draws
    return (
        f"{len(windows):,} windows are {draws:,} draws: {shorter:.1f} times fewer, not in the ratio"
    )


def _windows(options: Options) -> tuple[Windows, Vocabulary]:
    """HDFS's training sessions, or without the data the recorded PostgreSQL log's."""
    try:
        path = options.needs("hdfs/deeplog_train.txt")
    except SkippedError:
        return _recorded()
    sessions = [line.split() for line in path.read_text().splitlines()]
    vocabulary = Vocabulary.build(Counter(event for s in sessions for event in s), 2)
    index = vocabulary.index()
    windows: Windows = []
    for session in sessions:
        tokens = (*(index.get(event, UNK) for event in session), END)
        windows += [tokens[i : i + SIZE] for i in range(0, len(tokens), SIZE)]
    return windows, vocabulary


def _recorded() -> tuple[Windows, Vocabulary]:
    root = Path(__file__).parents[3]
    config = read_training_config(root / "configs" / "postgresql.yaml")
    logs = [str(root / path) for path in config.logs]
    with tempfile.TemporaryDirectory() as folder:
        lines = read_lines(logs, time.time())
        line_format, lines = choose_format(config.format, lines, lambda _: None)
        templates = TemplateMiner(config.templates)
        learner = CorpusBuilder(line_format, config.window, templates, None, Path(folder))
        named = config.format.model_copy(update={"name": line_format.name})
        parsing = ParserSpec(named, config.window.key, templates.masks)
        learner.learn(ParallelParser(parsing, workers=0).read(lines))
        lesson = learner.training_data(config.model.min_count)
        corpus = lesson.corpus
        return [tuple(corpus[i].tolist()) for i in range(len(corpus))], lesson.vocabulary


def whole_hdfs(data: Path | None, events: int, device: str) -> dict[str, Any]:
    """10 epochs of `small` on so many events, and what of the GPU's peak was used.

    `together` is as `train_model` does it; `alone` takes each window by itself, repeats too.
    """
    windows, vocabulary = _windows(Options(data))
    corpus = _grown(windows, events)
    where = resolve_device(device)
    job = _job(corpus, len(vocabulary), "small", EPOCHS, device)
    everything = np.arange(len(corpus))
    alone = EpochSample(everything, np.ones(len(corpus), dtype=np.float32))
    found: dict[str, Any] = {"events": int(corpus.lengths.sum()), "device": _name(where)}
    for name, draws in (("together", EpochSample.of(corpus, everything)), ("alone", alone)):
        seconds = _ten_epochs(job, draws, where)
        speed = EPOCHS * _operations(job, draws) / seconds
        peak = next((p for gpu, p in PEAKS.items() if gpu in _name(where)), None)
        share = f"{speed / peak:.2%} of its bfloat16 peak" if peak else "its peak is not known"
        found[name] = {
            "seconds": round(seconds, 1),
            "TFLOP/s": round(speed / 1e12, 3),
            "share": share,
        }
    return found


def _ten_epochs(job: TrainingJob, draws: EpochSample, device: torch.device) -> float:
    model = build_model("small", job.vocabulary_size, SIZE, 0).to(device)
    run, progress = Trainer(model, job, DistributedContext(), draws), TrainingProgress()
    began = time.perf_counter()
    for _ in range(EPOCHS):
        progress = run.epoch(progress, lambda _: None)
    return time.perf_counter() - began


def _grown(windows: Windows, events: int) -> Corpus:
    """Windows drawn from these, repeats too, until there are so many events."""
    rng = np.random.default_rng(0)
    mean = statistics.fmean(map(len, windows))
    return Corpus.of([windows[i] for i in rng.integers(len(windows), size=round(events / mean))])


def _operations(job: TrainingJob, draws: EpochSample) -> float:
    """Floating-point operations of an epoch's matrix products, forwards and back, estimated
    from a thousand batches; what the last layer leaves out is not counted.
    """
    some = np.random.default_rng(0).permutation(len(draws))[: 1000 * BATCH]
    part = EpochSample(draws.windows[some], draws.weights[some])
    counted = sum(
        _of_batch(batch, job.vocabulary_size)
        for batch in _batches(job.corpus, job.vocabulary_size, part)
    )
    return counted * len(draws) / len(some)


def _of_batch(batch: Batch, words: int) -> float:
    width, layers = PRESETS["small"]["hidden_size"], PRESETS["small"]["num_hidden_layers"]
    (rows, length), hidden = batch.inputs.shape, len(batch.places)
    tokens = rows * length
    layer = 2 * tokens * 8 * width**2 + 4 * tokens * length * width
    last = 2 * (tokens * 2 + hidden * 6) * width**2 + 4 * tokens * length * width
    head = 2 * hidden * (width**2 + width * words)
    return 3.0 * ((layers - 1) * layer + last + head)


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gpu", action="store_true", help="the row of 11 million events")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--events", type=int, default=HDFS_EVENTS)
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    if not options.gpu:
        parser.error("tests/bench/speed.py train gives the ratio; --gpu the row of HDFS's size")
    if options.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit(
            "skipped: this machine has no GPU; --device cpu --events 20000 tries it out"
        )
    print(json.dumps(whole_hdfs(options.data, options.events, options.device), indent=2))


if __name__ == "__main__":
    main()
