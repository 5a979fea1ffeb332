"""Events assembled from lines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logmlm.config.training import FormatConfig, WindowConfig
from logmlm.detection.windows import Windower
from logmlm.parsing.event_parser import EventParser
from logmlm.parsing.formats import AssembledLine, EventAssembler, detect_format, get_format
from logmlm.records import Checkpoint, LogLine

EVENT = "2024-03-14T10:00:0{} INFO event {}"
START = 1710410400.0


def assembler(
    name: str = "iso8601", max_lines: int = 500, max_chars: int = 65536
) -> EventAssembler:
    return EventAssembler(get_format(FormatConfig(name=name)), max_lines, max_chars)


def finished(name: str = "syslog") -> EventAssembler:
    return EventAssembler(get_format(FormatConfig(name=name)), finished=True)


def lines(texts: Sequence[str], partition: str = "p", received_at: float = 5.0) -> list[LogLine]:
    """Lines as a source hands them over: positions in bytes, numbers from 1."""
    position = 0
    made = []
    for number, text in enumerate(texts, 1):
        end = position + len(text) + 1
        made.append(LogLine(text, partition, position, end, received_at, number))
        position = end
    return made


def fed(one: EventAssembler, line: LogLine) -> list[AssembledLine]:
    """Return the events that a line completes, parsed by the assembler's own line format."""
    return one.add(line, one._format.parse(line.text, line.received_at))


def run(one: EventAssembler, given_lines: Sequence[LogLine]) -> list[AssembledLine]:
    return [event for line in given_lines for event in fed(one, line)] + one.flush()


def test_a_stack_trace_is_joined_to_the_line_before_it() -> None:
    texts = [EVENT.format(0, 0), "java.lang.Error", "", "\tat a.B", EVENT.format(1, 1)]
    (first, fields, timestamp), (second, _, _) = run(assembler(), lines(texts))
    assert first.text == "\n".join(texts[:4])
    assert (first.start, first.end, first.number) == (0, second.start, 1)
    assert (fields.message, timestamp) == ("event 0", START)
    assert (second.text, second.number, second.start) == (texts[4], 5, first.end)


def test_a_message_that_is_whole_goes_on_with_none_and_is_waited_with_for_none() -> None:
    one = assembler()
    texts = [EVENT.format(0, 0), "of another host", "", EVENT.format(1, 1)]
    given = [line._replace(is_whole=True) for line in lines(texts)]
    first, alien, blank, second = ([line for line, _, _ in fed(one, each)] for each in given)
    assert (first, alien, blank, second) == ([given[0]], [], [], [given[3]])
    assert one.flush() == []
    assert one.discarded == {"unmatched": 1, "blank": 1}
    assert one.joined == 0


def test_lines_that_were_joined_are_counted() -> None:
    one = assembler(max_lines=3)
    run(one, lines([EVENT.format(0, 0), " at a", " at b", " at c", EVENT.format(1, 1), "d"]))
    assert (one.joined, one.discarded) == (3, {"too_long": 1})


def test_the_last_event_is_held_back_until_the_next_one_starts() -> None:
    one = assembler()
    first, second = lines([EVENT.format(0, 0), EVENT.format(1, 1)])
    assert fed(one, first) == []
    assert [line for line, _, _ in fed(one, second)] == [first]
    assert [line for line, _, _ in one.flush()] == [second]
    assert one.flush() == []


def test_nothing_is_held_back_where_an_event_has_one_line_for_certain() -> None:
    one = assembler("json")
    good, bad, blank = lines(['{"msg": "m"}', "\tat a.B", "  "])
    assert [line for line, _, _ in fed(one, good)] == [good]
    assert fed(one, bad) == fed(one, blank) == one.flush() == []
    assert one.discarded == {"unmatched": 1, "blank": 1}


def test_a_continuation_with_nothing_before_it_is_counted() -> None:
    one = assembler()
    assert run(one, lines(["\tat a.B", "", EVENT.format(0, 0)]))[0][0].number == 3
    assert one.discarded == {"orphan_continuation": 1, "blank": 1}


def test_partitions_are_kept_apart() -> None:
    one = assembler()
    a, a_more = lines([EVENT.format(0, 0), "\tmore of a"], "a")
    b, b_more = lines([EVENT.format(1, 1), "\tmore of b"], "b")
    for line in (a, b, a_more, b_more):
        assert fed(one, line) == []
    assert [line.text for line, _, _ in one.flush("b")] == [f"{b.text}\n{b_more.text}"]
    assert one.flush("b") == one.flush("unknown") == []
    assert [line.text for line, _, _ in one.flush()] == [f"{a.text}\n{a_more.text}"]


def test_a_partition_that_went_quiet_is_released_and_no_other() -> None:
    one = assembler()
    (quiet,) = lines([EVENT.format(0, 0)], "quiet")
    (busy,) = lines([EVENT.format(0, 1)], "busy")
    fed(one, quiet)
    fed(one, busy)
    assert one.held_partitions() == ["quiet", "busy"]
    assert one.flush_due({"quiet": 0.9, "unknown": 9.0}) == []
    assert [line for line, _, _ in one.flush_due({"quiet": 1.0, "busy": 0.9})] == [quiet]
    assert one.flush_due({"quiet": 2.0}) == []
    assert one.held_partitions() == ["busy"]
    assert [line for line, _, _ in one.flush_due({"busy": 0.9}, quiet_s=0.5)] == [busy]


def test_a_line_that_was_received_long_ago_is_held_back_as_long_as_more_may_wait() -> None:
    one = assembler()
    (old,) = lines([EVENT.format(0, 0)], received_at=-1e9)
    fed(one, old)
    assert one.flush_due({}) == []
    assert one.held_partitions() == ["p"]


def test_a_line_without_a_time_takes_that_of_the_line_before_it_in_its_partition() -> None:
    one = assembler("json")
    timed, untimed = '{"msg": "a", "ts": 1710410400}', '{"msg": "b"}'
    events = run(one, [*lines([untimed, timed, untimed, untimed]), *lines([untimed], "q", 7.0)])
    assert [timestamp for _, _, timestamp in events] == [5.0, START, START, START, 7.0]


def test_an_event_keeps_no_more_lines_than_the_limit_and_passes_them_all() -> None:
    one = assembler(max_lines=3)
    given_lines = lines([EVENT.format(0, 0), *[f"\tat {number}" for number in range(5)]])
    ((line, _, _),) = run(one, given_lines)
    assert line.text.split("\n") == [given_lines[0].text, "\tat 0", "\tat 1"]
    assert line.end == given_lines[-1].end
    assert one.discarded == {"too_long": 3}


def test_an_event_keeps_no_more_characters_than_the_limit_but_its_first_line() -> None:
    first = EVENT.format(0, 0)
    one = assembler(max_chars=len(first) + 4)
    assert run(one, lines([first, "abc", "d"]))[0][0].text == f"{first}\nabc"
    assert one.discarded == {"too_long": 1}
    assert run(assembler(max_chars=3), lines([first]))[0][0].text == first


CRI = "2024-03-14T10:00:00Z {} {} {}"


def test_parts_of_a_kubernetes_line_are_joined_to_one_message() -> None:
    texts = [
        CRI.format("stdout", "P", "one "),
        CRI.format("stdout", "P", "and two "),
        CRI.format("stdout", "F", "and three"),
        CRI.format("stdout", "F", "four"),
    ]
    one = assembler("cri")
    given_lines = lines(texts)
    assert [fed(one, line) for line in given_lines[:2]] == [[], []]
    ((joined, fields, timestamp),) = fed(one, given_lines[2])
    assert (fields.message, timestamp) == ("one and two and three", START)
    assert joined.text == "\n".join(texts[:3])
    assert (joined.start, joined.end) == (0, given_lines[2].end)
    assert fed(one, given_lines[3])[0][1].message == "four"
    assert one.flush() == []


def test_a_part_whose_rest_never_comes_is_released_as_it_is() -> None:
    one = assembler("cri")
    cut, other = lines([CRI.format("stdout", "P", "half"), CRI.format("stderr", "F", "whole")])
    assert fed(one, cut) == fed(one, other) == []
    assert [fields.message for _, fields, _ in one.flush()] == ["half", "whole"]
    fed(one, cut)
    assert [fields.message for _, fields, _ in one.flush()] == ["half"]
    fed(one, cut)
    assert fed(one, LogLine("no match", "p", 0, 9, 5.0)) == []
    assert [fields.message for _, fields, _ in one.flush()] == ["half"]
    assert one.discarded == {"unmatched": 1}


LATER = "2024-03-14T10:00:0{}Z {} {} {}"


def test_parts_of_two_streams_are_joined_each_by_itself_in_the_order_of_their_first_lines() -> None:
    texts = [
        LATER.format(0, "stdout", "P", "out one "),
        LATER.format(0, "stderr", "P", "err one "),
        LATER.format(1, "stderr", "F", "err two"),
        LATER.format(1, "stdout", "P", "out two "),
        LATER.format(1, "stderr", "F", "whole"),
        LATER.format(2, "stdout", "F", "out three"),
        LATER.format(3, "stdout", "F", "next"),
    ]
    one, given_lines = assembler("cri"), lines(texts)
    assert [fed(one, line) for line in given_lines[:5]] == [[]] * 5
    assert one.has_pending("p")
    assert one.held_partitions() == ["p"]
    events = fed(one, given_lines[5])
    assert [fields.message for _, fields, _ in events] == [
        "out one out two out three",
        "err one err two",
        "whole",
    ]
    assert not one.has_pending("p")
    assert [line.start for line, _, _ in events] == [given_lines[i].start for i in (0, 1, 4)]
    assert {line.end for line, _, _ in events} == {given_lines[5].end}
    assert [fields.message for _, fields, _ in fed(one, given_lines[6])] == ["next"]


def test_reading_can_not_begin_between_the_parts_of_a_line() -> None:
    texts = [
        CRI.format("stdout", "F", "before"),
        CRI.format("stdout", "P", "half "),
        CRI.format("stderr", "F", "between"),
        CRI.format("stdout", "F", "half"),
        CRI.format("stdout", "F", "after"),
    ]
    one, given_lines = assembler("cri"), lines(texts)
    run(one, given_lines)
    inside = [one.is_inside("p", line.start) for line in given_lines]
    assert inside == [False, False, True, True, False]
    again = assembler("cri")
    again.adopt(one)
    assert not again.is_inside("p", given_lines[2].start), "what is passed is forgotten"
    assert not again.is_inside("unknown", 5)


STREAMS = st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.booleans()), max_size=24)
KINDS = st.sampled_from(
    [WindowConfig(kind="count", size=3), WindowConfig(kind="session", key="stream", gap=2, size=4)]
)


def windows_until(
    given_lines: Sequence[LogLine], window: WindowConfig, at: Checkpoint, crash: int
) -> tuple[set[tuple[str, ...]], Checkpoint]:
    """The windows of the lines before a crash, if there is one; and where to read again."""
    reader = EventParser(get_format(FormatConfig(name="cri")), "stream", str)
    windower = Windower(window)
    windower.resume("p", at)
    windows, readable = [], at
    for line in given_lines[:crash]:
        windows += windower.add(reader.feed([line]))
        checkpoint = windower.checkpoint("p")
        if checkpoint and not reader.is_inside("p", checkpoint.safe):
            readable = checkpoint
    if crash >= len(given_lines):
        windows += windower.add(reader.flush()) + windower.close_all()
    return {tuple(e.fields.message for e in each.events) for each in windows}, readable


@settings(max_examples=150, deadline=None)
@given(streams=STREAMS, window=KINDS, data=st.data())
def test_a_crash_anywhere_among_parts_changes_no_window(
    streams: list[tuple[str, bool]], window: WindowConfig, data: st.DataObject
) -> None:
    texts = [
        f"2024-03-14T10:00:{i:02}Z {stream} {'P' if part else 'F'} {i}."
        for i, (stream, part) in enumerate(streams)
    ]
    given_lines, start = lines(texts), Checkpoint(0, 0, None)
    expected, _ = windows_until(given_lines, window, start, len(texts))
    crash = data.draw(st.integers(0, max(0, len(texts) - 1)))
    before, at = windows_until(given_lines, window, start, crash)
    rest = [line for line in given_lines if line.start >= at.safe]
    after, _ = windows_until(rest, window, at, len(rest))
    assert before | after == expected


def test_what_waits_for_the_rest_of_a_line_is_bounded_by_number_and_by_time() -> None:
    one = assembler("cri")
    texts = [CRI.format("stdout", "P", "half "), *[CRI.format("stderr", "F", "e")] * 600]
    counts = [len(fed(one, line)) for line in lines(texts)]
    assert counts == [*[0] * 500, 501, *[1] * 100]
    late = [
        LATER.format(0, "stdout", "P", "half "),
        LATER.format(5, "stderr", "F", "5 s"),
        LATER.format(6, "stderr", "F", "6 s"),
        LATER.format(7, "stdout", "F", "half"),
    ]
    assert [len(fed(one, line)) for line in lines(late)] == [0, 0, 3, 1]


def test_a_record_that_was_cut_is_read_once_it_is_whole() -> None:
    texts = [
        CRI.format("stdout", "P", '{"level": "error", "msg": "payment '),
        CRI.format("stderr", "F", "between"),
        CRI.format("stdout", "F", 'refused", "order": 17}'),
    ]
    (line, fields, _), (_, between, _) = run(assembler("cri"), lines(texts))
    assert (fields.level, fields.message, fields.partial) == ("ERROR", "payment refused", False)
    assert fields.attributes["order"] == "17"
    assert between.message == "between"
    again = get_format(FormatConfig(name="cri")).parse(line.text, 0.0)
    assert again == fields, "as after a change of the model"


def test_parts_of_a_docker_line_are_joined() -> None:
    record = {"stream": "stdout", "time": "2024-03-14T10:00:00Z"}
    texts = [json.dumps(record | {"log": log}) for log in ("x" * 16384, "y\n")]
    ((_, fields, _),) = run(assembler("docker"), lines(texts))
    assert fields.message == "x" * 16384 + "y"
    ((line, fields, _),) = run(
        assembler("docker"),
        lines(
            [
                json.dumps(record | {"log": '{"pad": "' + "x" * 16384}),
                json.dumps(record | {"log": '", "msg": "whole"}\n'}),
            ]
        ),
    )
    assert fields.message == "whole"
    assert get_format(FormatConfig(name="docker")).parse(line.text, 0.0) == fields


def test_a_limit_holds_for_parts_too() -> None:
    texts = [CRI.format("stdout", "P", str(number)) for number in range(4)]
    one = assembler("cri", max_lines=2)
    ((_, fields, _),) = run(one, lines(texts))
    assert (fields.message, one.discarded) == ("01", {"too_long": 2})


@settings(max_examples=40, deadline=None)
@given(
    texts=st.lists(st.sampled_from([EVENT.format(0, 0), "\tat a.B", "", "text"]), max_size=12),
    flushes=st.sets(st.integers(0, 11)),
)
def test_no_line_is_lost_or_read_twice(texts: list[str], flushes: set[int]) -> None:
    one = assembler()
    events = []
    for index, line in enumerate(lines(texts)):
        events += fed(one, line)
        if index in flushes:
            events += one.flush()
    events += one.flush()
    kept = sum(len(line.text.split("\n")) for line, _, _ in events)
    assert kept + one.discarded.total() == len(texts)
    ends = [line.end for line, _, _ in events]
    assert all(end <= after[0].start for end, after in zip(ends, events[1:], strict=False))


MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


def syslog(moment: datetime) -> str:
    return f"{MONTHS[moment.month - 1]} {moment.day:2} {moment:%H:%M:%S} host app: did"


def years_of(found: Sequence[AssembledLine]) -> list[int]:
    return [datetime.fromtimestamp(timestamp, UTC).year for _, _, timestamp in found]


@settings(max_examples=200, deadline=None)
@given(
    start=st.datetimes(datetime(2025, 3, 1), datetime(2025, 12, 31)),
    steps=st.lists(st.integers(-20, 20 * 3600), min_size=1, max_size=400),
    read=st.datetimes(datetime(2026, 3, 1), datetime(2027, 2, 27)),  # no leap day is near
)
def test_the_years_of_a_finished_log_are_in_order_whenever_it_is_read(
    start: datetime, steps: list[int], read: datetime
) -> None:
    moments = [start := (start + timedelta(seconds=step)).replace(microsecond=0) for step in steps]
    received_at = read.replace(tzinfo=UTC).timestamp()
    given_lines = lines([syslog(moment) for moment in moments], received_at=received_at)
    times = [timestamp for _, _, timestamp in run(finished(), given_lines)]
    whole_years = {
        timestamp - moment.replace(tzinfo=UTC).timestamp()
        for timestamp, moment in zip(times, moments, strict=True)
    }
    assert len(whole_years) == 1


def test_a_log_that_is_read_within_its_own_days_goes_on_and_not_back() -> None:
    """From 15 November to 1 December 2025, read through a pipe on 22 November 2026."""
    moments = [datetime(2025, 11, 15) + timedelta(hours=8 * i) for i in range(48)]
    texts, read = [syslog(moment) for moment in moments], datetime(2026, 11, 22, tzinfo=UTC)
    given_lines = lines(texts, received_at=read.timestamp())
    assert years_of(run(finished(), given_lines)) == [2026] * 48
    # A line that just came is no older than a year, and no younger than now.
    assert set(years_of(run(assembler("syslog"), given_lines))) == {2025, 2026}


def test_after_a_pause_it_still_goes_on() -> None:
    days = (21, 22, 23, 24, 30)
    texts = [f"Nov {day} 12:00:00 host app: did" for day in days]
    texts += ["Feb  3 12:00:00 host app: did", "Nov 29 12:00:00 host app: late"]
    read = datetime(2026, 11, 22, tzinfo=UTC).timestamp()
    found = run(finished(), lines(texts, received_at=read))
    assert years_of(found) == [2026, 2026, 2026, 2026, 2026, 2027, 2026]


def test_a_machine_that_starts_on_1_january_without_a_clock_begins_no_year() -> None:
    texts = [
        *(f"Nov {day} 12:00:00 host app: did" for day in (20, 21)),
        *("Jan  1 00:00:03 host app: booted", "Nov 21 13:00:00 host app: did"),
    ]
    read = datetime(2026, 11, 22, tzinfo=UTC).timestamp()
    assert years_of(run(finished(), lines(texts, received_at=read))) == [2026] * 4
    late = datetime(2027, 1, 3, tzinfo=UTC).timestamp()
    texts[2] = "Dec 31 23:59:59 host app: did"
    texts[3] = "Jan  1 00:00:03 host app: did"
    assert years_of(run(finished(), lines(texts, received_at=late))) == [2026, 2026, 2026, 2027]


def test_a_year_that_a_line_names_is_left_as_it_is() -> None:
    texts = [
        "Mar  5 2099 12:00:00 host app: did",
        "Nov 20 12:00:00 host app: did",
        "Nov 21 2019 12:00:00 host app: did",
    ]
    read = datetime(2026, 11, 22, tzinfo=UTC).timestamp()
    assert years_of(run(finished(), lines(texts, received_at=read))) == [2099, 2026, 2019]


def test_each_partition_has_its_own_years() -> None:
    one, read = finished(), datetime(2026, 11, 22, tzinfo=UTC).timestamp()
    texts = [f"Nov {day} 12:00:00 host app: did" for day in (22, 23)]
    assert years_of(run(one, lines(texts, "p", read))) == [2026, 2026]
    assert years_of(run(one, lines(texts[1:], "q", read))) == [2025]
    one.drop("p")
    assert years_of(run(one, lines(texts[1:], "p", read))) == [2025]


def test_a_line_with_a_date_of_its_own_is_an_event_and_not_of_the_format() -> None:
    one = assembler("postgresql")
    texts = [
        "2026-11-21 10:00:00.000 UTC [1] LOG:  started",
        "\tand goes on",
        "2026-11-22  5:34:20 331 [Warning] of MariaDB",
        "and goes on too",
        "Nov 22 05:34:21 web1 app[1]: of syslog",
    ]
    found = run(one, lines(texts))
    assert [fields.fields.message for _, fields, _ in found] == [
        "started",
        "331 [Warning] of MariaDB",
        "of syslog",
    ]
    assert [line.text.count("\n") for line, _, _ in found] == [1, 1, 0]
    assert (one.lenient, one.joined, one.discarded) == (2, 2, {})


def test_headers_are_comments_and_no_events() -> None:
    one = assembler("iis")
    entry = "2026-11-21 14:57:34 10.0.0.1 GET / - 80 - 203.0.113.9 curl/8 - 200 0 0 12"
    texts = ["#Version: 1.0", "#Fields: date time", entry, "#no header"]
    assert [line.text for line, _, _ in run(one, lines(texts))] == [entry]
    assert one.discarded == {"comment": 2, "unmatched": 1}


LOGCAT = "11-21 14:57:34.123  1234  1240 I ActivityManager: started {}"
SYSLOG = "Nov 21 14:57:34 web sshd[811]: session {} opened"
KLOG = "I1121 14:57:34.123456       1 main.go:{}] started"
RUBY = "I, [2026-11-21T14:57:34.123456 #811]  INFO -- app: job {} done"
SPRING = (
    "2026-11-21T14:57:34.123Z  INFO 8 --- [           main] com.example.App  : job {} done".format
)
AUDIT = "type=LOGIN msg=audit(1732200000.123:{}): pid=1 uid=0"
BANNER = r"""
  .   ____          _            __ _ _
 /\\ / ___'_ __ _ _(_)_ __  __ _ \ \ \ \
( ( )\___ | '_ | '_| | '_ \/ _` | \ \ \ \
 \\/  ___)| |_)| | | | | || (_| |  ) ) ) )
  '  |____| .__|_| |_|_| |_\__, | / / / /
 =========|_|==============|___/=/_/_/_/
 :: Spring Boot ::                (v3.2.0)"""[1:].split("\n")


@pytest.mark.parametrize(
    ("name", "headers", "entry"),
    [
        ("logcat", ["--------- beginning of main", "--------- switch to crash"], LOGCAT.format),
        (
            "syslog",
            [
                "-- Logs begin at Sat 2026-11-21 00:00:01 UTC, end at Sat 2026-11-21 14:57 UTC. --",
                "-- Journal begins at Sat 2026-11-21 00:00:01 UTC, ends at Sat 2026-11-21. --",
                "-- Boot 0123456789abcdef0123456789abcdef --",
                "-- Reboot --",
            ],
            SYSLOG.format,
        ),
        (
            "klog",
            [
                "Log file created at: 2026/11/21 14:57:34",
                "Running on machine: web",
                "Binary: Built with gc go1.22 for linux/amd64",
                "Log line format: [IWEF]mmdd hh:mm:ss.uuuuuu threadid file:line] msg",
            ],
            KLOG.format,
        ),
        (
            "ruby",
            ["# Logfile created on 2026-11-21 14:57:34 +0000 by logger.rb/v1.5.3"],
            RUBY.format,
        ),
        ("spring", BANNER, SPRING),
        ("auditd", ["----", "time->Sat Nov 21 14:57:34 2026"], AUDIT.format),
        ("json", ["[", "]"], '{{"message": "job {} done", "level": "info"}},'.format),
    ],
)
def test_what_stands_in_every_file_of_a_format_is_a_comment(name, headers, entry) -> None:
    """Also in a short file, and in the midst of one."""
    texts = [*headers, entry(1), *headers, entry(2)]
    assert detect_format(texts, FormatConfig()).format.name == name
    one = assembler(name)
    assert [line.text for line, _, _ in run(one, lines(texts))] == [entry(1), entry(2)]
    assert one.discarded == {"comment": 2 * len(headers)}


def test_the_comment_of_a_journal_without_entries_is_one() -> None:
    one = assembler("syslog")
    assert run(one, lines(["-- No entries --"])) == []
    assert one.discarded == {"comment": 1}
