"""The simple rules: by hand on tiny sets, by property, and against published figures."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logmlm.errors import DataError
from logmlm.evaluation import baselines as rules
from logmlm.evaluation.baselines import (
    RULES,
    Baseline,
    BaselineScorer,
    Ids,
    Predictions,
    cross_fitted,
    run_baselines,
)
from logmlm.evaluation.results import GroundTruth, build_results

HDFS = Path(os.environ.get("LOGMLM_DATA", Path(__file__).parents[3] / "shared/data")) / "hdfs"
RULE = {rule.name: rule for rule in RULES}
TRAIN: list[Ids] = ["ab", "ab", "abb", "cab"]


def scores(name: str, test: list[Ids], train: list[Ids] = TRAIN) -> list[float]:
    return RULE[name].fit(train, 0)(test).tolist()


def test_the_rules_come_in_the_order_of_the_table() -> None:
    assert [(rule.name, rule.natural_threshold) for rule in RULES] == [
        ("unseen_template", 0.0),
        ("count_vector", 0.0),
        ("two_gram", 0.0),
        ("ngram", None),
        ("length", None),
        ("isolation_forest", None),
        ("pca", None),
    ]


def test_unseen_template_counts_the_events_that_training_never_saw() -> None:
    assert scores("unseen_template", ["abc", "axbx", "", "y"]) == [0, 2, 0, 1]


def test_two_gram_counts_unseen_pairs_with_begin_and_end() -> None:
    # seen: ^a ab b$ bb ^c ca; "ba" has ^b, ba, a$; "cabb" has none; "" has the pair ^$
    assert scores("two_gram", ["ab", "cabb", "ba", "abab", ""]) == [0, 0, 3, 1, 1]


def test_count_vector_is_0_for_a_seen_bag_in_any_order_else_the_smallest_l1_distance() -> None:
    # "abc" is the bag of "cab"; "aab" is 1 away from "ab" (5 events in both): 1/5, and 2 from
    # "abb" (6): 2/6; "abx" likewise; "xy" shares nothing; "abbb" is 1 away from "abb" (7)
    found = scores("count_vector", ["ba", "abc", "aab", "abx", "xy", "abbb", ""])
    assert found == pytest.approx([0, 0, 1 / 5, 1 / 5, 1, 1 / 7, 1])


windows = st.lists(st.text("abcd", min_size=1, max_size=6), min_size=1, max_size=8)


@given(windows, windows)
@settings(max_examples=40)
def test_count_vector_is_the_smallest_distance_over_every_training_window(
    train: list[Ids], test: list[Ids]
) -> None:
    def distance(a: Ids, b: Ids) -> float:
        return sum(abs(a.count(t) - b.count(t)) for t in "abcd") / (len(a) + len(b))

    expected = [min(distance(window, known) for known in train) for window in test]
    assert scores("count_vector", test, train) == pytest.approx(expected, abs=1e-12)


def test_the_ngram_ranks_order_that_never_came_above_order_that_did() -> None:
    train: list[Ids] = [("a", "b", "c")] * 20 + [("a", "c")] * 5
    usual, rare, turned, new = scores("ngram", ["abc", "ac", "acb", "axc"], train)
    assert usual < rare < min(turned, new)
    assert scores("ngram", ["a", "b"], ["a"])[0] < scores("ngram", ["a", "b"], ["a"])[1]


def test_length_ranks_first_by_the_distance_outside_then_by_the_deviation() -> None:
    # training lengths 2, 2, 3, 3; the lower median is 2; deviation d counts d / (d + 2 + 1)
    found = scores("length", ["ab", "abc", "abcd", "a" * 13, "a", ""])
    assert found == pytest.approx([0, 1 / 4, 1 + 2 / 5, 10 + 11 / 14, 1 + 1 / 4, 2 + 2 / 5])


def test_isolation_forest_finds_the_odd_counts_and_its_seed_decides() -> None:
    train: list[Ids] = ["ab" * (2 + n % 3) + "c" * (n % 5) for n in range(60)]
    test: list[Ids] = ["ababab", "a" * 30, "bababa", "ababab"]
    usual, odd, shuffled, again = scores("isolation_forest", test, train)
    assert odd > usual
    assert usual == shuffled == again
    assert RULE["isolation_forest"].fit(train, 1)(test).tolist() != [usual, odd, shuffled, again]


def test_pca_reconstructs_what_lies_along_training_and_measures_what_does_not() -> None:
    train: list[Ids] = ["ab", "aabb", "aaabbb"]  # counts (1,1), (2,2), (3,3): one component
    found = scores("pca", ["aaaabbbb", "aaab", "abx", ""], train)
    # (3,1) is (1,-1) off the diagonal: 2; an unseen template has no part in it: 1
    assert found == pytest.approx([0, 2, 1, 0], abs=1e-9)


@pytest.mark.parametrize("train", [["ab"], ["ab", "ba", "ab"]])
def test_pca_of_windows_that_are_all_alike_measures_the_distance_from_them(
    train: list[Ids],
) -> None:
    assert scores("pca", ["ab", "aab", "abxx"], train) == pytest.approx([0, 1, 4])


def test_large_training_sets_are_sampled_and_rare_templates_share_a_column(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rules, "_MAX_ROWS", 4)
    monkeypatch.setattr(rules, "_MAX_COLUMNS", 1)
    train: list[Ids] = ["ab", "aab", "aaab", "a", "aac", "aaaa"]
    test: list[Ids] = ["ab", "ac", "ax", "aaaaa", "aaaaaa", "aaaaaaa"]
    for name in ("isolation_forest", "pca"):
        found = scores(name, test, train)
        assert found[0] == found[1] == found[2]
        assert found == scores(name, test, train)


def test_count_vectors_are_compared_with_the_commonest_ones_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rules, "_MAX_REFERENCES", 1)
    # the only reference is "ab"; "abbb" is 2 of 6 away from it, and "abb" is still known
    assert scores("count_vector", ["abbb", "abb"]) == pytest.approx([2 / 6, 0])


@given(windows, windows)
@settings(max_examples=25)
def test_no_rule_depends_on_what_else_is_scored(train: list[Ids], test: list[Ids]) -> None:
    for name in ("unseen_template", "count_vector", "two_gram", "length", "pca"):
        together = scores(name, test, train)
        assert together == pytest.approx([scores(name, [w], train)[0] for w in test], abs=1e-9)


def fit_share_of_seen(train: object, _seed: int) -> BaselineScorer:
    """Score a window by how many windows the rule was fitted on that are equal to it."""
    seen = list(train)  # type: ignore[call-overload]  # a sequence of windows
    return lambda windows: np.array([float(seen.count(window)) for window in windows])


def test_each_fold_is_scored_by_a_rule_fitted_on_all_others() -> None:
    rule = Baseline("seen", fit_share_of_seen)
    train: list[Ids] = ["a", "a", "b", "b", "b", "c"]
    folds = np.array([0, 1, 0, 0, 1, -1])
    # fold 0 holds a, b, b and is scored by a, b, c; fold 1 holds a, b and is scored by the rest
    assert cross_fitted(rule, train, folds, 0).tolist() == [1, 1, 1, 1, 2]


def verdict(name: str, **given: object) -> Predictions:
    table = run_baselines(**given)  # type: ignore[arg-type]  # the tests' own keywords
    return next(found for found in table if found.name == name)


def test_a_threshold_is_the_quantile_of_held_out_windows_and_membership_needs_none() -> None:
    train: list[Ids] = ["a" * n for n in range(1, 11)]
    folds = [n % 2 for n in range(10)]
    table = run_baselines(train, folds, ["aaaaa", "ab", "a" * 40], rate=0.1, seed=0)
    assert [found.name for found in table] == [rule.name for rule in RULES]
    for found in table:
        assert found.flagged.tolist() == (found.scores > found.threshold).tolist()
    membership, length = table[:3], table[4]
    assert {(f.threshold, f.threshold_from) for f in membership} == {
        (0.0, "by definition, whatever the asked rate")
    }
    # held out: fold 0 (1,3,5,7,9) by 2..10 of median 6; fold 1 (2,..,10) by 1..9 of median 5;
    # outside lie 1 and 10: 1 + 5/12 and 1 + 5/11; the 0.9 quantile of ten is the ninth
    assert length.threshold == pytest.approx(1 + 5 / 12)
    assert length.threshold_from == "0.9 quantile of held-out normal windows"


@given(st.lists(st.integers(1, 30), min_size=4, max_size=40), st.sampled_from([0.01, 0.1, 0.3]))
def test_at_most_the_asked_share_of_held_out_windows_lies_above_the_threshold(
    lengths: list[int], rate: float
) -> None:
    train: list[Ids] = ["a" * length for length in lengths]
    folds = np.arange(len(train)) % 2
    table = [rules._judge(RULE["length"], train, folds, train, (rate, 0))]
    held_out = cross_fitted(RULE["length"], train, folds, 0)
    assert np.mean(held_out > table[0].threshold) <= rate + 1e-12


@pytest.mark.parametrize(
    ("train", "folds", "complaint"),
    [
        ([], [], "need training windows, and there are none"),
        (["a", "b"], [0, 0], "at least two fold numbers"),
        (["a", "b"], [-1, -1], "not all of them -1"),
        (["a", "b"], [0], "1 fold numbers for 2 training windows"),
    ],
)
def test_without_held_out_windows_there_is_no_table(
    train: list[Ids], folds: list[int], complaint: str
) -> None:
    with pytest.raises(DataError, match=complaint):
        run_baselines(train, folds, ["a"], 0.1, 0)


def sessions(name: str) -> list[Ids]:
    return [tuple(line.split()) for line in (HDFS / name).read_text().splitlines()]


@pytest.mark.skipif(not HDFS.is_dir(), reason=f"no HDFS data in {HDFS} (set LOGMLM_DATA)")
def test_the_rules_reach_their_published_figures_on_hdfs() -> None:
    train = sessions("deeplog_train.txt")
    normal, odd = sessions("deeplog_test_normal_2pct.txt"), sessions("deeplog_test_abnormal.txt")

    def f1(*names: str, above: float = 0.0) -> float:
        fitted = [RULE[name].fit(train, 0) for name in names]
        hit = np.any([score(odd) > above for score in fitted], axis=0).sum()
        false = np.any([score(normal) > above for score in fitted], axis=0).sum()
        return float(2 * hit / (hit + len(odd) + false * 553_366 / len(normal)))

    outside = np.nextafter(1.0, 0.0)  # a length outside of training's range scores 1 or more
    assert f1("unseen_template") == pytest.approx(0.630, abs=5e-4)
    assert f1("length", above=outside) == pytest.approx(0.543, abs=5e-4)
    assert f1("unseen_template", "length", above=outside) == pytest.approx(0.903, abs=5e-4)
    assert f1("count_vector") == pytest.approx(0.947, abs=5e-4)
    assert f1("two_gram") == pytest.approx(0.858, abs=5e-4)


@pytest.mark.skipif(not HDFS.is_dir(), reason=f"no HDFS data in {HDFS} (set LOGMLM_DATA)")
def test_the_table_of_the_rules_on_hdfs_is_the_published_one() -> None:
    train = sessions("deeplog_train.txt")
    normal, odd = sessions("deeplog_test_normal_2pct.txt"), sessions("deeplog_test_abnormal.txt")
    test: list[Ids] = [*normal, *odd]
    anomalous = np.arange(len(test)) >= len(normal)
    weights = np.where(anomalous, 1.0, 553_366 / len(normal))
    verdicts = run_baselines(train, np.arange(len(train)) % 4, test, rate=0.001, seed=0)
    found = build_results(verdicts, GroundTruth(anomalous, weights)).as_json()
    assert found["unseen_template"]["f1"] == pytest.approx(0.630, abs=5e-4)
    assert found["count_vector"]["f1"] == pytest.approx(0.947, abs=5e-4)
    assert found["count_vector"]["roc_auc"] > 0.999
    assert found["two_gram"]["f1"] == pytest.approx(0.858, abs=5e-4)
    total = sum(found["length"][f"{kind}_negatives"] for kind in ("true", "false"))
    total += sum(found["length"][f"{kind}_positives"] for kind in ("true", "false"))
    assert total == pytest.approx(553_366 + 16_838)
