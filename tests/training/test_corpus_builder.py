"""One pass over normal logs: what training sees is what serving will see."""

import pytest
from offline_parts import BEGIN, KEY, service_log

from logmlm.config.training import FormatConfig, TemplateConfig, WindowConfig
from logmlm.detection.windows import Windower
from logmlm.errors import DataError, StorageError
from logmlm.evaluation.labels import Interval, Labels
from logmlm.mlm.tokenizer import END, UNK
from logmlm.parsing import batches as parsing
from logmlm.parsing.batches import ParserSpec
from logmlm.parsing.event_parser import EventParser
from logmlm.parsing.formats import get_format
from logmlm.parsing.parallel import ParallelParser
from logmlm.parsing.template_miner import TemplateMiner
from logmlm.records import LogLine
from logmlm.training import corpus_builder as learning
from logmlm.training.corpus_builder import CorpusBuilder

ISO = get_format(FormatConfig(name="iso8601"))
SESSIONS = WindowConfig(kind="session", key=KEY, gap="30s")


def lines(texts, partition="a.log"):
    position = 0
    for number, text in enumerate(texts, start=1):
        yield LogLine(text, partition, position, position + len(text) + 1, 0.0, number)
        position += len(text) + 1


def lesson_of(texts, place, *, window=SESSIONS, labels=None, min_count=1, **settings):
    templates = TemplateMiner(TemplateConfig(**settings))
    learner = CorpusBuilder(ISO, window, templates, labels, place)
    learner.learn(crew(window, templates).read(texts))
    return learner.training_data(min_count)


def crew(window, templates, workers=0, small=0):
    return ParallelParser(
        ParserSpec(FormatConfig(name="iso8601"), window.key, templates.masks), workers, small
    )


def served(lesson, texts, window=SESSIONS):
    """Token ids of the windows that serving makes with what was learned."""
    index = lesson.vocabulary.index()
    reader, windower = EventParser(ISO, window.key, lesson.templates.match), Windower(window)
    windows = []
    for line in texts:
        windows += windower.add(reader.feed([line]))
    windows += windower.add(reader.flush()) + windower.close_all()
    return [
        [*(index.get(e.template_id, UNK) for e in w.events), *[END][: w.complete]] for w in windows
    ]


def corpus_of(lesson):
    return [lesson.corpus[i].tolist() for i in range(len(lesson.corpus))]


def stamped(*messages):
    return [f"2024-05-06T07:00:{i:02d}Z INFO {message}" for i, message in enumerate(messages)]


@pytest.mark.parametrize(
    "window",
    [
        SESSIONS,
        WindowConfig(kind="session", key=KEY, gap="2s", size=3),
        WindowConfig(kind="count", size=7),
        WindowConfig(kind="time", span="5s"),
    ],
)
def test_windows_of_training_are_those_of_serving(tmp_path, window):
    texts = service_log(60)
    lesson = lesson_of(lines(texts), tmp_path, window=window)
    assert sorted(corpus_of(lesson)) == sorted(served(lesson, lines(texts), window))
    assert lesson.lines == len(texts)
    assert not lesson.discarded


def test_a_line_that_was_learned_before_its_template_widened_has_the_widened_ones_id(tmp_path):
    messages = ["volume alpha is mounted", "volume beta is mounted", "volume gamma is mounted"] * 3
    lesson = lesson_of(
        lines(stamped(*messages)), tmp_path, window=WindowConfig(size=9), similarity=0.5
    )
    assert len(lesson.templates) == 1
    (window,) = corpus_of(lesson)
    assert len(set(window)) == 1
    assert lesson.vocabulary.words[window[0]] == lesson.templates.match(messages[0])


def test_rare_templates_are_the_unknown_word_and_counted_in_the_kept_windows_alone(tmp_path):
    texts = stamped("req-1 started", "req-1 exploded", "req-2 started", "req-2 finished well")
    lesson = lesson_of(lines(texts), tmp_path, min_count=2)
    started = lesson.templates.match("req-3 started")
    assert lesson.vocabulary.words[7:] == (started,)
    assert corpus_of(lesson) == [[7, UNK, END], [7, UNK, END]]


def test_windows_are_in_order_of_their_end_and_know_their_days(tmp_path):
    lesson = lesson_of(lines(service_log(60)), tmp_path)
    assert lesson.first_event >= BEGIN.timestamp()
    days = (lesson.last_event - lesson.first_event) / 86_400
    assert lesson.windows_per_day == pytest.approx(60 / days)
    interleaved = [
        "2024-05-06T07:00:00Z INFO req-1 started",
        "2024-05-06T07:00:01Z INFO req-2 started",
        "2024-05-06T07:00:02Z INFO req-2 has finished",
        "2024-05-06T07:00:03Z INFO req-1 has finished well",
    ]
    found = corpus_of(lesson_of(lines(interleaved), tmp_path))
    assert [len(window) for window in found] == [3, 3]
    word = lesson_of(lines(interleaved), tmp_path).vocabulary.words[found[0][1]]
    assert word == lesson_of(lines(interleaved), tmp_path).templates.match("req-9 has finished")


def test_each_file_is_a_log_of_its_own(tmp_path, monkeypatch):
    texts = stamped("req-1 started", "req-1 finished well")
    both = [*lines(texts, "a.log"), *lines(texts, "b.log")]
    assert len(corpus_of(lesson_of(both, tmp_path))) == 2
    monkeypatch.setattr(parsing, "BATCH_LINES", 8)
    long = service_log(30)
    lesson = lesson_of([*lines(long, "a.log"), *lines(texts, "b.log")], tmp_path)
    assert sorted(corpus_of(lesson)) == sorted(
        served(lesson, lines(long)) + served(lesson, lines(texts))
    )


def test_labelled_windows_are_left_out_but_their_templates_are_known(tmp_path):
    texts = stamped("req-1 started", "req-2 started", "req-2 exploded badly", "req-1 finished")
    labels = Labels("labels.csv", keys={"req-1": False, "req-2": True})
    lesson = lesson_of(lines(texts), tmp_path, labels=labels)
    assert (lesson.left_out, len(lesson.corpus)) == (1, 1)
    assert lesson.templates.match("req-7 exploded badly") != ""
    assert lesson.templates.match("req-7 exploded badly") not in lesson.vocabulary.words


def test_labels_that_match_nothing_are_an_error_even_where_none_is_anomalous(tmp_path):
    texts = stamped("req-1 started", "req-1 finished well")
    with pytest.raises(DataError, match=r"none of the 1 keys of labels.csv .* is a window's"):
        lesson_of(lines(texts), tmp_path, labels=Labels("labels.csv", keys={"req-x": True}))
    past = Labels("labels.csv", intervals=(Interval(0.0, 1.0, "old"),))
    with pytest.raises(DataError, match=r"none of the 1 intervals .* overlaps a window"):
        lesson_of(lines(texts), tmp_path, labels=past)
    good = Labels("labels.csv", keys={"req-1": False})
    assert len(lesson_of(lines(texts), tmp_path, labels=good).corpus) == 1


def test_a_label_counts_wherever_in_the_logs_its_window_is(tmp_path, monkeypatch):
    monkeypatch.setattr(learning, "SHOWN_WINDOWS", 2)
    texts = stamped(*(f"req-{number} started" for number in range(9)))
    late = Labels("labels.csv", keys={"req-8": False})
    assert len(lesson_of(lines(texts), tmp_path, labels=late).corpus) == 9
    past = Labels("labels.csv", intervals=(Interval(0.0, 1.0, "old"),))
    with pytest.raises(DataError, match=r"logs \(2024\S+ 07:00:00\+00:00 to 2024\S+ 07:00:08"):
        lesson_of(lines(texts), tmp_path, labels=past)


def test_past_so_many_distinct_messages_what_was_learned_at_the_line_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(learning, "DISTINCT_MESSAGES", 2)
    texts = service_log(40)
    lesson = lesson_of(lines(texts), tmp_path)
    assert sorted(corpus_of(lesson)) == sorted(served(lesson, lines(texts)))


def test_lines_refused_by_a_full_set_of_templates_are_unknown_words(tmp_path, monkeypatch):
    for limit in (1, 1_000):
        monkeypatch.setattr(learning, "DISTINCT_MESSAGES", limit)
        texts = stamped("req-1 started", "something else entirely now", "req-1 started")
        lesson = lesson_of(
            lines(texts), tmp_path, window=WindowConfig(size=3), max_templates=1, min_count=1
        )
        assert corpus_of(lesson) == [[7, UNK, 7]]


def test_no_windows_make_an_empty_lesson(tmp_path):
    templates = TemplateMiner(TemplateConfig())
    learner = CorpusBuilder(ISO, SESSIONS, templates, None, tmp_path)
    learner.learn([])
    lesson = learner.training_data(1)
    assert (len(lesson.corpus), lesson.lines, len(lesson.templates)) == (0, 0, 0)


def test_a_place_that_can_not_be_written_is_said(tmp_path):
    with pytest.raises(StorageError, match=r"can't write .*messages\.i32: No such file"):
        lesson_of(lines(stamped("a")), tmp_path / "nowhere")


def test_the_first_window_of_each_template_is_told_in_order_of_time(tmp_path):
    window = WindowConfig(kind="count", size=2)
    texts = stamped("a starts", "b runs", "a starts", "ERROR c failed", "d is done", "b runs")
    lesson = lesson_of(
        lines([text.replace("INFO ERROR", "ERROR") for text in texts]), tmp_path, window=window
    )
    name_of = {template.text: template.id for template in lesson.templates}
    first = {text: lesson.first_windows[name] for text, name in name_of.items()}
    assert first == {"a starts": 0, "b runs": 0, "c failed": 1, "d is done": 2}
    assert lesson.error_templates == {name_of["c failed"]}
