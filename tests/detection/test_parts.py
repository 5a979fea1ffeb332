from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from cut_parts import BEGIN, KEY, service_log
from hypothesis import given
from hypothesis import strategies as st
from offline_parts import logmlm
from scipy.stats import betabinom

from logmlm.detection.calibration import KINDS, part_kind
from logmlm.detection.detector import Detector
from logmlm.detection.model_dir import load_parts
from logmlm.detection.parts import PLACES, CutSampler, WindowCuts, are_whole, sample_partial_windows
from logmlm.mlm.corpus import Corpus
from logmlm.mlm.tokenizer import END
from logmlm.records import Event, Fields, LogLine, Window
from logmlm.sources.archive.reader import read_lines

RATE, HELD_OUT = 0.02, 250
GAP = "180s"


def window(*times: float, begun: bool = True) -> Window:
    events = tuple(
        Event(LogLine("x", "p", n, n + 1, time), Fields(time, "", "x"), time, "k", "t")
        for n, time in enumerate(times)
    )
    return Window("p", "k", events, "idle", complete=True, begun=begun)


def test_a_window_is_whole_or_lost_its_end_or_its_beginning_or_both() -> None:
    assert part_kind(begun=True, complete=True) is None
    found = [part_kind(*flags) for flags in ((True, False), (False, True), (False, False))]
    assert tuple(found) == KINDS == ("head", "tail", "middle")


def test_cuts_fall_evenly_in_time_so_mostly_into_a_long_pause() -> None:
    places = CutSampler()
    for _ in range(500):
        places.add(window(0, 1, 99, 100))
    cuts = places.cuts()
    assert cuts.places.shape == (500, PLACES)
    assert set(cuts.seconds) == {100.0}
    shares = Counter(cuts.places.flatten().tolist())
    assert set(shares) == {1, 2, 3}
    assert shares[2] / 2000 == pytest.approx(0.98, abs=0.01)


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=20))
def test_every_cut_has_an_event_on_either_side(times: list[float]) -> None:
    places = CutSampler()
    places.add(window(*times))
    cuts = places.cuts()
    if len(times) > 1 and cuts.seconds[0] > 0:
        assert cuts.places.min() >= 1
        assert cuts.places.max() <= len(times) - 1


def test_parts_are_the_sides_of_a_cut_and_what_lies_between_two() -> None:
    corpus = Corpus.of([(10, 11, 12, 13, END)])
    cuts = WindowCuts(np.array([True]), np.array([5.0]), np.array([[1, 3, 1, 3]], dtype=np.int32))
    found = sample_partial_windows(corpus, cuts, np.arange(1), 200, seed=0)
    assert set(found["head"]) == {(10,), (10, 11, 12)}
    assert set(found["tail"]) == {(11, 12, 13, END), (13, END)}
    assert set(found["middle"]) == {(11, 12)}
    assert len(found["head"]) == len(found["tail"]) == 200


def test_windows_that_were_cut_anyway_are_parts_and_so_are_parts_of_them() -> None:
    corpus = Corpus.of([(10, 11), (12, 13, END), (14, 15)])
    begun, places = np.array([True, False, False]), np.ones((3, PLACES), dtype=np.int32)
    everything = np.arange(3)
    cuts = WindowCuts(begun, np.zeros(3), places)
    found = sample_partial_windows(corpus, cuts, everything, 9, seed=0)
    assert found == {"head": [(10, 11)], "tail": [(12, 13, END)], "middle": [(14, 15)]}
    assert not are_whole(corpus, cuts, everything).any()
    cut = sample_partial_windows(
        corpus, WindowCuts(begun, np.array([0.0, 1.0, 0.0]), places), everything, 9, seed=0
    )
    assert Counter(cut["middle"]) == {(14, 15): 1, (12,): 9}
    assert Counter(cut["tail"]) == {(12, 13, END): 1, (13, END): 9}


def test_longer_sessions_are_cut_more_often() -> None:
    corpus = Corpus.of([(10, 11, END), (12, 13, END)])
    cuts = WindowCuts(
        np.ones(2, dtype=bool), np.array([10.0, 90.0]), np.ones((2, PLACES), np.int32)
    )
    heads = Counter(sample_partial_windows(corpus, cuts, np.arange(2), 2000, seed=0)["head"])
    assert heads[(12,)] / 2000 == pytest.approx(0.9, abs=0.03)


@pytest.fixture(scope="module")
def cut_model(tmp_path_factory):
    """A model of sessions of minutes, trained by the command line."""
    place = tmp_path_factory.mktemp("cut")
    log = service_log(6.0, 10 * HELD_OUT, seed=1, begin=BEGIN - 500_000)
    outcome = logmlm(
        *("train", log.write(place / "train.log"), "--out", place / "model", "--key", KEY),
        *("--gap", GAP, "--window", "session", "--epochs", "6", "--folds", "0", "--quiet"),
        *("--false-alarm-rate", str(RATE), "--device", "cpu"),
    )
    assert outcome.code == 0, outcome.err
    return place / "model"


def most(windows: int) -> int:
    """So many false alarms the asked rate allows for: the threshold is that of so few held out."""
    rank = RATE * HELD_OUT
    return int(betabinom(windows, rank, HELD_OUT + 1 - rank).ppf(0.9999))


def test_24_hours_of_normal_sessions_alarm_as_asked_at_full_hours_as_elsewhere(
    cut_model, tmp_path
) -> None:
    log = service_log(24.0, 6_000, seed=2)
    half = BEGIN + 43_200.0
    files = [
        log.write(tmp_path / "app.log.1", end=half),
        log.write(tmp_path / "app.log", begin=half),
    ]
    outcome = logmlm("score", cut_model, *files, "--output", "json", "--device", "cpu")
    windows = [json.loads(line) for line in outcome.out.splitlines()]
    of_key = Counter(found["key"] for found in windows)
    kinds: dict[str, list[bool]] = {"whole": [], "parts": [], "full hour": []}
    for found in windows:
        kinds["whole" if of_key[found["key"]] == 1 else "parts"].append(found["anomaly"])
        if min(found["start"] % 3600, -found["end"] % 3600) < 60:
            kinds["full hour"].append(found["anomaly"])
    assert len(kinds["parts"]) > 800
    assert len(kinds["full hour"]) > 100
    for kind, alarms in kinds.items():
        assert sum(alarms) <= most(len(alarms)), kind


def test_odd_sessions_are_found_in_their_parts_too(cut_model, tmp_path) -> None:
    log = service_log(24.0, 1_500, seed=3, odd_share=0.3)
    outcome = logmlm(
        *("score", cut_model, log.write(tmp_path / "app.log"), "--output", "json"),
        *("--device", "cpu"),
    )
    windows = [json.loads(line) for line in outcome.out.splitlines()]
    of_key = Counter(found["key"] for found in windows)
    cut = {key for key in log.odd if of_key[key] > 1}
    caught = {found["key"] for found in windows if found["anomaly"]}
    assert len(cut) > 20
    assert len(cut & caught) / len(cut) > 0.3


def test_a_model_without_parts_judges_all_windows_as_one_kind(cut_model) -> None:
    assert set(load_parts(cut_model)) == set(KINDS)
    detector = Detector.load(cut_model, "cpu")
    old = Detector(detector.manifest, detector.templates, detector.vocabulary, detector._cascade)
    session = service_log(0.1, 1, seed=4)
    lines = [
        LogLine(f"2026-03-02T00:00:00.000Z INFO {text}", "p", n, n + 1, time)
        for n, (time, text) in enumerate(session.lines)
    ]
    (found,) = detector.windows(lines)
    cut = replace(found, begun=False)
    (one, other) = detector.score([found, cut])
    assert old.score([found, cut])[0].value == old.score([cut])[0].value == one.value
    assert one.surprisals == other.surprisals
    assert one.value != other.value


def test_windows_are_scored_alike_alone_and_among_others(cut_model, tmp_path) -> None:
    detector = Detector.load(cut_model, "cpu")
    log = service_log(1.0, 40, seed=5).write(tmp_path / "app.log")
    windows = list(detector.windows(read_lines([str(log)], 0.0)))
    flags = [(True, False), (False, True), (False, False), (True, True)]
    windows = [
        replace(each, begun=begun, complete=complete)
        for each, (begun, complete) in zip(windows, flags * 10, strict=False)
    ]
    together = detector.score(windows)
    assert [score.window for score in together] == windows
    assert together == [score for each in windows for score in detector.score([each])]
    assert all(detector.explain(score) for score in together[:8])
