"""Kinds of lines that are easily misread give the right events on every path.

Each case of `inputs_golden.yaml` is read from a real file, or sent to a real syslog source. It is
parsed line by line, by columns, and as another process parses it.
"""

import pickle
import socket
import time
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest
import yaml

from logmlm.config.sources import SyslogSourceConfig
from logmlm.config.training import FormatConfig
from logmlm.parsing.batches import ParserSpec, ReparseOnDemand, batch_lines, from_wire
from logmlm.parsing.event_parser import EventParser
from logmlm.parsing.formats import EventAssembler, attribute, detect_format, get_format, join_all
from logmlm.parsing.formats.levels import level_name
from logmlm.parsing.masking import select_masks
from logmlm.parsing.shape_parser import to_columns
from logmlm.sources.archive.reader import read_lines
from logmlm.sources.syslog.source import SyslogSource

NOW = datetime.fromisoformat("2026-12-01T00:00:00Z").timestamp()
PATIENCE_S = 60.0
CASES = yaml.safe_load(
    (Path(__file__).parents[1] / "data/inputs_golden.yaml").read_text(encoding="utf-8")
)
NOT_YET = frozenset()
"""Names of cases that still fail; one that passes must leave this set."""


def text_of(written):
    """A case's text: `\\0` and `\\e` stand for NUL and ESC."""
    return written.replace("\\0", "\0").replace("\\e", "\x1b")


def lines_of(case, folder):
    """The lines of a case, as a source hands them over."""
    source = case.get("source")
    if source is None:
        path = folder / "case.log"
        path.write_text("".join(f"{text_of(line)}\n" for line in case["lines"]), encoding="utf-8")
        return list(read_lines([str(path)], NOW))
    if source == "syslog":
        return sent([text_of(line).encode() for line in case["lines"]], "udp", len(case["expect"]))
    return sent([text_of(case["raw"]).encode()], "tcp", len(case["expect"]))


def sent(messages, kind, count):
    """The lines of a syslog source that is sent messages, while the sender is still connected."""
    source = SyslogSource(SyslogSourceConfig(**{kind: "127.0.0.1:0"}), clock=lambda: NOW)
    with closing(source):
        (name,) = source.checkpoints()
        where = "127.0.0.1", int(name.rpartition(":")[2])
        of_kind = socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM
        with socket.socket(type=of_kind) as client:
            client.connect(where)
            for message in messages:
                client.sendall(message)
            lines, deadline = [], time.monotonic() + PATIENCE_S
            while len(lines) < count and time.monotonic() < deadline:
                lines += source.poll(0.05)
    return lines


def config_of(case, lines):
    """The line format that a case names, or the one that its lines show."""
    timezone = case.get("timezone", "UTC")
    name = case.get("format", "syslog")
    if name == "auto":
        name = detect_format(
            [line.text for line in lines], FormatConfig(timezone=timezone)
        ).format.name
    return FormatConfig(name=name, timezone=timezone)


def by_rows(config, lines):
    line_format = get_format(config)
    one, parse = EventAssembler(line_format), line_format.parse
    whole = [
        (line, parse(line.text, line.received_at)) for line in join_all(lines, config.multiline)
    ]
    found = [event for line, fields in whole for event in one.add(line, fields)] + one.flush()
    return [(fields.fields, timestamp) for _, fields, timestamp in found]


def by_columns(config, lines):
    reader = EventParser(get_format(config), None, str, config.multiline)
    first = seen(reader.feed(lines) + reader.flush())
    again = [line._replace(partition="again") for line in lines]  # all shapes are known now
    assert seen(reader.feed(again) + reader.flush()) == first
    return first


def by_processes(config, lines):
    parsing = ParserSpec(config, None, select_masks(None, ()))
    pack, again = pickle.loads(pickle.dumps(parsing)).packer(), ReparseOnDemand(get_format(config))  # noqa: S301  our own
    reader = EventParser(get_format(config), None, str, config.multiline)
    events = []
    for batch in batch_lines(lines, config.multiline):
        packed = pickle.loads(pickle.dumps(pack(*to_columns(batch.lines))))  # noqa: S301  our own
        events += reader.feed_batch(batch, from_wire(packed, again))
    return seen(events + reader.flush())


def seen(events):
    return [(event.fields, event.timestamp) for event in events]


def param(case):
    fails = case["name"] in NOT_YET
    marks = [pytest.mark.xfail(strict=True, reason="not mended yet")] if fails else []
    return pytest.param(case, id=case["name"], marks=marks)


@pytest.mark.parametrize("read", [by_rows, by_columns, by_processes])
@pytest.mark.parametrize("case", [param(case) for case in CASES])
def test_lines_are_the_events_that_a_reader_sees(case, read, tmp_path):
    lines = lines_of(case, tmp_path)
    events = read(config_of(case, lines), lines)
    assert [
        described(*event, expect) for event, expect in zip(events, case["expect"], strict=False)
    ] == [wanted(expect) for expect in case["expect"]]
    assert len(events) == len(case["expect"])


def wanted(expect):
    known = {
        name: value for name, value in expect.items() if name not in ("time", "level", "holds")
    }
    if "time" in expect:
        known["time"] = (
            NOW
            if expect["time"] == "of receipt"
            else pytest.approx(datetime.fromisoformat(expect["time"]).timestamp(), abs=1e-5)
        )
    if "level" in expect:
        known["level"] = level_name(expect["level"])  # events have one spelling of each level
    return known | {"holds": expect.get("holds", [])}


def described(fields, timestamp, expect):
    """What of an event is asked for, in the words of the case."""
    all_of = {
        "time": timestamp,
        "level": fields.level,
        "message": fields.message,
        "client": attribute(fields, "client"),
    }
    held = [word for word in expect.get("holds", []) if word in fields.message]
    return {name: all_of[name] for name in expect if name != "holds"} | {"holds": held}


def test_every_name_of_a_case_that_still_fails_is_one_of_a_case():
    assert {case["name"] for case in CASES} >= NOT_YET
