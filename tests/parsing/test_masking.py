"""Each mask's golden examples, what is kept, the advice, and time on hostile lines."""

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logmlm.errors import ConfigError
from logmlm.parsing.mask_advice import suggest_mask
from logmlm.parsing.masking import BUILT_IN, LogMasker, select_masks

DEFAULT = LogMasker(select_masks(None, ()))
WORDS = (
    *(
        "GET /a/b 200",
        "Jan 12 ",
        "12:13:14",
        "a://b",
        "?a=b",
        "550e8400-e29b-41d4-a716-446655440000",
    ),
    *(
        "aa:bb:cc:dd:ee:ff",
        "aa-bb-cc-dd-ee-ff",
        "a:b:c:d:e:f:a:b",
        "::1",
        "1.2.3.4",
        "a@b.c",
        "@abcd",
    ),
    *(
        "/a/b",
        "C:\\\\a",
        "0xff",
        "deadbeef1",
        "abcdefghi123",
        "1h",
        "5 KiB",
        "-1e5",
        "\u0661\u0662",
        " ",
    ),
)
PIECES = st.one_of(st.sampled_from(WORDS), st.text("aF09:-./@=?~\\\\ ", max_size=6))


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("at 2024-01-02T03:04:05.123Z or 10:11:12,5", "at <TIME> or <TIME>"),
        ("[10/Oct/2000:13:55:36 -0700] Tue Jun 14 15:16:01 2005", "[<TIME>] <TIME>"),
        ("Dec 10 06:55:46 GET 2024/01/02", "<TIME> GET <TIME>"),
        ("see http://a.b/c?d=1) hdfs://n:9/x", "see <URL>) <URL>"),
        ("id 550e8400-e29b-41d4-a716-446655440000.", "id <UUID>."),
        ("hw 00:1b:44:11:3a:b7 aa-bb-cc-dd-ee-ff", "hw <MAC> <MAC>"),
        ("10.0.0.1:80 /10.0.0.2 node/10.1.1.1:9: x", "<IP> <IP> node/<IP>: x"),
        ("fe80::1 ::1 [2001:db8::2]:80 1:2:3:4:5:6:7:8", "<IP> <IP> [<IP>]:<NUM> <IP>"),
        ("std::foo a::b on :: v1.2.3.4", "std::foo a::b on :: v1.<NUM>"),
        ("mail a.b+c@d-e.org, root@host", "mail <EMAIL>, root@host"),
        ("/etc/passwd: no (/var/log/x.log) ~/a/b.", "<PATH>: no (<PATH>) <PATH>."),
        ("/srv a/b/c C:\\Users\\x", "/srv a/b/c <PATH>"),
        ("0xFF deadbeef12 00100000 X@1ac5 facade", "<HEX> <HEX> <HEX> X@<HEX> facade"),
        ("jA9J1UvC004306: Slf4jLoggerFactory", "<ID>: Slf4jLoggerFactory"),
        ("12ms 0.5 s 1h30m 5 seconds", "<DURATION> <DURATION> <DURATION> <NUM> seconds"),
        ("93.0 KB 5GB 1024K 3MiB 12 bytes", "<SIZE> <SIZE> <SIZE> <SIZE> <NUM> bytes"),
        (
            "-5 +3.2 1,234.5 1e-5 x=5 12% .......0",
            "<NUM> <NUM> <NUM> <NUM> x=<NUM> <NUM>% .......<NUM>",
        ),
        ("blk_-69522 part-00590 core.22 eth0 ssh2", "blk_<NUM> part-<NUM> core.<NUM> eth0 ssh2"),
        ("GET /a/b/17?q=x&y=/z/z 404", "GET /a/b/<NUM>?<QUERY> 404"),
        ('"POST /api/users/9 HTTP/1.1" 503 77', '"POST /api/users/<NUM> HTTP/<NUM>" 503 <NUM>'),
        ("GET /a 200 then PUT /b 201 after 300", "GET /a 200 then PUT /b 201 after <NUM>"),
        ("", ""),
    ],
)
def test_each_mask_replaces_what_it_is_named_for(text: str, masked: str) -> None:
    assert DEFAULT.mask(text) == masked


@settings(deadline=None)
@given(st.text(max_size=60))
def test_text_without_digits_signs_or_slashes_is_left_alone(text: str) -> None:
    plain = re.sub(r"[\d/:@=?\\]", "", text)
    assert DEFAULT.mask(plain) == plain


def test_masks_of_the_users_own_go_first_and_can_keep_a_value() -> None:
    own = (("CODE", r"errno=(?P<keep>\d+)"), ("ROOM", r"(?<=room )\d+"))
    masks = LogMasker(select_masks(("NUM",), own))
    assert masks.mask("room 1 errno=13 at 7, errno=2") == "room <ROOM> errno=13 at <NUM>, errno=2"


def test_named_masks_are_applied_in_the_order_they_are_named() -> None:
    assert [name for name, _ in select_masks(("NUM", "IP"), ())] == ["NUM", "IP"]
    assert [name for name, _ in select_masks(None, ())] == list(BUILT_IN)
    assert select_masks((), ()) == ()


@pytest.mark.parametrize(
    ("pattern", "text"), [("(", "no regular expression"), ("x*", "matches the empty text")]
)
def test_a_pattern_that_can_not_be_used_is_named(pattern: str, text: str) -> None:
    with pytest.raises(ConfigError, match=f"mask BAD: .*{text}"):
        LogMasker([("BAD", pattern)])


UNITS = """1 a a1 1a 1. 1, /a / /. a. : 1: a: ::1 0x - f- @ a@ @a 1e ?= ?a= + a:// 1.1. 12:00:
C:\\ 1s 1s. ~/ = é 1h1 <NUM> /a, %/ 00 GET_ GET_/ Jan_1_ 1_ 2024-01-01_"""


@pytest.mark.parametrize("unit", UNITS.split())
def test_a_hostile_line_of_100_kb_takes_under_a_second(unit: str) -> None:
    line = unit.replace("_", " ") * (100_000 // len(unit)) + "!g"
    start = time.process_time()
    DEFAULT.mask(line)
    assert time.process_time() - start < 1


@pytest.mark.parametrize(
    ("texts", "pattern"),
    [
        (["user ann left", "user bob left", "user zoe left"], r"(?<=user )\S++"),
        (["ann left", "bob left", "zoe left"], r"(?<!\S)\S++(?= left)"),
        (["it's a", "it's b", "it's c"], r"(?<=it''s )\S++"),
    ],
)
def test_advice_is_a_mask_by_the_words_around(texts: list[str], pattern: str) -> None:
    assert suggest_mask(texts).endswith(f"{{name: WORD, pattern: '{pattern}'}}")


def test_advice_without_words_around_or_without_likeness_names_the_templates() -> None:
    assert "'ann', 'bob', 'zoe'; write a mask" in suggest_mask(["ann", "bob", "zoe"])
    assert "such as 'a b', 'c d e'" in suggest_mask(["a b", "c d e"])
    assert suggest_mask([" ".join("abc" * 30)] * 3).startswith("Mask what varies")


@given(st.lists(PIECES, max_size=4).map("".join))
def test_what_a_mask_needs_is_in_every_text_that_it_matches_in(text):
    for mask in (*DEFAULT._masks, *DEFAULT._keeps):
        assert mask.may_match(text) or not mask.regex.search(text)


@pytest.mark.parametrize("text", ["?" * 100, "\u0661" * 100, "plain words alone"])
def test_no_mask_is_tried_on_a_text_that_lacks_what_it_needs(text):
    assert [mask.text for mask in DEFAULT._masks if mask.may_match(text)] == []


def test_a_mask_of_a_users_is_always_tried():
    (mask,) = LogMasker([("NUM", "[a-z]{3}")])._masks
    assert mask.may_match("?")
