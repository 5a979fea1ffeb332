"""Lines parsed by several processes: the outcome is that of one."""

from __future__ import annotations

import multiprocessing
import pickle
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from logmlm.config.training import FormatConfig, MultilineConfig, TemplateConfig, WindowConfig
from logmlm.errors import DataError, LogmlmError
from logmlm.parsing import batches as parsing
from logmlm.parsing.batches import ParserSpec, ReparseOnDemand, by_partition, from_wire
from logmlm.parsing.event_parser import EventParser
from logmlm.parsing.formats import attribute, get_format
from logmlm.parsing.keys import KeyExtractor
from logmlm.parsing.parallel import ParallelParser
from logmlm.parsing.shape_parser import to_columns
from logmlm.parsing.template_miner import TemplateMiner
from logmlm.records import LogLine
from logmlm.sources.archive.reader import read_lines
from logmlm.training.corpus_builder import CorpusBuilder

SAMPLES = Path(__file__).parents[2] / "sample_logs"
MASKS = TemplateMiner(TemplateConfig()).masks
CRI = ["2024-05-06T07:00:0{}Z stdout {} part {} of req-{}".format(*a) for a in (
    (0, "P", 1, 7), (0, "P", 2, 7), (1, "F", 3, 7), (2, "F", 1, 8), (3, "P", 1, 9))]  # fmt: skip
BLOCK = MultilineConfig(
    start_pattern="^2024", mode="halt_before", condition_pattern="^2024", timeout_ms=1000
)


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch):
    monkeypatch.setattr(parsing, "BATCH_LINES", 100)


def lines(texts, partition="p"):
    return [LogLine(text, partition, i, i + 1, 1e9, i + 1) for i, text in enumerate(texts)]


def sample(name, count):
    return list(islice(read_lines([str(SAMPLES / name)], 0.0), count))


def crew(line_format, key, workers, small=0):
    return ParallelParser(ParserSpec(line_format, key, MASKS), workers, small)


LOGS = [
    pytest.param("postgresql", None, "pid", lambda: sample("postgresql/normal.log.gz", 700)),
    pytest.param("access", None, "client", lambda: sample("nginx/normal.log.gz", 300)),
    pytest.param("nginx", None, None, lambda: sample("nginx/normal-error.log.gz", 300)),
    pytest.param("redis", None, None, lambda: sample("redis/normal.log.gz", 300)),
    pytest.param("cri", None, r"req-\d+", lambda: lines(CRI * 60)),
    pytest.param("json", None, "host", lambda: lines(['{"msg": "a 1", "host": "h"}', "no"] * 90)),
    pytest.param("plain", BLOCK, None, lambda: lines(["2024 a", " at b", "", "2024 c"] * 70)),
    pytest.param("plain", BLOCK, None, lambda: lines(["2024 a", *[" at b"] * 650, "2024 c"])),
]


@pytest.mark.parametrize(("name", "multiline", "key", "given"), LOGS)
def test_events_parsed_by_processes_are_those_of_reading_line_by_line(name, multiline, key, given):
    line_format = FormatConfig(name=name, multiline=multiline)
    found = [*given(), *lines(["", "2024-05-06T07:00:00Z stdout F b"], "q")]
    templates = TemplateMiner(TemplateConfig())
    plain = EventParser(get_format(line_format), key, templates.learn, multiline)
    expected = plain.feed(found) + plain.flush()
    assert seen(expected, plain) == seen(*read(line_format, multiline, key, found, templates, 2))


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_years_are_guessed_in_the_order_of_lines_whoever_parses_them(workers):
    """A log of 1 to 20 September, by a file's time of the 9th."""
    texts = [f"Sep {1 + i // 20:2} {i % 20:02}:00:00 host app: did {i}" for i in range(400)]
    found, templates = lines(texts), TemplateMiner(TemplateConfig())
    events, _ = read(FormatConfig(name="syslog"), None, None, found, templates, workers)
    times = [event.timestamp for event in events]
    assert times == sorted(times)
    assert times[-1] - times[0] == (19 * 24 + 19) * 3600


def read(line_format, multiline, key, found, templates, workers):
    form = get_format(line_format)
    reader = EventParser(form, key, templates.match, multiline, finished=True)
    parsed = crew(line_format, key, workers, small=100).read(found)
    return [event for batch, fields in parsed for event in reader.feed_batch(batch, fields)], reader


def seen(events, reader):
    """All that can be seen of events; `learn` names templates as `match` does at the end."""
    each = [
        (
            *(e.line, e.timestamp, e.key, e.template_id != "", dict(e.fields.attributes)),
            *(e.fields.timestamp, e.fields.level, e.fields.message, e.fields.label),
        )
        for e in events
    ]
    return sorted(each, key=lambda one: (one[0].partition, one[0].start)), reader.discarded


def test_what_is_learned_is_the_same_to_the_byte_however_many_help(tmp_path):
    found = [*sample("postgresql/normal.log.gz", 900), *sample("postgresql/later.log.gz", 250)]
    assert len({learned(tmp_path / str(n), found, n) for n in range(4)}) == 1


def learned(place, found, workers):
    place.mkdir()
    templates = TemplateMiner(TemplateConfig())
    line_format = FormatConfig(name="postgresql")
    window = WindowConfig(kind="session", key=r"\[(\d+)\]", gap="5s")
    learner = CorpusBuilder(get_format(line_format), window, templates, None, place)
    learner.learn(crew(line_format, window.key, workers, small=500).read(found))
    lesson = learner.training_data(1)
    templates.save(place / "templates.json")
    written = tuple((place / name).read_bytes() for name in ("templates.json", "messages.i32"))
    corpus = lesson.corpus.digest(), tuple(lesson.vocabulary.words), lesson.lines
    return written, corpus, tuple(sorted(lesson.discarded.items())), lesson.first_event


@pytest.mark.parametrize("workers", [0, 1])
def test_patterns_that_were_given_up_are_counted_whoever_parsed(workers):
    slow = r"(?:a|aa)+\$"
    joined = MultilineConfig(
        start_pattern=r"(?:b|bb)+\$", condition_pattern="^y", mode="continue_through"
    )
    config = FormatConfig(name="iso8601", multiline=joined)
    texts = [f"2026-11-21T10:00:00Z INFO x {run}!" for run in ("a" * 50, "a" * 60, "b" * 50)]
    lines = [LogLine(text, "p", place, place + 1, 0.0) for place, text in enumerate(texts)]
    parsed = list(ParallelParser(ParserSpec(config, slow, ()), workers, small=0).read(lines))
    assert sum(found.overruns for _, found in parsed) == 2
    assert sum(batch.overruns for batch, _ in parsed) == 1


@pytest.mark.parametrize(("name", "multiline", "key", "given"), LOGS)
def test_what_a_process_sends_is_all_that_parsing_finds(name, multiline, key, given):
    how = ParserSpec(FormatConfig(name=name, multiline=multiline), key, MASKS)
    line_format, templates, key_of = (
        get_format(how.format),
        TemplateMiner(TemplateConfig()),
        KeyExtractor(key),
    )
    again = ReparseOnDemand(line_format)
    given = given()
    packed = how.packer()(*to_columns(given))
    sent = from_wire(pickle.loads(pickle.dumps(packed)), again)  # noqa: S301  our own
    for place, line in enumerate(given):
        found, expected = sent.at(place, line), line_format.parse(line.text, line.received_at)
        assert (found is None) == (expected is None)
        if found is not None:
            assert found.fields == expected
            assert found.timestamp == expected.timestamp
            assert found.partial == expected.partial
        if found is not None and not found.partial:
            assert found.masked == templates.mask(expected.message)
            assert found.key == key_of(expected, attribute)


def test_a_small_input_needs_no_process_and_nothing_is_left_of_those_that_were_started():
    plain = FormatConfig(name="plain")
    batches = list(by_partition(lines("ab" * 500)))
    few = crew(plain, None, workers=2, small=1000).parse(batches)
    assert [batch for batch, _ in few if multiprocessing.active_children()] == []
    many = crew(plain, None, workers=2).parse(batches)
    next(many)
    assert len(multiprocessing.active_children()) == 2
    many.close()
    assert multiprocessing.active_children() == []


def test_an_error_of_the_source_comes_after_all_that_was_read_before_it():
    def broken():
        yield from by_partition(lines("ab" * 200))
        raise DataError("damaged")

    given = []

    def work():
        for batch, found in crew(FormatConfig(name="plain"), None, workers=2).parse(broken()):
            rows = zip(batch.lines, found.deferred, strict=True)
            given.extend((line.text, rest.message(line)) for line, rest in rows)

    with pytest.raises(DataError, match="damaged"):
        work()
    assert given == [(text, text) for text in "ab" * 200]


def test_a_process_that_dies_is_said():
    parsed = crew(FormatConfig(name="plain"), None, workers=1).parse(by_partition(lines("a" * 900)))
    next(parsed)
    for child in multiprocessing.active_children():
        child.kill()
    with pytest.raises(LogmlmError, match=r"a process that parses lines died \(exit code -9\)"):
        list(parsed)
    assert multiprocessing.active_children() == []


def test_processes_that_parse_import_nothing_heavy():
    heavy = "'torch' in sys.modules or 'numpy' in sys.modules"
    code = f"import sys, logmlm.parsing.parallel; sys.exit({heavy})"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_batch_is_of_one_partition_and_says_where_it_ends():
    found = list(by_partition([*lines("a" * 150), *lines("b", "q")]))
    assert [(len(batch.lines), batch.last) for batch in found] == [
        (100, False),
        (50, True),
        (1, True),
    ]
    assert list(by_partition([])) == []


def test_long_lines_make_small_batches(monkeypatch):
    monkeypatch.setattr(parsing, "BATCH_CHARS", 10)
    monkeypatch.setattr(parsing, "PIECE_LINES", 1)
    found = by_partition(lines(["12345678", "90", "a" * 50, "b"]))
    assert [len(batch.lines) for batch in found] == [2, 1, 1]
