"""Never-seen lines: how far they are from known ones, and how often such lines came."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logmlm.config.training import TemplateConfig
from logmlm.detection.novelty import (
    ERROR_VALUE,
    NoveltyDetector,
    NoveltyRule,
    WordIndex,
    fit_novelty,
    words_of,
)
from logmlm.errors import ModelError
from logmlm.parsing.template_miner import TemplateMiner
from logmlm.records import UNKNOWN_TEMPLATE, Event, Fields, LogLine, Window

KNOWN = ("connection from <IP> accepted", "connection from <IP> closed", "cache hit for <*>")


def window(templates: TemplateMiner, *lines: str, level: str = "") -> Window:
    events = []
    for number, text in enumerate(lines):
        line = LogLine(text, "a.log", number, number + 1, float(number))
        fields = Fields(float(number), level, text)
        events.append(Event(line, fields, float(number), "", templates.match(text)))
    return Window("a.log", "", tuple(events), "size", complete=True)


def test_words_are_those_that_people_read() -> None:
    assert words_of("Job <NUM> of user_7 DONE in <DURATION>, <*> left") == {
        *("job", "of", "user", "done", "in", "left"),
    }


def test_distances_are_those_computed_by_hand() -> None:
    index = WordIndex(KNOWN)
    assert index.distance("accepted connection from <IP>") == 0.0
    # 3 templates: "cache" is in one of them, "miss" in none.
    cache, miss, for_ = math.log(4 / 1.5), math.log(4 / 0.5), math.log(4 / 1.5)
    expected = miss / (cache + miss + for_)
    assert index.distance("cache miss for <*>") == pytest.approx(expected)
    assert index.distance("out of memory") == 1.0
    assert index.distance("<NUM> <NUM>") == 1.0
    assert WordIndex([*KNOWN, "<NUM>"]).distance("<NUM> <NUM>") == 0.0


@given(st.lists(st.text("ab cd", max_size=12), max_size=6), st.text("ab cd", max_size=12))
def test_a_distance_is_a_share_and_0_for_what_is_known(known: list[str], text: str) -> None:
    index = WordIndex(known)
    assert 0.0 <= index.distance(text) <= 1.0
    index.add(text)
    assert index.distance(text) == pytest.approx(0.0, abs=1e-12)


def test_the_first_half_makes_templates_known_and_the_later_half_is_counted() -> None:
    texts = {"a": KNOWN[0], "b": KNOWN[1], "c": "out of memory", "d": "disk is full"}
    first = {"a": 0, "b": 3, "c": 6, "d": 6}
    rule = fit_novelty(first, 10, texts, frozenset({"c"}), 0.01)
    assert rule.windows == 5
    assert rule.held_out == (2.0,)  # two lines of words that none had, in one window
    assert rule.error_windows == 1


def test_a_new_wording_counts_as_known_in_training_too() -> None:
    texts = {"a": KNOWN[0], "b": "from <IP> connection accepted"}
    assert fit_novelty({"a": 0, "b": 9}, 10, texts, frozenset(), 0.01).held_out == ()


def test_p_values_are_conformal_and_the_threshold_is_the_strictest_level_in_reach() -> None:
    rule = NoveltyRule(99, (0.5, 1.0, 2.0), 0, 0.02)
    assert [rule.p_value(s) for s in (0.0, 0.4, 1.0, 3.0)] == [1.0, 0.04, 0.03, 0.01]
    assert rule.value(0.0) == 0.0
    assert rule.value(1.0) == pytest.approx(math.log(0.03) / math.log(0.02))
    assert rule.value(3.0) > 1.0
    few = NoveltyRule(19, (), 0, 0.0001)
    assert few.reachable_rate == 0.05
    assert few.value(0.7) == pytest.approx(1.0)
    assert NoveltyRule(9, (), 0, 0.0001).value(5.0) == 0.0  # too few to say


@given(
    st.lists(st.floats(0.3, 9.0), max_size=30),
    st.integers(30, 500),
    st.floats(0.3, 9.0),
    st.floats(0.3, 9.0),
)
def test_more_novelty_never_has_a_smaller_value(
    held_out: list[float], windows: int, one: float, other: float
) -> None:
    rule = NoveltyRule(windows, tuple(sorted(held_out)), 0, 0.01)
    low, high = sorted((one, other))
    assert rule.value(low) <= rule.value(high)


@pytest.fixture
def templates() -> TemplateMiner:
    miner = TemplateMiner(TemplateConfig())
    for text in ("connection from 10.0.0.1 accepted", "connection from 10.0.0.1 closed"):
        miner.learn(text)
    return miner


def test_a_never_seen_error_alarms_by_itself_and_can_be_switched_off(
    templates: TemplateMiner,
) -> None:
    rule = NoveltyRule(99, (1.0,) * 50, 0, 0.001)
    odd = window(templates, "connection from 10.0.0.1 accepted", "Out of memory: Killed process 7")
    assert odd.events[1].template_id == UNKNOWN_TEMPLATE
    assert NoveltyDetector(rule, templates).value(odd) == ERROR_VALUE
    assert NoveltyDetector(rule, templates).novel_events(odd) == [1]
    assert NoveltyDetector(rule, templates, errors_alarm=False).value(odd) < 0.2
    level = window(templates, "quota of tenant reached", level="ERROR")
    assert NoveltyDetector(rule, templates).value(level) == ERROR_VALUE
    assert NoveltyDetector(rule, templates).value(window(templates, "quota reached")) < 0.2


def test_a_new_wording_and_known_lines_are_no_novelty(templates: TemplateMiner) -> None:
    novelty = NoveltyDetector(NoveltyRule(99, (), 0, 0.001), templates)
    known = window(templates, "connection from 10.0.0.9 closed")
    wording = window(templates, "from 10.0.0.9: connection", level="ERROR")
    assert wording.events[0].template_id == UNKNOWN_TEMPLATE
    assert novelty.value(known) == novelty.value(wording) == 0.0
    assert novelty.novel_events(wording) == []


def test_the_same_line_counts_once_and_many_kinds_add_up(templates: TemplateMiner) -> None:
    novelty = NoveltyDetector(NoveltyRule(99, (1.5, 3.5), 0, 0.01), templates)
    flood = window(templates, *["tenant quota reached"] * 50)
    several = window(templates, "tenant quota reached", "lease renewed", "peer joined", "gc done")
    assert novelty.value(flood) == novelty.value(window(templates, "tenant quota reached"))
    assert novelty.value(flood) < 1.0 <= novelty.value(several)


@pytest.mark.parametrize(
    "change",
    [{"held_out": "x"}, {"windows": 0}, {"rate": 2.0}, {"rate": None}, {"held_out": None}],
)
def test_a_damaged_rule_is_refused(change: dict[str, object]) -> None:
    rule = NoveltyRule(9, (0.5, 1.0), 1, 0.01)
    assert NoveltyRule.from_dict(rule.as_dict()) == rule
    with pytest.raises(ModelError, match="novelty rule is damaged"):
        NoveltyRule.from_dict(rule.as_dict() | change)
