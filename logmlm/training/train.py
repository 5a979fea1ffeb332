"""`logmlm train` as a function: normal logs in, a model directory out.

torch takes seconds to import, so it is imported only once the logs have turned out to be enough.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from logmlm import __version__
from logmlm.config.training import HOST_SKEW_S, FormatConfig, TrainingConfig, WindowConfig
from logmlm.detection.manifest import FILE_NAME, VERSION, DataSummary, Manifest, digest_files
from logmlm.detection.model_dir import (
    TrainingWindows,
    replacing,
    require_replaceable,
    sample,
    save_calibration,
    save_novelty,
)
from logmlm.detection.novelty import NoveltyRule, fit_novelty
from logmlm.errors import DataError, FormatError, StorageError
from logmlm.evaluation.labels import Labels
from logmlm.mlm.corpus import MIN_WINDOWS
from logmlm.parsing.batches import LineBatch, ParserSpec
from logmlm.parsing.event_parser import NO_LINES
from logmlm.parsing.formats import LineFormat, attribute, detect_format, get_format, join_all
from logmlm.parsing.parallel import ParallelParser
from logmlm.parsing.parsed import ParsedBatch
from logmlm.parsing.pattern_advice import slow_patterns
from logmlm.parsing.template_miner import TemplateMiner
from logmlm.records import BlankLines, LogLine
from logmlm.sources.archive.reader import verify_archives
from logmlm.system.atomic_files import PRIVATE, PRIVATE_DIRECTORY, private_opener, recover_directory
from logmlm.system.device_names import reject_unknown_device
from logmlm.system.processes import gc_frozen
from logmlm.training.corpus_builder import CorpusBuilder, TrainingData
from logmlm.training.diagnostics import explain_too_few_windows, find_problems, is_foreign
from logmlm.training.window_proposal import PROPOSAL_LINES, propose_window

if TYPE_CHECKING:
    from logmlm.mlm.trainer import EpochReport
    from logmlm.training.fit import FitCallback, FitResult, FitTask

DETECTION_LINES = 1_000
RULE_WINDOWS = 50_000
LOG_FILE = "training.jsonl"

NO_SCREEN = "none that pays; all windows are scored exactly"

Say = Callable[[str], None]
Parse = Callable[[Iterable[LogLine], ParserSpec], Iterator[tuple[LineBatch, ParsedBatch]]]
"""Gives all lines in order, with what was found in them; it may read them again, elsewhere."""


@dataclass(frozen=True, slots=True)
class Reporter:
    """How a training talks: `say` gets sentences, `report` each epoch."""

    say: Say
    report: FitCallback


def parse_locally(
    lines: Iterable[LogLine], parsing: ParserSpec
) -> Iterator[tuple[LineBatch, ParsedBatch]]:
    """Parse lines here and, where they are many, in processes of this machine."""
    return ParallelParser(parsing).read(lines)


def train(
    config: TrainingConfig,
    lines: Iterable[LogLine],
    session: Reporter,
    parse: Parse = parse_locally,
) -> Manifest:
    """Learn from `lines` (those of `config.logs`) and write the model directory `config.out`.

    Until it is finished, the state is kept beside it in `OUT.training`; a killed training that
    is started again with the same logs and settings goes on there. The old model directory
    stays until the new one is whole.

    Raises:
        DataError: no format fits, labels match nothing, or there are too few windows.
        ConfigError: the format or the masks can't be used.
        StorageError: the place can't be written, or holds something else than a model.
        UsageError: this machine has no such device.

    """
    config = config.model_copy(update={"out": config.out.resolve()})
    recover_directory(config.out)
    require_replaceable(config.out, (FILE_NAME,))
    # What can't work is found before hours of reading, not after.
    check_device(config.model.device)
    labels = read_labels(config.labels)
    for note in slow_patterns(config):
        session.say(note)
    templates = TemplateMiner(config.templates, redactor=config.redact.redactor())
    line_format, lines = choose_format(config.format, lines, session.say)
    window, lines = choose_windows(config, line_format, lines, session.say)
    window, lines = choose_skew(window, line_format, lines, session.say)
    config = config.model_copy(update={"window": window})
    with _work_directory(config.out) as work:
        learner = CorpusBuilder(line_format, config.window, templates, labels, work)
        learner.join_partitions(config.logs)
        named = config.format.named(line_format.name)
        parsed = parse(lines, ParserSpec(named, config.window.key, templates.masks))
        lesson = build_corpus(config, learner, parsed, named.name)
        _say_learned(lesson, find_problems(lesson, config.window, named.name), session.say)
        config, lesson, fitted, log = _fitted(config, lesson, work, session)
        novelty = _novelty(lesson, fitted, session.say)
        with replacing(config.out) as directory:
            _copy_log(log, directory / LOG_FILE)
            manifest = _save(directory, config, line_format, lesson, fitted, novelty)
    shutil.rmtree(work, ignore_errors=True)
    return manifest


def _fitted(
    config: TrainingConfig, lesson: TrainingData, work: Path, session: Reporter
) -> tuple[TrainingConfig, TrainingData, FitResult, Path]:
    """Sift and fit; return how and from what was learned, the fit, and the log of its epochs."""
    from logmlm.training.budget import with_budget
    from logmlm.training.contamination import remove_contamination
    from logmlm.training.fit import fit, with_positions

    task = with_positions(_task(config, lesson))
    # Logged too, so that what was sifted stays when it is stopped.
    report = _logged(work / f"{task.identity()}.jsonl", session.report)
    task = remove_contamination(task, work, report, session.say)
    task = with_budget(task, work, session.say)
    planned = {"epochs": task.model.epochs, "budget": task.model.budget}
    config = config.model_copy(update={"model": config.model.model_copy(update=planned)})
    lesson, log = replace(lesson, corpus=task.corpus), work / f"{task.identity()}.jsonl"
    fitted = fit(task, work, _logged(log, session.report))
    _say_fitted(fitted, session.say)
    return config, lesson, fitted, log


def check_device(name: str) -> None:
    """Check that this machine has the device; torch is not imported for those that always exist.

    Raises:
        UsageError: it does not.

    """
    reject_unknown_device(name)
    if name not in ("auto", "cpu"):
        from logmlm.mlm.model import resolve_device

        resolve_device(name)


def choose_windows(
    config: TrainingConfig, line_format: LineFormat, lines: Iterable[LogLine], say: Say
) -> tuple[WindowConfig, Iterator[LogLine]]:
    """The windows asked for, or those that fit the first lines, if `auto`; and all lines."""
    if config.window.kind != "auto":
        return config.window, iter(lines)
    first, rest = first_lines(lines, PROPOSAL_LINES)
    found = propose_window(config, line_format, first)
    say(found.reason)
    return found.window, chain(first, rest)


def choose_skew(
    window: WindowConfig, line_format: LineFormat, lines: Iterable[LogLine], say: Say
) -> tuple[WindowConfig, Iterator[LogLine]]:
    """The window with the `host_skew` that the first lines ask for, if it is `auto`; and all lines.

    It costs time, so that it is only for logs that several hosts write.
    """
    rest = iter(lines)
    if window.host_skew != "auto":
        return window, rest
    first, rest = first_lines(rest, DETECTION_LINES)
    hosts: set[str | None] = set()
    for line in first:
        fields = line_format.parse(line.text, line.received_at)
        named = fields and (attribute(fields, "host") or line.attributes.get("host.name"))
        hosts.add(named or line.attributes.get("host"))
    is_mixed = len(hosts - {None, ""}) > 1
    if is_mixed:
        say(f"several hosts: their clocks may differ by {HOST_SKEW_S:g} s (window.host_skew)")
    skew = HOST_SKEW_S if is_mixed else 0.0
    return window.model_copy(update={"host_skew": skew}), chain(first, rest)


def first_lines(lines: Iterable[LogLine], most: int) -> tuple[list[LogLine], Iterator[LogLine]]:
    """Return the first lines, `most` of them, each by itself; and those that follow."""
    first: list[LogLine] = []
    rest = iter(lines)
    while len(first) < most and (line := next(rest, None)) is not None:
        if isinstance(line, BlankLines):
            taken = min(line.lines, most - len(first))
            first += line.part(0, taken).each()
            if taken < line.lines:
                rest = chain([line.part(taken, line.lines)], rest)
        else:
            first.append(line)
    return first, rest


def choose_format(
    config: FormatConfig, lines: Iterable[LogLine], say: Say
) -> tuple[LineFormat, Iterator[LogLine]]:
    """The line format asked for, or the one that the first lines show; and all lines again.

    Raises:
        FormatError: no format fits well.
        DataError: there are no lines but blank ones, or no format fits and an archive among the
            logs is damaged.

    """
    first, rest = first_lines(lines, DETECTION_LINES)
    if not first:
        raise DataError(NO_LINES)
    if config.name != "auto":
        return get_format(config), chain(first, rest)
    try:
        found = detect_format([line.text for line in join_all(first, config.multiline)], config)
    except FormatError:
        verify_archives({line.partition for line in first})
        if not any(line.text.strip() for line in chain(first, rest)):
            raise DataError(NO_LINES) from None
        raise
    say(f"format: {found.format.name} (matches {found.share:.1%} of the first {found.lines} lines)")
    return found.format, chain(first, rest)


def build_corpus(
    config: TrainingConfig,
    learner: CorpusBuilder,
    parsed: Iterable[tuple[LineBatch, ParsedBatch]],
    line_format: str,
) -> TrainingData:
    """What the learner makes of all lines.

    Raises:
        DataError: there are too few windows to train on, or no line is of the line format.

    """
    with gc_frozen():
        learner.learn(parsed)
    lesson = learner.training_data(config.model.min_count)
    if len(lesson.corpus) < MIN_WINDOWS or is_foreign(lesson):
        raise DataError(explain_too_few_windows(lesson, config.window, line_format))
    return lesson


def read_labels(path: Path | None) -> Labels | None:
    """Labels from a CSV, or from the log's own label column where the path is `in-line`.

    Raises:
        DataError: the CSV holds no usable labels.
        StorageError: it can't be read.

    """
    if path is None:
        return None
    return Labels.in_line() if str(path) == "in-line" else Labels.read(path)


def _task(config: TrainingConfig, lesson: TrainingData) -> FitTask:
    from logmlm.training.fit import FitTask

    return FitTask(
        corpus=lesson.corpus,
        vocabulary_size=len(lesson.vocabulary),
        window_size=config.window.size,
        windows_per_day=lesson.windows_per_day,
        model=config.model,
        threshold=config.threshold,
        in_order=True,
        cuts=lesson.cuts,
        has_beginnings=config.window.kind == "session",
    )


def _save(
    directory: Path,
    config: TrainingConfig,
    line_format: LineFormat,
    lesson: TrainingData,
    fitted: FitResult,
    novelty: NoveltyRule,
) -> Manifest:
    from logmlm.mlm.pretrained import save_model

    save_model(fitted.model, lesson.vocabulary, directory)
    lesson.templates.save(directory / "templates.json")
    save_calibration(fitted.calibration, fitted.screen, directory, fitted.parts)
    save_novelty(novelty, directory)
    fitted.known.save(directory)
    _rule_windows(lesson, fitted, config.model.seed).save(directory)
    manifest = Manifest(
        version=VERSION,
        logmlm=__version__,
        name=config.name or config.out.resolve().name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        format=config.format.named(line_format.name),
        window=config.window,
        model=config.model,
        threshold=config.threshold,
        data=_summary(config, lesson),
        metrics=fitted.metrics | _level(fitted),
        files=digest_files(directory),
    )
    manifest.write(directory)
    return manifest


def _level(fitted: FitResult) -> dict[str, float]:
    """The share of normal windows that was asked to alarm, and the one that the model works at."""
    promise = fitted.calibration.promise
    asked = promise.rate if promise.asked_rate is None else promise.asked_rate
    return {"asked_false_alarm_rate": asked, "false_alarm_rate": promise.rate}


def _novelty(lesson: TrainingData, fitted: FitResult, say: Say) -> NoveltyRule:
    """Calibrate how new templates are judged, and say how often they came."""
    rule = fit_novelty(
        lesson.first_windows,
        len(lesson.corpus),
        {template.id: template.text for template in lesson.templates},
        lesson.error_templates,
        fitted.calibration.promise.rate,
    )
    say(rule.summary(lesson.windows_per_day))
    return rule


def _summary(config: TrainingConfig, lesson: TrainingData) -> DataSummary:
    return DataSummary(
        files=config.logs,
        lines=lesson.lines,
        discarded=dict(lesson.discarded),
        windows=len(lesson.corpus),
        labelled_windows_left_out=lesson.left_out,
        first_event=lesson.first_event,
        last_event=lesson.last_event,
        digest=lesson.corpus.digest(),
    )


def _rule_windows(lesson: TrainingData, fitted: FitResult, seed: int) -> TrainingWindows:
    chosen = sample(len(lesson.corpus), RULE_WINDOWS, seed)
    words = lesson.vocabulary.words
    return TrainingWindows(
        tuple(tuple(words[token] for token in lesson.corpus[i]) for i in chosen),
        tuple(fitted.folds[chosen].tolist()),
    )


def _say_learned(lesson: TrainingData, doubts: Iterable[str], say: Say) -> None:
    for problem in doubts:
        say(f"warning: {problem}")
    lines = f"learned {len(lesson.templates)} templates from {lesson.lines:,} lines"
    windows = f"{len(lesson.corpus):,} windows"
    left_out = f", {lesson.left_out} labelled windows left out" if lesson.left_out else ""
    discarded = sum(lesson.discarded.values())
    skipped = f", {discarded:,} lines discarded" if discarded else ""
    say(f"{lines}: {windows}{left_out}{skipped}")


def _say_fitted(fitted: FitResult, say: Say) -> None:
    for warning in fitted.warnings():
        say(f"warning: {warning}")
    say(f"to expect while logs stay like these: {fitted.calibration.promise.expected()}")
    say(f"screen: {fitted.screen.measured if fitted.screen else NO_SCREEN}")


@contextmanager
def _work_directory(out: Path) -> Iterator[Path]:
    """A directory to train in; it stays after an error if a training can go on there."""
    work = out.with_name(f"{out.name}.training")
    is_new = not work.exists()
    try:
        work.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"can't write to {out.parent}: {error.strerror}") from error
    try:
        yield work
    except (DataError, KeyboardInterrupt):
        has_epochs = any(log.stat().st_size for log in work.glob("*.jsonl"))
        if is_new and not has_epochs:
            shutil.rmtree(work, ignore_errors=True)
        raise


def _logged(path: Path, report: FitCallback) -> FitCallback:
    """Report each epoch, and add it to the JSON-lines log of this training alone."""

    def both(name: str, epoch: EpochReport) -> None:
        with open(path, "a", encoding="utf-8", opener=private_opener) as file:
            file.write(json.dumps({"training": name} | epoch.as_dict()) + "\n")
        report(name, epoch)

    path.touch(PRIVATE)
    return both


def _copy_log(path: Path, target: Path) -> None:
    """An epoch that a killed training lost and did again stands in its log twice: once is kept."""
    epochs = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        epoch = json.loads(line)
        epochs[epoch["training"], epoch["epoch"]] = line + "\n"
    target.write_text("".join(epochs.values()), encoding="utf-8")
