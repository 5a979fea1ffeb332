"""Lines parsed by their shapes are parsed as the format, the key and the masks say."""

import re
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from logmlm.config.training import CustomFormat, FormatConfig
from logmlm.parsing import shape_parser as layouts
from logmlm.parsing.formats import attribute, get_format
from logmlm.parsing.keys import KeyExtractor
from logmlm.parsing.masking import LogMasker, select_masks
from logmlm.parsing.parsed import ParsedLine
from logmlm.parsing.shape_parser import make_line_parser
from logmlm.records import LogLine
from logmlm.sources.archive.reader import read_lines

RECORDED = Path(__file__).parents[2] / "sample_logs/postgresql/normal.log.gz"
NOW = 1_790_000_000.0
CUSTOM = FormatConfig(
    name="own",
    custom={
        "own": CustomFormat(
            pattern=r"(?P<timestamp>\w{3} \d\d) (?P<level>\w+)"
            r"(?: \[(?P<unit>.*?)\])? (?P<message>.*)",
            timestamp_format="%b %d",
        )
    },
)
LINES = {
    "postgresql": [
        "2026-11-21 14:57:34.129 UTC [14147] LOG:  listening on port 15432 ",
        "2026-11-21 14:57:34.129 +02 [14147] a@b LOG:  took 12 ms",
        "2026-11-21 14:57:34.1291234 UTC [14147] a@b DEBUG1:  took 12 ms",
        "2026-11-21 14:57:34,5 CET [14147] a@b ERROR:  0x12345678 of c394@example.org",
        "9999-12-31 23:59:59.5 UTC [1] LOG:  ",
        "\n2026-11-21 14:57:34 UTC [1] LOG:  a 1\nat 2",
        "\tat a.b(c.java:12)",
    ],
    "hdfs": ["081109 203518 143 INFO dfs.DataNode$Responder: blk_-16089 of 10.250.19.102:50010"],
    "hadoop": ["2026-11-21 14:57:34,978 INFO [main-1] a.b.C7: did 1 of 12"],
    "bgl": ["- 1117838570 2005.06.03 R02-M1-N0 2005-06-03-15.42.50.675872 R02 RAS KERNEL INFO 1 x",
            "E5 1117838570 2005.06.03 - 2005-06-03-15.42.50.675872 R02 RAS KERNEL FATAL"],
    "cri": ["2026-11-21T07:00:00.123Z stdout F req-12 in 3", "2026-11-21T07:00:00Z stdout P a1",
            '2026-11-21T07:00:00Z stdout F {"msg":"a 1","n":0,"ts":1795255200.5,"level":30}',
            "2026-11-21T07:00:00Z stderr F ts=2026-11-21T07:00:09Z level=info msg=took12"],
    "iso8601": ["2026-11-21T14:57:34+02:00 [warn1]: 12", "2026-11-21 14:57:34 ERR a 12 b"],
    "redis": ["12:M 06 May 2026 07:00:00.123 * ready 1", "1:S 06 May 07:00:00.123 # 2 of 3"],
    "syslog": [
        "Nov 21 14:57:34 host1 sshd[142]: from 10.0.0.1 port 12",
        "<34>Nov 21 14:57:34 host1 su: 'su 1' failed",
        "<191>Nov 21 14:57:34 host1 su: 1",
        "2026-11-21T14:57:34.129+02:00 host1 cron[7]: (root) CMD 12",
        "Nov  2 04:05:06 host1 message repeated 12 times",
    ],
    "kafka": [
        "[2026-11-21 14:57:34,129] INFO [Broker id=1] took 12 ms (kafka.log.Log1)",
        "[2026-11-21 14:57:34,129] WARN no logger 1",
    ],
    "nginx": [
        "2026/11/21 14:57:34 [error] 12#13: *14 open() failed (2: No), client: 10.0.0.1, "
        'server: a1, request: "GET /a1?b=2 HTTP/1.1", host: "h1:80"',
        "2026/11/21 14:57:34 [notice] 12#13: signal 15 received",
        "2026/11/21 14:57:34 [notice] 12#13: , client: 10.0.0.1",
    ],
    "apache": [
        "[Sat Nov 21 14:57:34.129 2026] [core:error] [pid 12:tid 13] [client 10.0.0.1:54] 1",
        "[Sat Nov 21 14:57:34 2026] [error] [client 10.0.0.1] no file1, referer: http://a1/",
        "[Sat Nov 21 14:57:34.129 2026] [mpm:notice] [pid 12] AH00489: 1 at 2",
    ],
    "access": ['10.0.0.1 - u1 [21/Nov/2026:14:57:34 +0200] "GET /a1?b=2 HTTP/1.1" 200 12'],
    "plain": ["a 1"],
    "dmesg": [
        "[    1.000000] a 1",
        "<3>[12.345678] b 2",
        "[Sat Nov 21 14:57:34 2026] usb 1-1: c",
    ],
    "iis": ["2026-11-21 14:57:34 10.0.0.1 GET /c1 - 443 - 203.0.113.9 curl/8 - 500 0 64 187"],
    "jul": ["Nov 21, 2026 2:57:34 PM a.B c\nSEVERE: refused 17", "at a.b(c.java:12)"],
    "klog": ["I1121 14:57:34.129123   12345 controller.go:114] Starting 7"],
    "go": ["2026/11/21 14:57:34 INFO took 12 ms", "2026/11/21 14:57:34.129 a.go:7: b 1"],
    "logcat": ["11-21 14:57:34.129  1702  2395 D WindowManager: took 12 ms"],
    "logfmt": ['ts=2026-11-21T14:57:34.129Z level=error msg="refused 17" order=17', "a 1"],
    "mysql": [
        "2026-11-22  5:34:20 331 [Warning] Access denied 12",
        "2026-11-21T14:57:34.129123Z 0 [System] [MY-010116] [Server] started 1",
    ],
    "python": ["2026-11-21 14:57:34,129 - shop.pay7 - ERROR - refused 17"],
    "rails": ['Started GET "/c?i=7" for 203.0.113.9 at 2026-11-21 14:57:34 +0000 ', "  Rendered 7"],
    "spring": ["2026-11-21T14:57:34.129+01:00  INFO 17 --- [shop] [main-1] c.e.A : in 2.1 s"],
    "auditd": ["type=SYSCALL msg=audit(1795273054.243:24287): arch=c000003e pid=3538"],
    "own": ["Nov 21 INFO [u1] a 1", "Nov 21 W2 a 1 ", "Feb 30 INFO [-]  "],
}  # fmt: skip
KEYS = (None, "pid", "unit", "host", "user", r"blk_(-?\d+)|[01]{2}", r"\d(\d)?")
MASKS = LogMasker(select_masks(None, ()))


def parsed(given, texts, now=NOW):
    """What is found in each text, all of them parsed at once, and then once more: all are known."""
    lines = [LogLine(text, "p", 0, 1, now) for text in texts]
    for _ in range(2):
        found = given.parse(texts, [now] * len(texts))
        each = [found.at(place, line) for place, line in enumerate(lines)]
        odd = [place for place, one in enumerate(each) if not isinstance(one, ParsedLine)]
        assert found.irregular == odd
    return each


def seen(fields, key_of):
    """What a line says, with the key; and what masks make of its message, if that is told."""
    if fields is None:
        return None
    key = fields.key if isinstance(fields, ParsedLine) else key_of(fields, attribute)
    masked = fields.masked if isinstance(fields, ParsedLine) else None
    message = fields.fields.message
    if isinstance(fields, ParsedLine):
        assert fields.rest.message(fields.line) == message
    assert fields.timestamp == fields.fields.timestamp
    masked = MASKS.mask_message(message) if masked is None else masked
    return fields.fields, fields.partial, key, masked


def form(name):
    return get_format(CUSTOM if name == "own" else FormatConfig(name=name))


CASES = [pytest.param(name, key, id=f"{name}-{key}") for name in LINES for key in KEYS]


@pytest.mark.parametrize(("name", "key"), CASES)
@settings(max_examples=12, deadline=None)
@given(digits=st.lists(st.text("0123456789", min_size=40, max_size=40), min_size=1, max_size=4))
@example(digits=["0" * 40, "7" * 40, "20261121145734" * 3, "20261121145775" * 3, "9999" + "9" * 36])
def test_lines_of_one_shape_are_parsed_as_one_by_one(name, key, digits):
    line_format, key_of = form(name), KeyExtractor(key)
    parse = make_line_parser(line_format, key_of, LogMasker(select_masks(None, ())))
    texts = []
    for line in LINES[name]:
        for number in ["", *digits, ""]:
            left = iter(number)
            texts.append(re.sub(r"\d", lambda old, left=left: next(left, old[0]), line))
    expected = [seen(form(name).parse(text, NOW), key_of) for text in texts]
    assert [seen(one, key_of) for one in parsed(parse, texts)] == expected
    for text, one in zip(texts, expected, strict=True):
        assert [seen(fields, key_of) for fields in parsed(parse, [text])] == [one]


@pytest.mark.parametrize("key", ["pid", r"=(\d+)"])
def test_recorded_lines_are_parsed_as_one_by_one_and_most_by_their_shapes(key):
    texts = [line.text for line in islice(read_lines([str(RECORDED)], 0.0), 5_000)]
    line_format, key_of = form("postgresql"), KeyExtractor(key)
    parse = make_line_parser(line_format, key_of, LogMasker(select_masks(None, ())))
    found = parsed(parse, texts)
    assert [seen(each, key_of) for each in found] == [
        seen(form("postgresql").parse(text, NOW), key_of) for text in texts
    ]
    assert sum(isinstance(each, ParsedLine) for each in found) > 0.9 * len(texts)
    assert sum(isinstance(each, ParsedLine) and each.masked is not None for each in found) > 4_500


def test_a_time_without_a_year_is_of_the_year_of_each_line():
    parse = make_line_parser(form("own"), KeyExtractor(None))
    nows = [NOW + years * 366 * 86_400 for years in (0, 0, 0, 1, 1, 2)]
    times = parse.parse(["Nov 21 INFO a"] * len(nows), nows).times
    assert times == [form("own").parse("Nov 21 INFO a", now).timestamp for now in nows]
    assert len(set(times)) == 3


@given(seconds=st.lists(st.integers(0, 99), min_size=1), offset=st.integers(-90, 90))
def test_a_year_is_guessed_by_the_second(seconds, offset):
    """A time is of this year until it lies more than a day ahead, and of the last one then."""
    limit = datetime(2026, 11, 21, 14, 57, tzinfo=UTC).timestamp() - 86_400 + offset
    texts = [f"Nov 21 14:57:{second:02} host app: a" for second in seconds]
    parse = make_line_parser(form("syslog"), KeyExtractor(None))
    expected = [form("syslog").parse(text, limit) for text in texts]
    found = [one.timestamp for one in parsed(parse, texts, limit)]
    assert found == [fields.timestamp for fields in expected]


def test_shapes_are_forgotten_when_there_are_many(monkeypatch):
    monkeypatch.setattr(layouts, "MOST_KNOWN", 3)
    parse = make_line_parser(form("own"), KeyExtractor(None))
    kept = []
    for word in "abcdefgh":
        assert isinstance(parsed(parse, [f"Nov 21 INFO {word}"])[0], ParsedLine)
        kept.append(len(parse._known))
    assert kept == [1, 2, 3, 1, 2, 3, 1, 2]


def test_a_long_line_is_parsed_but_not_remembered():
    parse = make_line_parser(form("own"), KeyExtractor(None))
    text = "Nov 21 INFO " + "a" * 2_000
    assert [type(parsed(parse, [text])[0]) is ParsedLine for _ in range(3)] == [False] * 3
    assert parse._known == {}
