"""What a pattern sees of a text beyond its shape; that masks give what their patterns give."""

import os
import re
from itertools import islice
from pathlib import Path

import pytest
from drain3.masking import LogMasker as DrainMasker
from drain3.masking import MaskingInstruction
from hypothesis import example, given, settings
from hypothesis import strategies as st

from logmlm.config.training import FormatConfig, TemplateConfig
from logmlm.parsing import masking as masks
from logmlm.parsing.digit_shapes import DigitSensitivity, digit_shape
from logmlm.parsing.formats import detect_format
from logmlm.parsing.masking import BUILT_IN, LogMasker, select_masks
from logmlm.parsing.template_miner import TemplateMiner
from logmlm.sources.archive.reader import read_lines

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("LOGMLM_DATA", ROOT.parent / "shared/data")) / "loghub2k"
LOGS = sorted([*(ROOT / "sample_logs").glob("*/*.log.gz"), *DATA.glob("*_2k.log")])
"""The recorded logs, and loghub's where they are at hand."""

ODD = (
    r"a[1-5]+",
    r"0x\d",
    r"(?<=7)\d",
    r"(?<!7)\d\b",
    r"[^3]\d z",
    r"(\d)\1",
    r"(?P<q>x)?\d(?(q)0|1)",
    r"\d(?= 9)",
    r"(?>1?)\d",
    r"(?:12|34)[a-z]",
    r"(?:0|1)++\d",
    r"b(?P<keep>\d\d)",
    r"(?P<keep>0\d)",
    r"(?i:A0)\S*",
    r"\S+ 5",
    r"\d{2}?7",
    r"١\d",
    r"0\d|\d0",
    r"a?(?:0[xz]|(?<=:)[3-7]{1}\d|\d)5",
    r"(?:ab|b)0|[1-3]\d[5-7]",
)
"""Patterns that tell digits apart in every way there is."""
PAIRS = st.lists(
    st.sampled_from([*BUILT_IN.items(), *((f"ODD{i}", text) for i, text in enumerate(ODD))]),
    max_size=8,
    unique=True,
)
PIECES = (
    *"0123579 abxzf-.:/@=?_<>\\é١",
    *(" ms", " KB", "GET /", " HTTP/1.1", "0x", "::", "Jan ", "2024-01-02", "blk_-", "\udc80"),
    *("10.250.", "12:00:", "https://", "00000", "12345678", "deadbeef", "q1w2e3", "size ", " z"),
)
TEXTS = st.lists(st.sampled_from(PIECES), max_size=25).map("".join)


def plainly_masked(pairs, text):
    """The patterns one after the other, as Drain3 applies them; between what is kept."""
    keeps = [re.compile(pattern) for _, pattern in pairs if "?P<keep>" in pattern]
    rest = [MaskingInstruction(p, name) for name, p in pairs if "?P<keep>" not in p]
    masker = DrainMasker(rest, "<", ">")

    def parts(text, keeps):
        if not keeps:
            return masker.mask(text)
        done, end = "", 0
        for found in keeps[0].finditer(text):
            done += parts(text[end : found.start("keep")], keeps[1:]) + found["keep"]
            end = found.end("keep")
        return done + parts(text[end:], keeps[1:])

    return parts(text, keeps)


def with_digits(text, digits):
    """The text, its digits changed to these in turn: of the same shape."""
    return "".join(
        digits[i % len(digits)] if character in "0123456789" else character
        for i, character in enumerate(text)
    )


@settings(deadline=None, max_examples=400)
@given(PAIRS, TEXTS, st.lists(st.text("0123456789", min_size=1, max_size=7), max_size=8))
@example([("A", r"\d{3}(?=0x)"), ("HEX", BUILT_IN["HEX"])], "1230x1f", ["1", "10", "0"])
@example([("HEX", BUILT_IN["HEX"])], "size 67108864", ["0", "6"])
@example([("FLAGS", r"(?i:A0)\S*")], "a1", ["0", "1"])
def test_whatever_is_remembered_the_masked_text_is_that_of_the_patterns(pairs, text, variants):
    remembering = LogMasker(pairs)
    texts = [text, *(with_digits(text, digits) for digits in variants)]
    assert len({digit_shape(text) for text in texts}) == 1
    for one in texts + texts:
        assert remembering.mask(one) == plainly_masked(pairs, one)


class Forgetful(TemplateMiner):
    """Templates that mask and look up each message anew."""

    def mask(self, message):
        return plainly_masked(self.masks, message.strip().partition("\n")[0])

    def _find(self, masked):
        self._known.clear()
        return super()._find(masked)


def same_templates(messages):
    """Whether all is the same with and without a memory, template for template."""
    remembering, forgetful = TemplateMiner(TemplateConfig()), Forgetful(TemplateConfig())
    learned = [(remembering.learn(one), forgetful.learn(one)) for one in messages]
    found = [(remembering.match(one), forgetful.match(one)) for one in messages]
    return all(a == b for a, b in learned + found) and remembering.dump() == forgetful.dump()


@settings(deadline=None, max_examples=60)
@given(st.lists(TEXTS, max_size=12), st.lists(st.text("0123456789", min_size=1), max_size=4))
def test_templates_are_the_same_as_without_a_memory(texts, variants):
    assert same_templates([*texts, *(with_digits(t, digits) for t in texts for digits in variants)])


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.name)
def test_templates_of_real_logs_are_the_same_as_without_a_memory(path):
    texts = [line.text for line in islice(read_lines([str(path)], 0.0), 600)]
    line_format = detect_format(texts, FormatConfig()).format
    parsed = [line_format.parse(text, 0.0) for text in texts]
    assert same_templates([fields.message for fields in parsed if fields is not None])


@pytest.mark.parametrize("name", BUILT_IN)
def test_of_the_built_in_masks_all_but_hex_see_the_shape_alone(name):
    assert DigitSensitivity(re.compile(BUILT_IN[name])).ignores_digits == (name != "HEX")


@pytest.mark.parametrize(
    ("pattern", "text", "places"),
    [
        (BUILT_IN["HEX"], "blk_123456789012 of size 67108864 from a", ["6"]),
        (r"0x\d", "no such thing 12", []),
        (r"0x\d", "a 1x12b, 3x4", ["1", "1", "2", "3", "4"]),
        (r"0 \d", "1 12 b", ["1", "1", "2"]),
        (r"(?:ab|c)0\d", "ab12 c3", ["ab12"]),
        (r"a(?:0\d|\d0)", "a12 a3", ["1", "2"]),
        (r"[^3]\d", "ab", ["ab"]),
        (r"(\d)\1", "12", ["12"]),
        (r"(?<=7)\d", "12", ["12"]),
        (r"\d+", "12", []),
    ],
)
def test_digits_matter_where_a_pattern_tells_them_apart(pattern, text, places):
    assert [
        text[start:end]
        for start, end in DigitSensitivity(re.compile(pattern)).sensitive_spans(text)
    ] == places


def test_numbers_of_eight_digits_are_few_cases_by_whether_they_begin_with_zero():
    remembering = LogMasker(select_masks(None, ()))
    found = {remembering.mask(f"req-{number:08}") for number in range(0, 10**8, 54_321)}
    assert found == {"req-<HEX>", "req-<NUM>"}
    assert remembering._count <= 11


def test_texts_of_one_shape_are_masked_once_and_no_more_than_a_bound_is_kept(monkeypatch):
    applied = []

    class Counting(LogMasker):
        def _apply(self, half, places):
            applied.append(half.text)
            return super()._apply(half, places)

    counting = Counting(select_masks(None, ()))
    assert counting.mask("took 12 ms") == counting.mask("took 98 ms") == "took <DURATION>"
    assert applied == ["took 12 ms"]
    requests = ["GET /a 200", "GET /a 404"]
    for _ in range(3):  # met first, then traced, then known
        assert [counting.mask(request) for request in requests] == requests
    assert applied[1:] == [*requests, "GET /a 200"]
    monkeypatch.setattr(masks, "MOST_KNOWN", 3)
    counting.mask("x")
    counting.mask("took 12 ms")
    assert applied[4:] == ["x", "took 12 ms"]
    long = "1 " * 501
    assert counting.mask(long) == counting.mask(long) == "<NUM> " * 501
    assert applied[6:] == [long, long]
