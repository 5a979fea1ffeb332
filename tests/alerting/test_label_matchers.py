"""Label matchers, as Alertmanager has them."""

import pytest

from logmlm.alerting.label_matchers import MAX_PATTERN, LabelMatcher
from logmlm.errors import UsageError

LABELS = {"severity": "info", "host": "web1"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("severity=info", True),
        ('severity="info"', True),
        (" severity = info ", True),
        ("severity=inf", False),
        ("severity!=info", False),
        ("host=~web.*", True),
        ("host=~eb", False),
        ('host!~"db.*"', True),
        ("host!~web.", False),
        ("none=", True),
        ("none!=x", True),
        ("none=~.+", False),
    ],
)
def test_a_matcher_matches_whole_values(text, expected):
    assert LabelMatcher.parse(text).matches(LABELS) == expected


@pytest.mark.parametrize("text", ["", "a", "a~b", "1a=b", 'a="b', "a=~(", "=b"])
def test_what_is_no_matcher_is_told(text):
    with pytest.raises(UsageError):
        LabelMatcher.parse(text)
    with pytest.raises(UsageError, match="characters at most"):
        LabelMatcher.parse("a=~" + "x" * (MAX_PATTERN + 1))


def test_a_matcher_is_shown_as_it_can_be_given():
    for text in ('a="b c"', 'a=~"x|y"', 'a!="\\"q\\""'):
        assert str(LabelMatcher.parse(text)) == text
        assert LabelMatcher.parse(str(LabelMatcher.parse(text))) == LabelMatcher.parse(text)
