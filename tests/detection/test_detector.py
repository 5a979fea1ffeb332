"""A model directory, opened: windows as in training, exact scores, explanations."""

import json
import math
import shutil
from dataclasses import replace

import numpy as np
import offline_parts
import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

from logmlm.detection.calibration import window_statistics
from logmlm.detection.detector import UNKNOWN_TEXT, Detector
from logmlm.detection.manifest import Manifest, digest_files
from logmlm.detection.windows import is_audited, window_id
from logmlm.errors import DataError, FormatError, ModelError, UsageError
from logmlm.mlm.corpus import Corpus
from logmlm.mlm.tokenizer import END, UNK
from logmlm.sources.archive.reader import read_lines


@pytest.fixture(scope="module")
def detector(trained):
    return Detector.load(trained.model, exact=True)


@pytest.fixture(scope="module")
def scores(detector, windows):
    return detector.score(windows)


def words_of(detector, window):
    words = [detector.token_of(event.template_id) for event in window.events]
    return [*words, "[END]"] if window.complete else words


def test_windows_of_the_log_that_was_learned_are_the_ones_that_were_learned(detector, trained):
    found = list(detector.windows(read_lines([str(trained.log)], 0.0)))
    found.sort(key=lambda window: window.end)
    index = detector.vocabulary.index()
    tokens = [
        [*(index.get(e.template_id, UNK) for e in window.events), *[END][: window.complete]]
        for window in found
    ]
    assert Corpus.of(tokens).digest() == detector.manifest.data.digest
    assert len(found) == detector.manifest.data.windows
    assert detector.unknown_share(found) == 0.0


def test_windows_of_two_files_are_those_of_each(detector, trained, windows):
    paths = [str(trained.odd_log), str(trained.log)]
    together = list(detector.windows(read_lines(paths, 0.0)))
    alone = list(detector.windows(read_lines(paths[1:], 0.0)))
    assert together == windows + alone


def test_logs_without_lines_are_refused_and_no_windows_have_no_scores(detector):
    with pytest.raises(DataError, match="the logs hold no lines"):
        list(detector.windows([]))
    assert detector.score([]) == []


def test_surprisals_are_those_of_the_model_with_one_event_hidden_at_a_time(
    detector, trained, scores
):
    tokenizer = AutoTokenizer.from_pretrained(trained.model)
    model = AutoModelForMaskedLM.from_pretrained(trained.model).eval()
    for score in scores[:6]:
        words = words_of(detector, score.window)
        for place, word in enumerate(words):
            hidden = [*words[:place], "[MASK]", *words[place + 1 :]]
            batch = tokenizer(" ".join(hidden), return_tensors="pt")
            with torch.no_grad():
                logits = model(**batch).logits[0, place + 1].double()
            truth = tokenizer.convert_tokens_to_ids(word)
            expected = float(torch.logsumexp(logits, 0) - logits[truth])
            assert score.surprisals[place] == pytest.approx(expected, abs=1e-4)
        assert score.pll == pytest.approx(-sum(score.surprisals))


def test_a_score_depends_on_its_window_alone(detector, windows, scores):
    assert detector.score(windows) == scores
    backwards = detector.score(windows[::-1])[::-1]
    for one, other in zip(scores, backwards, strict=True):
        assert one.window == other.window
        assert one.surprisals == pytest.approx(other.surprisals, abs=1e-5)
        assert one.value == pytest.approx(other.value, abs=1e-4)
    assert [detector.score([window])[0].window for window in windows[:3]] == windows[:3]


def test_values_are_those_of_the_calibration(detector, scores):
    found = np.array([window_statistics(s.surprisals, s.bag_surprisals) for s in scores])
    values, p_values = detector.calibration.values(found)
    assert [s.value for s in scores] == pytest.approx(values.tolist())
    assert [s.p_value for s in scores] == pytest.approx(p_values.tolist())


def test_the_odd_sessions_alarm_and_the_others_do_not(scores):
    odd = {f"req-{5000 + i}" for i in offline_parts.ODD_SESSIONS}
    assert {s.window.key for s in scores if s.is_anomaly} == odd


def test_an_explanation_marks_the_odd_lines_and_names_what_was_expected(detector, scores):
    (score, _) = [s for s in scores if s.is_anomaly]
    found = detector.explain(score)
    assert [e.index for e in found] == list(range(len(score.surprisals)))
    assert [e.surprisal for e in found] == list(score.surprisals)
    odd = [score.window.events[e.index].line.text for e in found if e.odd]
    assert any("disk failure" in text or "replica lost" in text for text in odd)
    texts = {template.text for template in detector.templates}
    for expectation in found:
        shares = [share for _, share in expectation.expected]
        assert len(shares) == 3
        assert shares == sorted(shares, reverse=True)
        assert all(0 < share <= 1 for share in shares)
        named = {text for text, _ in expectation.expected}
        assert named <= texts | {"(end of window)", UNKNOWN_TEXT}


def test_the_most_expected_template_is_the_one_with_the_least_surprisal(detector, scores):
    score = next(s for s in scores if not s.is_anomaly)
    for expectation, surprisal in zip(detector.explain(score), score.surprisals, strict=True):
        assert -math.log(expectation.expected[0][1]) <= surprisal + 1e-4


def test_in_an_ordinary_window_the_oddest_line_is_marked(detector, scores):
    ordinary = next(s for s in scores if s.value < 0.5)
    assert sum(e.odd for e in detector.explain(ordinary)) >= 1


def test_quality_is_the_mean_over_all_events(detector, windows, scores):
    quality = detector.quality(windows)
    surprisals = np.concatenate([s.surprisals for s in scores])
    assert quality.perplexity == pytest.approx(math.exp(surprisals.mean()), rel=1e-4)
    tops = [detector.explain(s)[i].expected[0][0] for s in scores for i in range(len(s.surprisals))]
    truths = [
        text
        for s in scores
        for text in [
            *(detector.template_text(e.template_id) for e in s.window.events),
            *["(end of window)"][: s.window.complete],
        ]
    ]
    guessed = np.mean([top == truth for top, truth in zip(tops, truths, strict=True)])
    assert quality.masked_accuracy == pytest.approx(guessed, abs=0.02)


def test_a_line_never_seen_is_the_unknown_word(detector, windows):
    events = [e for w in windows for e in w.events]
    unknown = [e for e in events if e.template_id == ""]
    assert {e.fields.message.rstrip("0123456789") for e in unknown} == {
        "disk failure while allocating for req-",
        "replica lost for req-",
    }
    assert detector.token_of("") == "[UNK]"
    assert detector.template_text("") == UNKNOWN_TEXT
    assert detector.unknown_share(windows) == pytest.approx(len(unknown) / len(events))


def test_a_windows_id_is_the_alerts(detector, scores):
    assert detector.window_id(scores[0].window) == window_id(detector.digest, scores[0].window)
    assert detector.digest == detector.manifest.digest


def test_stride_hides_several_events_at_once(trained, windows, scores):
    strided = Detector.load(trained.model, "cpu", stride=2).score(windows)
    assert [s.window for s in strided] == windows
    assert any(
        a.surprisals != pytest.approx(b.surprisals, abs=1e-6)
        for a, b in zip(strided, scores, strict=True)
    )


def test_a_cut_window_has_no_end_to_score(detector, windows):
    cut = replace(windows[0], complete=False)
    (score,) = detector.score([cut])
    assert len(score.surprisals) == len(cut.events)
    assert len(detector.explain(score)) == len(cut.events)


@pytest.fixture
def copy(trained, tmp_path):
    return shutil.copytree(trained.model, tmp_path / "copy")


def test_any_damaged_or_missing_file_is_named(copy):
    names = sorted(path.name for path in copy.iterdir())
    assert set(Manifest.read(copy).files) | {"manifest.json"} == set(names)
    for name in names:
        path = copy / name
        whole = path.read_bytes()
        for damaged in (whole[:-2], b"", whole[:50] + bytes([whole[50] ^ 4]) + whole[51:], None):
            path.unlink()
            if damaged is not None:
                path.write_bytes(damaged)
            with pytest.raises(ModelError, match=name):
                Detector.load(copy)
            path.write_bytes(whole)
    assert Detector.load(copy).digest


def test_a_copied_model_scores_the_same(copy, windows, scores):
    assert Detector.load(copy, exact=True).score(windows) == scores


def test_without_the_exact_score_of_all_windows_the_alerts_are_the_same(trained, windows, scores):
    detector = Detector.load(trained.model)
    found = detector.score(windows)
    assert any(score.is_anomaly for score in scores)
    for exact, score in zip(scores, found, strict=True):
        assert score.is_anomaly == exact.is_anomaly
        if score.is_exact:
            assert score.value == pytest.approx(exact.value, abs=1e-4)
            assert score.surprisals == pytest.approx(exact.surprisals, abs=1e-4)
        else:
            assert score.value < 1.0
            assert not is_audited(score.window)


def test_a_directory_of_an_older_version_has_no_screen_and_scores_exactly(copy, windows, scores):
    path = copy / "calibration.json"
    state = json.loads(path.read_text())
    del state["screen"]
    manifest = Manifest.read(copy)
    path.write_text(json.dumps(state))
    manifest.model_copy(update={"files": digest_files(copy)}).write(copy)
    found = Detector.load(copy).score(windows)
    assert [score.surprisals for score in found] == [score.surprisals for score in scores]
    assert all(score.is_exact for score in found)


def test_a_device_that_is_not_there_is_said(trained):
    with pytest.raises(UsageError, match="device 'abacus' can't be used"):
        Detector.load(trained.model, "abacus")


def test_logs_of_another_format_are_refused_and_mixed_ones_warned_of(
    detector, trained, tmp_path, caplog
):
    foreign = offline_parts.write_log(tmp_path / "f.log", ["no format at all"] * 30)
    with pytest.raises(FormatError, match="none of the 30 lines is of the format"):
        list(detector.windows(read_lines([str(foreign)], 0.0)))
    own = trained.log.read_text().splitlines()[:100]
    mixed = offline_parts.write_log(tmp_path / "m.log", ["no format at all"] * 30 + own)
    assert list(detector.windows(read_lines([str(mixed)], 0.0)))
    assert "30 of 130 lines are not of the model's line format" in caplog.text
