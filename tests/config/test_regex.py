"""A user's pattern means what `re` makes of it, and never holds the process up."""

import logging
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logmlm.alerting.label_matchers import LabelMatcher
from logmlm.config.redaction import Rule
from logmlm.config.regex import TimeLimitedPattern, compile_user_pattern, is_limited, overruns
from logmlm.config.regex_analysis import is_linear_time
from logmlm.config.training import CustomFormat, FormatConfig, MultilineConfig
from logmlm.parsing.event_parser import EventParser
from logmlm.parsing.formats import get_format
from logmlm.parsing.masking import LogMasker
from logmlm.records import LogLine

EVIL = r"(?:\w+\s?)+$"
LONG = "a" * 5_000 + "!"
PATTERNS = (
    r"(\w+)=(\d+)",
    r"(?:\w+\s?)+$",
    r"(a|b)*c",
    r"\bord-(\d+)\b",
    r"[^\s,]+,(?P<x>\S*)",
    r"(?i)error: (.*)",
    r"^\s*at ",
    r"(?<=id=)[0-9a-f]{4,}",
    r"(?<!x)y+?z",
    r"(\w)\1",
    r"\D+\W",
    r"a{2,5}b??",
    r"[\w.-]+@[\w.-]+",
    r"(?s)<.*?>",
    r"(?m)^a.*$",
    r"(?>a+)b",
    r"[^a-c]{2}$",
    r"(x)?(?(1)y|z)",
    r"\A\S+\Z",
    r"[\]\[{}()]+",
    r"(?a)\w+\d",
    r"\u00e9+|\u0661",
)
TEXTS = st.text(
    st.sampled_from("aabbxyz=1 2,_.-@<>\n\té\u0301\u0661\x1c\u2028E:r()[]{}"), max_size=30
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(PATTERNS), TEXTS)
def test_a_limited_pattern_finds_what_re_finds(pattern, text):
    plain, limited = re.compile(pattern), TimeLimitedPattern(pattern)
    for name in ("search", "match", "fullmatch"):
        found, own = getattr(plain, name)(text), getattr(limited, name)(text)
        assert (found is None) == (own is None), name
        if found is not None:
            assert [found.span(i) for i in range(plain.groups + 1)] == [
                own.span(i) for i in range(plain.groups + 1)
            ]
            assert found.groupdict() == own.groupdict()
    assert [m.span() for m in plain.finditer(text)] == [m.span() for m in limited.finditer(text)]
    assert plain.sub("<X>", text) == limited.sub("<X>", text)
    assert (limited.groups, dict(limited.groupindex)) == (plain.groups, dict(plain.groupindex))


@pytest.mark.parametrize(
    ("pattern", "anchored", "linear"),
    [
        (r"ord-(\d+)", False, True),
        (r"^(\S+) (\S+) (.*)", True, True),
        (r"(req-[0-9a-f]+)", False, True),
        (EVIL, False, False),
        (r"(a+)+", True, False),
        (r"(a|a)*b", True, False),
        (r"\w+=(\d+)", False, False),
        (r"(.*)foo(.*)bar", False, False),
    ],
)
def test_what_backtracks_is_told_from_what_does_not(pattern, anchored, linear):
    assert is_linear_time(pattern, is_anchored=anchored) == linear
    assert is_limited(compile_user_pattern(pattern, is_anchored=anchored)) != linear


def test_a_match_that_takes_too_long_is_given_up_counted_and_said_once(caplog):
    limited = compile_user_pattern(EVIL)
    with caplog.at_level(logging.WARNING):
        assert [limited.search(LONG) for _ in range(30)] == [None] * 30  # by `re` it does not end
    assert overruns(limited) == 30
    assert len(caplog.messages) == 1
    assert "a text of 5001 characters" in caplog.messages[0]
    assert limited.search("one two").group() == "one two"


def line(text):
    return LogLine(text, "p", 0, 1, 1000.0)


def test_no_pattern_of_a_config_can_hold_the_reader_up():
    own = CustomFormat(pattern=r"(?P<message>(?:\w+\s?)+)$")
    config = FormatConfig(name="mine", custom={"mine": own})
    joining = MultilineConfig(
        start_pattern=EVIL, condition_pattern=EVIL, mode="continue_through", timeout_ms=1
    )
    reader = EventParser(get_format(config), None, lambda _: "", finished=True)
    assert reader.feed([line(LONG), line("one two")])[-1:] + reader.flush()
    assert reader.overruns["format"] == 1
    assert reader.discarded["orphan_continuation"] == 1
    plain = get_format(FormatConfig(name="plain"))
    keyed = EventParser(plain, EVIL, lambda _: "", joining, finished=True)
    events = keyed.feed([line(LONG)]) + keyed.flush()
    assert [event.key for event in events] == [""]
    assert keyed.overruns["key"] == 1
    assert keyed.overruns["multiline"] >= 1
    masks = LogMasker([("X", EVIL)])
    assert masks.mask(LONG) == LONG
    assert overruns(*masks.patterns) == 1


def test_a_silence_that_backtracks_matches_nothing_and_ends():
    matcher = LabelMatcher.parse("service=~(a+)+")
    assert matcher.matches({"service": "aaa"})
    assert not matcher.matches({"service": LONG})


def test_a_text_on_which_a_redaction_rule_takes_too_long_is_replaced_whole():
    rule = Rule("mine", compile_user_pattern(EVIL), "[mine]")
    assert rule.redact(LONG) == "[mine]"
    assert rule.redact("!") == "!"
