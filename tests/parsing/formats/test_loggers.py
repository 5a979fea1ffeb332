"""Lines of loggers that write JSON, on every path that a line takes."""

from collections import Counter
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from logmlm.config.kafka import KafkaSourceConfig
from logmlm.config.training import FormatConfig
from logmlm.parsing.batches import ParserSpec, ReparseOnDemand, by_partition, from_wire
from logmlm.parsing.event_parser import EventParser
from logmlm.parsing.formats import detect_format, get_format
from logmlm.parsing.keys import KeyExtractor
from logmlm.parsing.masking import select_masks
from logmlm.parsing.shape_parser import make_line_parser, to_columns
from logmlm.records import LogLine
from logmlm.sources.kafka.records import RecordDecoder

CASES = yaml.safe_load(
    (Path(__file__).parents[2] / "data/json_golden.yaml").read_text(encoding="utf-8")
)
NAMES = [case["logger"] for case in CASES]
JSON = FormatConfig(name="json")
RECEIVED = 1_796_000_000.0


def line_of(text, partition="p"):
    return LogLine(text, partition, 0, 1, RECEIVED, 1)


def by_rows(config, text):
    return get_format(config).parse(text, RECEIVED)


def by_columns(config, text):
    (found,) = (
        make_line_parser(get_format(config), KeyExtractor(None)).parse([text], [RECEIVED]).deferred
    )
    return found


def by_processes(config, text):
    line = line_of(text)
    packed = ParserSpec(config, None, select_masks(None, ())).packer()(*to_columns([line]))
    found = from_wire(packed, ReparseOnDemand(get_format(config))).at(0, line)
    assert found.timestamp == found.fields.timestamp
    return found.fields


def by_kafka(config, text):
    told = {"bootstrap_servers": "a:1", "topics": "t", "auto_offset_reset": "earliest"}
    reader = RecordDecoder(KafkaSourceConfig(**told, value="json"), Counter())
    record = SimpleNamespace(
        topic="t", partition=0, offset=0, timestamp=1, key=None, value=text.encode(), headers=()
    )
    lines, letters = reader.read([record], "t/0", RECEIVED)
    assert letters == []
    (event,) = EventParser(get_format(config), None, str).feed(lines)
    return event.fields


@pytest.mark.parametrize("read", [by_rows, by_columns, by_processes, by_kafka])
@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_a_line_of_each_logger_is_read_as_its_reader_would(case, read):
    check(read(JSON, case["line"]), case)


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_auto_takes_it_for_json(case):
    assert detect_format([case["line"]], FormatConfig()).format.name == "json"


@pytest.mark.parametrize("read", [by_rows, by_columns, by_processes])
@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_in_the_lines_of_a_container_it_is_the_same(case, read):
    fields = read(FormatConfig(name="cri"), f"2026-11-21T10:00:09Z stderr F {case['line']}")
    outer = {"time": "2026-11-21T10:00:09Z"} if "time" not in case else {}
    check(fields, case | outer)
    assert fields.attributes["log.iostream"] == "stderr"


def check(fields, case):
    expected = case.get("time") and datetime.fromisoformat(case["time"]).timestamp()
    assert fields.timestamp == (expected and pytest.approx(expected, abs=1e-5))
    assert (fields.level, fields.message) == (case.get("level", ""), case["message"])
    wanted = case.get("attributes", {})
    assert {name: fields.attributes.get(name) for name in wanted} == wanted


def test_records_over_the_first_of_a_line_are_counted_whoever_parses_it():
    texts = [case["line"] for case in CASES if "log.records" in case.get("attributes", {})]
    own = ('"x"', '"²"', "-3", "0", "9" * 99)
    texts += [f'{{"msg": "a", "log.records": {value}}}' for value in own]
    lines = [LogLine(text, "p", i, i + 1, RECEIVED, i + 1) for i, text in enumerate(texts)]
    rows, processes = (
        EventParser(get_format(JSON), None, str),
        EventParser(get_format(JSON), None, str),
    )
    rows.feed(lines)
    pack, again = (
        ParserSpec(JSON, None, select_masks(None, ())).packer(),
        ReparseOnDemand(get_format(JSON)),
    )
    for batch in by_partition(lines):
        processes.feed_batch(batch, from_wire(pack(*to_columns(batch.lines)), again))
    assert rows.joined == processes.joined == {"continuation": 0, "further_record": 3}
    assert rows.unmatched == (0, 7)
