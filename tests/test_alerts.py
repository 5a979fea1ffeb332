"""A score becomes an alert that says what happened, is the same each time, and is bounded."""

from dataclasses import replace

import pytest
from daemon_parts import explain, score
from hypothesis import given
from hypothesis import strategies as st

from logmlm.alerts import MAX_LINES, fingerprint, make_alert, severity
from logmlm.records import UNKNOWN, Rise, window_id

LABELS = {"source": "file", "model": "m", "service": "s"}


def alert(found, expectations=None, **changes):
    parts = {"digest": "d", "labels": LABELS, "origin": "/a.log", "description": "long", **changes}
    return make_alert(found, explain(found) if expectations is None else expectations, **parts)


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
    odd = replace(event, fields=replace(event.fields, level="INFO"))
    window = replace(found.window, events=(found.window.events[0], odd))
    assert severity(replace(found, window=window), explain(found)) == "info"


def test_an_odd_end_is_shown_as_a_line_of_its_own():
    found = score("a", "b")
    end = replace(explain(found)[2], odd=True)
    made = alert(found, [end])
    assert made.annotations["lines"] == "  a\n  b\n> (end of window)"
    assert made.annotations["summary"] == "1 of 2 log lines are unusual: it ends after: b"
    surge = alert(replace(found, surge=Rise(9.5, 0.0, 40, 12)), [end])
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
    together = replace(alone, surge=Rise(9.5, 0.0, 40, 12))
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
        event = replace(found.window.events[0], template_id=UNKNOWN)
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
