"""The ladder: alerts are the exact scorer's, and what is let pass says so."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from mlm_parts import bag_positions, cyclic_model, ids, theirs_at

from logmlm.detection import cascade as module
from logmlm.detection.approximations import ACCURATE, EXACT, FAST, Approximation
from logmlm.detection.calibration import Calibration
from logmlm.detection.cascade import ScoringCascade, compute_statistics, read_surprisals
from logmlm.detection.known_windows import PrecomputedScores
from logmlm.detection.screening import Screen, ScreenStage
from logmlm.mlm.forward import TrainableModel
from logmlm.mlm.scorer import BothSurprisals, Scorer
from logmlm.mlm.tokenizer import BAG, END, MASK, SEP
from logmlm.training.perturbations import perturb

NORMAL = [ids("ABCDEFGH"[a : a + n]) for a in range(5) for n in (3, 4, 5) if a + n <= 8]
HELD_OUT = [*NORMAL, *[ids("ABCDEF")] * 60] * 8


@pytest.fixture(scope="module")
def model() -> TrainableModel:
    return cyclic_model().eval()


@pytest.fixture(scope="module")
def odd() -> list[tuple[int, ...]]:
    return perturb(HELD_OUT, 400, END, 8, np.random.default_rng(0))


@pytest.fixture(scope="module")
def fitted(model: TrainableModel, odd: list[tuple[int, ...]]) -> tuple[Calibration, Screen]:
    scorer = Scorer(model)
    held_out = compute_statistics(scorer, HELD_OUT)
    calibration = Calibration.fit(held_out.exact, 0.02, 100.0)
    screen = Screen.fit(calibration, held_out, [compute_statistics(scorer, odd)], 0.99)
    assert screen is not None
    return calibration, screen


def passes_of(model: TrainableModel) -> list[int]:
    rows: list[int] = []
    model.cls.register_forward_hook(lambda *_: rows.append(1))  # once a pass
    return rows


@torch.no_grad()
def naive_shown(model: TrainableModel, bag: tuple[int, ...]) -> list[float]:
    """A bag in one pass of transformers' model, nothing hidden but its end."""
    shown = [BAG, *(MASK if token == END else token for token in bag), SEP]
    logits = theirs_at(model, torch.tensor([shown]), bag_positions(model, shown))
    return [-logits[i + 1].log_softmax(-1)[token].item() for i, token in enumerate(bag)]


def at(screen: Screen, level: float, *looks: Approximation) -> Screen:
    """The screen with other looks, all of that level."""
    calibration = screen.steps[0].calibration
    return replace(screen, steps=tuple(ScreenStage(look, calibration, level) for look in looks))


def test_the_first_look_hides_nothing_of_a_bag_but_its_end(model: TrainableModel) -> None:
    windows = [ids("CABDCC"), ids("ABC", end=False), ids("ABC"), ids("CBA")]
    found = read_surprisals(Scorer(model), windows, FAST)
    in_order, exact = Scorer(model).approximate_ordered(windows), Scorer(model).score_bag(windows)
    for window, own, (first, as_bag) in zip(windows, in_order, found, strict=True):
        assert first.tolist() == pytest.approx(own.tolist(), abs=1e-5)
        order = sorted(range(len(window)), key=lambda i: (window[i] == END, window[i]))
        bag = tuple(window[i] for i in order)
        assert as_bag[order].tolist() == pytest.approx(naive_shown(model, bag), abs=1e-5)
    assert found[0][1][-1] == pytest.approx(exact[0][-1], abs=1e-5)  # the end was hidden
    assert read_surprisals(Scorer(model), [], FAST) == []


def test_every_alert_of_the_exact_scorer_is_made_with_its_value(
    model: TrainableModel, fitted: tuple[Calibration, Screen], odd: list[tuple[int, ...]]
) -> None:
    calibration, screen = fitted
    windows = [*HELD_OUT, *odd]
    exact = ScoringCascade(Scorer(model), calibration, None).score(windows)
    found = ScoringCascade(Scorer(model), calibration, screen).score(windows)
    assert {verdict.stage for verdict in exact} == {"exact"}
    assert {verdict.stage for verdict in found} == {"exact", "screened"}
    alerts = [(a, b) for a, b in zip(exact, found, strict=True) if a.value >= 1.0]
    assert len(alerts) > 50
    missed = [one for one, other in alerts if other.stage == "screened"]
    assert len(missed) <= 0.01 * len(alerts) + 1
    for one, other in zip(exact, found, strict=True):
        if other.stage == "exact":
            assert other.value == pytest.approx(one.value, abs=1e-4)
            assert np.allclose(other.surprisals, one.surprisals, atol=1e-4)
        else:
            assert other.value < max(step.level for step in screen.steps)


def test_what_a_look_gets_wrong_is_in_no_alert(
    model: TrainableModel,
    fitted: tuple[Calibration, Screen],
    odd: list[tuple[int, ...]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calibration, screen = fitted
    exact = ScoringCascade(Scorer(model), calibration, screen).score(odd)

    def rough(scorer: Scorer, windows: Any, look: Approximation) -> list[BothSurprisals]:
        off = 1.0 if look == EXACT else 1.01
        return [(a * off, b * off) for a, b in read_surprisals(scorer, windows, look)]

    monkeypatch.setattr(module, "read_surprisals", rough)
    found = ScoringCascade(Scorer(model), calibration, screen).score(odd)
    for one, other in zip(exact, found, strict=True):
        if one.value >= 1.0:
            assert other.value == pytest.approx(one.value, abs=1e-4)


def test_a_check_changes_nothing_but_what_the_look_missed(
    model: TrainableModel, fitted: tuple[Calibration, Screen]
) -> None:
    calibration, screen = fitted
    calm, odd = ids("ABCDEF"), ids("AFBECDAA")
    steps = ScoringCascade(Scorer(model), calibration, at(screen, 99.0, FAST))
    found = steps.score([calm, odd, calm, odd, odd], [True, True, False, False, True].__getitem__)
    assert [one.stage for one in found] == ["checked", "missed", "screened", "screened", "missed"]
    exact = ScoringCascade(Scorer(model), calibration, None).score([calm, odd], lambda _: True)
    assert [one.stage for one in exact] == ["exact", "exact"]
    assert exact[0].value < 1.0 <= exact[1].value
    assert replace(found[0], stage="screened") == found[2]
    assert found[1].value == found[4].value == pytest.approx(exact[1].value, abs=1e-6)
    assert [one.stage for one in steps.score([calm, odd])] == ["screened", "screened"]


def test_a_window_that_comes_again_costs_no_pass(
    model: TrainableModel, fitted: tuple[Calibration, Screen], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = deepcopy(model)
    rows = passes_of(model)
    calibration, screen = fitted
    steps = ScoringCascade(Scorer(model), calibration, at(screen, 9.0, FAST))
    window = ids("ABCDEF")
    first = steps.score([window, window])
    assert sum(rows) == 2  # in order, and as a bag
    again = steps.score([window])
    assert sum(rows) == 2
    assert again[0] is first[0] is first[1]
    monkeypatch.setattr(
        module, "CACHE_NUMBERS", 2 * (module.ENTRY_OVERHEAD_NUMBERS + 2 * len(window))
    )
    small = ScoringCascade(Scorer(model), calibration, at(screen, 9.0, FAST))
    first, *_, last = [small.score([ids(t)])[0] for t in ("ABCDEF", "BCDEFG", "CDEFGH")]
    assert small.score([ids("CDEFGH")])[0] is last
    assert small.score([ids("ABCDEF")])[0] is not first


def test_a_bag_that_comes_again_in_another_order_is_read_once(
    model: TrainableModel, fitted: tuple[Calibration, Screen]
) -> None:
    model = deepcopy(model)
    rows = passes_of(model)
    calibration, screen = fitted
    steps = ScoringCascade(Scorer(model), calibration, at(screen, 9.0, FAST))
    steps.score([ids("ABCDEF")])
    read = sum(rows)
    (again,) = steps.score([ids("BADCEF")])
    assert sum(rows) == read + 1  # in order alone
    alone = ScoringCascade(Scorer(model), calibration, at(screen, 9.0, FAST))
    (anew,) = alone.score([ids("BADCEF")])
    assert again.bag_surprisals == anew.bag_surprisals


def test_hiding_several_at_once_is_not_called_exact(
    model: TrainableModel, fitted: tuple[Calibration, Screen]
) -> None:
    steps = ScoringCascade(Scorer(model), *fitted, stride=2)
    window = ids("ABCDEF")
    (verdict,) = steps.score([window], lambda _: True)
    assert verdict.stage == "strided"
    (reading,) = Scorer(model).score_ordered([window], 2)
    assert list(verdict.surprisals) == reading.surprisals.tolist()
    (exact,) = steps.exact([window])
    assert exact.stage == "exact"
    assert list(exact.surprisals) == Scorer(model).score_ordered([window])[0].surprisals.tolist()


def test_the_second_look_gives_the_exact_bag(
    model: TrainableModel, fitted: tuple[Calibration, Screen]
) -> None:
    calibration, screen = fitted
    steps = ScoringCascade(Scorer(model), calibration, at(screen, 9.0, ACCURATE))
    windows = [ids("ABCDEF"), ids("BCDEF")]
    for window, verdict in zip(windows, steps.score(windows), strict=True):
        assert verdict.stage == "screened"
        in_order = Scorer(model).approximate_ordered([window])[0].tolist()
        assert list(verdict.surprisals) == pytest.approx(in_order, abs=1e-5)
        as_bag = Scorer(model).score_bag([window])[0].tolist()
        assert list(verdict.bag_surprisals) == pytest.approx(as_bag, abs=1e-5)


def test_what_one_look_holds_up_goes_on_to_the_next(
    model: TrainableModel, fitted: tuple[Calibration, Screen], odd: list[tuple[int, ...]]
) -> None:
    calibration, screen = fitted
    windows = list(dict.fromkeys([*HELD_OUT, *odd]))
    first, second = (
        ScoringCascade(Scorer(model), calibration, at(screen, 99.0, look)).score(windows)
        for look in (FAST, ACCURATE)
    )
    low, high = np.median([v.value for v in first]), np.quantile([v.value for v in second], 0.8)
    steps = (*at(screen, float(low), FAST).steps, *at(screen, float(high), ACCURATE).steps)
    found = ScoringCascade(Scorer(model), calibration, replace(screen, steps=steps)).score(windows)
    for one, other, verdict in zip(first, second, found, strict=True):
        expected = one if one.value < low else other if other.value < high else None
        assert (verdict.stage == "exact") == (expected is None)
        if expected is not None:
            assert verdict.value == pytest.approx(expected.value, abs=1e-4)
            assert verdict.p_value == pytest.approx(expected.p_value, abs=1e-3)
    passed = [verdict.bag_surprisals for verdict in found if verdict.stage == "screened"]
    assert set(passed) & {verdict.bag_surprisals for verdict in first}
    assert set(passed) & {verdict.bag_surprisals for verdict in second}


def test_of_no_windows_there_are_no_verdicts(
    model: TrainableModel, fitted: tuple[Calibration, Screen]
) -> None:
    assert ScoringCascade(Scorer(model), *fitted).score([]) == []


def test_what_came_with_the_model_costs_no_pass_but_near_the_threshold(
    model: TrainableModel, fitted: tuple[Calibration, Screen], odd: list[tuple[int, ...]]
) -> None:
    calibration, screen = fitted
    scorer = Scorer(model)
    exact = ScoringCascade(scorer, calibration, None).score(odd)
    alarming = next(w for w, verdict in zip(odd, exact, strict=True) if verdict.value >= 1.0)
    calm = ids("ABCDEF")
    known = PrecomputedScores.of(scorer, [calm, calm, alarming, alarming])
    model = deepcopy(model)
    rows = passes_of(model)
    steps = ScoringCascade(Scorer(model), calibration, screen, known)
    (verdict,) = steps.score([calm], lambda _: True)
    assert (verdict.stage, rows) == ("known", [])
    (expected,) = ScoringCascade(scorer, calibration, None).score([calm])
    assert verdict.value == pytest.approx(expected.value, abs=1e-4)
    assert verdict.p_value == pytest.approx(expected.p_value, abs=1e-4)
    assert steps.score([alarming])[0].stage == "exact"
    alone = ScoringCascade(Scorer(model), calibration, None, known)
    assert alone.score([calm])[0].stage == "exact"
