"""A score becomes an alert that says what happened, is the same each time, and is bounded."""

from dataclasses import replace

import pytest
from daemon_parts import explain, score
from hypothesis import given
from hypothesis import strategies as st

from logmlm.alerting.alert_builder import (
    MAX_CHARACTERS,
    MAX_LINES,
    build_alert,
    fingerprint,
    severity,
)
from logmlm.config.training import FormatConfig
from logmlm.detection.windows import window_id
from logmlm.parsing.event_parser import EventParser
from logmlm.parsing.formats import get_format
from logmlm.records import UNKNOWN_TEMPLATE, Expectation, Fields, LogLine, SurgeState
from logmlm.sources.journald.entry import read_entry

LABELS = {"source": "file", "model": "m", "service": "s"}


def alert(found, expectations=None, **changes):
    parts = {"digest": "d", "labels": LABELS, "origin": "/a.log", "description": "long", **changes}
    return build_alert(found, explain(found) if expectations is None else expectations, **parts)


def test_an_alert_says_which_lines_are_odd_and_what_was_expected():
    made = alert(score("one", "ODD two", "three"))
    assert made.labels == {"alertname": "LogAnomaly", "severity": "warning", **LABELS}
    assert made.annotations == {
        "summary": "1 of 3 log lines are unusual: ODD two",
        "description": "long",
        "score": "3.000",
        "threshold": "1.000",
        "pll": "-4.00",
        "lines": "  one\n> ODD two\n  three",
        "expected": "in line 2: usual <NUM> (75.0%); other (12.5%)",
        "last_line_at": "1970-01-01T00:16:42Z",
        "origin": "/a.log",
        "pattern": made.annotations["pattern"],
        "key": "k",
        "window": made.id,
    }
    assert (made.starts_at, made.ends_at) == (1000.0, None)


def test_the_id_is_that_of_the_window_under_the_model():
    found = score("a", "ODD")
    assert alert(found).id == window_id("d", found.window)
    assert alert(found).id == alert(found, labels={"model": "x"}).id
    assert alert(found).id != alert(found, digest="e").id
    assert alert(found).id != alert(score("a", "ODD", first=1)).id


SYSLOG = "<13>Jun  9 06:06:0{} {} {}[7]: job {} ODD"


def placed(name, *texts, attributes=(), surge=None, **changes):
    """The alert of a window with these lines as a format reads them, attributes beside them."""
    reader = EventParser(get_format(FormatConfig(name=name)), None, lambda *_: "t")
    beside = [*attributes, *[{}] * len(texts)]
    lines = [
        LogLine(text, "p", i, i + 1, 1000.0, attributes=known)
        for i, (text, known) in enumerate(zip(texts, beside, strict=False))
    ]
    found = score(*texts)
    window = replace(found.window, events=tuple(reader.feed(lines) + reader.flush()))
    return alert(replace(found, window=window, surge=surge), **changes)


def places(made):
    return {name: made.labels[name] for name in ("host", "service") if name in made.labels}


NO_SERVICE = {"source": "syslog", "model": "m"}


@pytest.mark.parametrize(
    ("hosts", "programs", "expected"),
    [
        (("web1", "web1"), ("cron", "cron"), {"host": "web1", "service": "cron"}),
        (("web1", "web2"), ("cron", "cron"), {"service": "cron"}),
        (("web1", "web1"), ("cron", "sshd"), {"host": "web1"}),
        (("web1", "web2"), ("cron", "sshd"), {}),
    ],
)
def test_host_and_service_are_labels_where_all_lines_of_the_window_agree(hosts, programs, expected):
    texts = [SYSLOG.format(i, *each, i) for i, each in enumerate(zip(hosts, programs, strict=True))]
    assert places(placed("syslog", *texts, labels=NO_SERVICE)) == expected


def test_a_line_that_names_no_host_is_not_taken_for_one_of_the_others():
    named, nameless = {"host": "web1", "service": "shop"}, {"service": "shop"}
    made = placed("plain", "ODD", "b", attributes=[named, nameless], labels=NO_SERVICE)
    assert places(made) == {"service": "shop"}
    assert places(placed("plain", "ODD", "b", labels=NO_SERVICE)) == {}


def test_what_a_kafka_record_says_beside_its_line_goes_before_what_the_line_says():
    text, known = SYSLOG.format(1, "relay", "cron", 1), {"host.name": "web1", "unit": "u"}
    made = placed("syslog", text, text, attributes=[known, known], labels=NO_SERVICE)
    assert places(made) == {"host": "web1", "service": "cron"}


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ('"SYSLOG_IDENTIFIER": "sshd", "_SYSTEMD_UNIT": "ssh.service"', "sshd"),
        ('"_SYSTEMD_UNIT": "ssh.service"', "ssh.service"),
    ],
)
def test_an_entry_of_the_journal_is_of_its_host_and_program_or_else_of_its_unit(more, expected):
    raw = f'{{"__CURSOR": "s=ab;i=1", "MESSAGE": "ODD", "_HOSTNAME": "web1", {more}}}'
    text = read_entry(raw, 1000).text
    made = placed("json", text, text, labels=NO_SERVICE)
    assert places(made) == {"host": "web1", "service": expected}


def test_fixed_labels_win_and_what_the_lines_say_changes_no_id():
    known = {"host": "web1", "service": "shop"}
    made = placed("plain", "ODD", attributes=[known], labels={"service": "ours", "model": "m"})
    assert places(made) == {"host": "web1", "service": "ours"}
    again = placed("plain", "ODD", attributes=[known], labels={"service": "ours", "model": "m"})
    assert (again.id, again.fingerprint) == (made.id, made.fingerprint)
    nowhere = placed("plain", "ODD", labels={"service": "ours", "model": "m"})
    assert (nowhere.id == made.id, nowhere.fingerprint == made.fingerprint) == (True, False)


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ((None, None), {"host": "here", "file": "/a.log"}),
        (("web1", "web1"), {"host": "web1", "file": "/a.log"}),
        (("web1", None), {"file": "/a.log"}),
        (("web1", "web2"), {"file": "/a.log"}),
    ],
)
def test_the_default_host_counts_only_where_no_line_names_one(said, found):
    attributes = [{"host": host} if host else {} for host in said]
    defaults = {"host": "here", "file": "/a.log"}
    made = placed("plain", "ODD", "b", attributes=attributes, labels=NO_SERVICE, defaults=defaults)
    assert {name: made.labels.get(name) for name in found} == found
    assert ("host" in made.labels) == ("host" in found)


@pytest.mark.parametrize(
    ("level", "attributes", "expected"),
    [
        ("EMERGENCY", {}, "warning"),
        ("error", {}, "warning"),
        ("INFO", {}, "info"),
        ("", {"http.response.status_code": "503"}, "warning"),
        ("INFO", {"DownstreamStatus": "500"}, "warning"),
        ("INFO", {"status": "404"}, "info"),
        ("INFO", {"status": "5000"}, "info"),
        ("INFO", {"status": "failed"}, "info"),
    ],
)
def test_levels_from_error_up_and_status_codes_from_500_up_are_errors(level, attributes, expected):
    odd = score("ODD", "b")
    fields = Fields(None, level, "ODD", attributes)
    events = tuple(event._replace(parsed=fields) for event in odd.window.events)
    odd = replace(odd, value=1.5, window=replace(odd.window, events=events))
    assert severity(odd, [Expectation(0, 9.0, True, ())]) == expected


def test_a_surge_is_of_no_one_host():
    """Its window is the last of many, and a silence of one host must not mute the others."""
    known = {"host": "web1", "service": "shop"}
    surge = SurgeState(9.0, 0.0, 7, 5)
    assert places(placed("plain", "ODD", attributes=[known], surge=surge, labels={})) == {}


@given(st.text(max_size=300))
def test_any_text_is_a_label_that_can_be_sent_and_shown_or_none(value):
    made = placed("plain", "ODD", "b", attributes=[{"host": value}] * 2, labels=NO_SERVICE)
    host = made.labels.get("host", "x")
    assert host.isprintable()
    assert 0 < len(host) <= MAX_CHARACTERS + 1
    assert host.encode()


@pytest.mark.parametrize(
    ("value", "level", "expected"),
    [
        (1.0, "INFO", "info"),
        (1.99, "WARN", "info"),
        (2.0, "INFO", "warning"),
        (1.0, "ERROR", "warning"),
        (2.0, "FATAL", "critical"),
    ],
)
def test_severity_asks_how_odd_the_window_is_and_whether_an_odd_line_is_an_error(
    value, level, expected
):
    found = score("a", "ODD", value=value, level=level)
    assert severity(found, explain(found)) == expected


def test_an_error_line_that_is_not_odd_does_not_raise_the_severity():
    found = score("a", "ODD", value=1.0, level="ERROR")
    event = found.window.events[1]
    odd = event._replace(parsed=replace(event.fields, level="INFO"))
    window = replace(found.window, events=(found.window.events[0], odd))
    assert severity(replace(found, window=window), explain(found)) == "info"


def test_an_odd_end_is_shown_as_a_line_of_its_own():
    found = score("a", "b")
    end = replace(explain(found)[2], odd=True)
    made = alert(found, [end])
    assert made.annotations["lines"] == "  a\n  b\n> (end of window)"
    assert made.annotations["summary"] == "1 of 2 log lines are unusual: it ends after: b"
    surge = alert(replace(found, surge=SurgeState(9.5, 0.0, 40, 12)), [end])
    assert surge.annotations["summary"].endswith("are a little unusual: it ends after: b")
    assert made.labels["severity"] == "warning"


def test_long_windows_and_lines_are_cut_around_the_odd_ones():
    texts = [f"line {i} " + "x" * 1000 for i in range(100)]
    texts[50] = "ODD"
    made = alert(score(*texts), description="y" * 100_000)
    rows = made.annotations["lines"].splitlines()
    assert rows[0] == "  … 40 more"
    assert rows[11] == "> ODD"
    assert rows[-1] == "  … 40 more"
    assert len(rows) == MAX_LINES + 2
    assert sum(map(len, made.annotations.values())) < 20_000


def test_two_odd_lines_far_apart_are_both_shown_with_what_is_between_counted():
    texts = ["usual"] * 100
    texts[0] = texts[99] = "ODD"
    rows = alert(score(*texts)).annotations["lines"].splitlines()
    assert (rows[0], rows[10], rows[-1]) == ("> ODD", "  … 80 more", "> ODD")


def test_without_an_odd_line_the_window_is_shown_from_its_beginning():
    made = alert(score("a", "b", complete=False), [])
    assert made.annotations["lines"] == "  a\n  b"
    assert made.annotations["summary"] == "0 of 2 log lines are unusual"


def test_control_characters_never_reach_a_terminal():
    made = alert(score("ODD \x1b[2J\x07"))
    assert "\x1b" not in "".join(made.annotations.values())


def test_the_pattern_is_the_set_of_odd_templates_whatever_else():
    def pattern(*texts, **changes):
        return alert(score(*texts, **changes)).annotations["pattern"]

    usual = pattern("one", "ODD two")
    assert usual == pattern("ODD 1", "ODD 2", "three", first=99, value=1.5, partition="q")
    found = score("one", "ODD two")
    assert usual == alert(found, digest="e", labels={}).annotations["pattern"]
    end = replace(explain(found)[2], odd=True)
    assert usual != alert(found, [end]).annotations["pattern"]


def test_a_surge_is_told_and_is_another_pattern_than_one_such_window():
    alone = score("one", "ODD two")
    together = replace(alone, surge=SurgeState(9.5, 0.0, 40, 12))
    made = alert(together)
    said = "12 of 40 windows since 1970-01-01T00:00:00.000Z are a little unusual"
    assert made.annotations["summary"] == f"{said}: ODD two"
    assert made.annotations["surge"] == said
    assert made.id == alert(alone).id
    assert made.annotations["pattern"] != alert(alone).annotations["pattern"]
    assert "surge" not in alert(alone).annotations


def test_a_line_without_a_template_is_known_by_its_text_without_its_numbers():
    def pattern(text):
        found = score(text)
        event = found.window.events[0]._replace(template_id=UNKNOWN_TEMPLATE)
        found = replace(found, window=replace(found.window, events=(event,)))
        return alert(found).annotations["pattern"]

    assert pattern("ODD id7f from 10.0.0.1") == pattern("ODD id8 from 10.2.3.4")
    assert pattern("ODD id7f from host") != pattern("ODD id7f to host")
    assert len(pattern("ODD \ud800")) == 16


def test_the_fingerprint_is_alertmanagers():
    """From the tests of prometheus/common, model/signature_test.go."""
    assert fingerprint({}) == f"{14695981039346656037:016x}"
    assert fingerprint({"name": "garland, briggs", "fear": "love is not enough"}) == (
        f"{5799056148416392346:016x}"
    )


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=4))
def test_the_fingerprint_does_not_depend_on_the_order_of_labels(labels):
    turned = dict(reversed(labels.items()))
    assert fingerprint(labels) == fingerprint(turned)
    assert fingerprint({**labels, "more": ""}) != fingerprint(labels) or "more" in labels
