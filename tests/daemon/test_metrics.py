"""What is counted is counted once, in series of few labels, in words that Prometheus likes."""

import shutil
import subprocess
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import daemon_parts
import pytest
from hypothesis import given
from hypothesis import strategies as st
from metrics_parts import Clock, series, worked

from logmlm.alerting.delivery import REASONS, failure_reason
from logmlm.daemon.metrics import UNKNOWN_OVER, DaemonMetrics
from logmlm.records import DeliveryResult, Event, Notification, Score, Window


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def metrics(clock):
    return DaemonMetrics("1.2.3", clock)


def test_an_end_is_counted_where_a_receiver_was_told_of_it(metrics):
    found = iter(
        [
            DeliveryResult("later", "HTTP 503 Busy"),
            DeliveryResult("accepted"),
            DeliveryResult("accepted"),
        ]
    )
    send = metrics.counted("hook", lambda _: next(found))
    for status in ("resolved", "resolved", "firing"):
        send(Notification("g", status, (None, None)))
    assert metrics.value("alerts_total", status="resolved") == 2


def test_a_try_that_ends_in_an_error_is_counted_as_failed(metrics):
    def breaks(_):
        raise ValueError("why")

    with pytest.raises(ValueError, match="why"):
        metrics.counted("hook", breaks)(None)
    assert metrics.value("notifications_total", receiver="hook") == 1
    assert metrics.value("notifications_failed_total", receiver="hook", reason="other") == 1


def test_a_receiver_that_went_while_a_try_was_on_its_way_leaves_no_series(metrics):
    def goes(_):
        metrics.waiting({})
        return DeliveryResult("later", "ReadTimeout")

    metrics.counted("old", goes)(None)
    assert 'receiver="old"' in metrics.exposition().decode()
    metrics.waiting({})
    assert '"old"' not in metrics.exposition().decode()


def test_dead_letters_are_told_also_of_a_receiver_that_is_gone_until_there_are_none(metrics):
    metrics.counted("hook", lambda _: DeliveryResult("accepted"))
    metrics.dead({"gone": 3})
    assert metrics.value("dead_letters", receiver="gone") == 3
    assert 'logmlm_dead_letters{receiver="hook"} 0.0' in metrics.exposition().decode()
    metrics.dead({"hook": 1})
    assert metrics.value("dead_letters", receiver="hook") == 1
    assert '"gone"' not in metrics.exposition().decode()


def test_receivers_that_are_gone_are_in_no_series(metrics):
    for name in ("old", "new"):
        metrics.counted(name, lambda _: DeliveryResult("later", "HTTP 503 Busy"))(None)
    metrics.waiting({"old": 5, "new": 0})
    metrics.waiting({"new": 1})
    text = metrics.exposition().decode()
    assert '"old"' not in text
    assert metrics.value("alerts_waiting", receiver="new") == 1


def test_each_thing_that_happens_is_in_its_series(metrics, clock):
    worked(metrics)
    clock.now += 5.0
    found = series(metrics)
    expected = {
        ("logmlm_lines_total",): 7,
        ("logmlm_lines_discarded_total", ("reason", "blank")): 4,
        ("logmlm_lines_clock_skew_total",): 3,
        ("logmlm_source_events_total", ("kind", "cut")): 2,
        ("logmlm_source_events_total", ("kind", "gap")): 1,
        ("logmlm_source_lag", ("source", "file")): 99,
        ("logmlm_commit_age_seconds",): 5,
        ("logmlm_windows_scored_total",): 1,
        ("logmlm_score_seconds_count",): 1,
        ("logmlm_window_score_sum",): 1.5,
        ("logmlm_window_score_bucket", ("le", "1.25")): 0,
        ("logmlm_window_score_bucket", ("le", "1.5")): 1,
        ("logmlm_unknown_template_ratio",): 0,
        ("logmlm_templates",): 12,
        ("logmlm_threshold",): 1,
        ("logmlm_model_info", ("digest", "0123456789ab"), ("model", "m")): 1,
        ("logmlm_alerts_total", ("status", "firing")): 1,
        ("logmlm_alerts_total", ("status", "resolved")): 0,
        ("logmlm_alerts_waiting", ("receiver", "hook")): 3,
        ("logmlm_notifications_total", ("receiver", "hook")): 1,
        (
            "logmlm_notifications_failed_total",
            *(("reason", "server_error"), ("receiver", "hook")),
        ): 1,
        ("logmlm_notifications_failed_total", ("reason", "timeout"), ("receiver", "hook")): 0,
        ("logmlm_build_info", ("version", "1.2.3")): 1,
        ("logmlm_config_last_reload_successful",): 1,
        ("logmlm_config_last_reload_success_timestamp_seconds",): 1000,
    }
    assert {name: found.get(name) for name in expected} == expected


def test_only_what_is_ours_and_the_processes_own_is_shown_without_times_of_creation(metrics):
    names = {name for name, *_ in series(worked(metrics))}
    assert {name.split("_")[0] for name in names} == {"logmlm", "process"}
    assert not [name for name in names if name.endswith("_created")]


@pytest.mark.skipif(not shutil.which("promtool"), reason="needs promtool (apt install prometheus)")
def test_promtool_finds_nothing_to_say(metrics):
    ours = b"".join(
        line + b"\n" for line in worked(metrics).exposition().splitlines() if b"logmlm_" in line
    )
    told = subprocess.run(
        ["promtool", "check", "metrics"], input=ours, capture_output=True, check=False
    )
    assert (told.returncode, told.stdout, told.stderr) == (0, b"", b"")


def test_two_daemons_in_one_process_do_not_share_their_numbers(metrics):
    worked(metrics)
    assert DaemonMetrics("1").value("lines_total") == 0


def test_the_summary_is_one_sentence_of_figures(metrics):
    metrics.read(12_345)
    worked(metrics)
    assert metrics.summary() == "12,352 lines read, 1 windows scored, 1 alerts"


def test_a_refused_reload_leaves_the_time_of_the_last_good_one(metrics, clock):
    metrics.reloaded(True)
    clock.now += 50
    metrics.reloaded(False)
    assert metrics.value("config_last_reload_successful") == 0
    assert metrics.value("config_last_reload_success_timestamp_seconds") == 1000


def test_another_model_takes_the_place_of_the_one_before(metrics):
    metrics.model("a", "1" * 64, 3)
    metrics.model("b", "2" * 64, 4)
    models = [name for name in series(metrics) if name[0] == "logmlm_model_info"]
    assert models == [("logmlm_model_info", ("digest", "2" * 12), ("model", "b"))]


def test_totals_are_followed_and_another_readers_begin_anew(metrics):
    source = SimpleNamespace(name="s")
    first, second = (SimpleNamespace(discarded=Counter()) for _ in range(2))
    for reader, total, expected in ((first, 3, 3), (first, 5, 5), (second, 4, 9), (second, 4, 9)):
        reader.discarded["blank"] = total
        metrics.sample(source, reader)
        assert metrics.value("lines_discarded_total", reason="blank") == expected


def test_wrong_clocks_are_counted_on_where_another_model_begins_anew(metrics):
    first, second = SimpleNamespace(count=3), SimpleNamespace(count=2)
    for outliers, more, expected in ((first, 0, 3), (first, 2, 5), (second, 0, 7), (second, 0, 7)):
        outliers.count += more
        metrics.sample(None, None, outliers)
        assert metrics.value("lines_clock_skew_total") == expected


def test_a_source_that_knows_nothing_of_its_lag_shows_none(metrics):
    metrics.sample(SimpleNamespace(name="stdin"), SimpleNamespace())
    assert not [name for name in series(metrics) if "lag" in name[0]]


def scored(events, unknown):
    made = [daemon_parts.event("x", start=i) for i in range(events)]
    made[:unknown] = [Event(e.line, e.fields, e.timestamp, e.key, "") for e in made[:unknown]]
    window = Window("p", "k", tuple(made), "length", True)
    return Score(window, (1.0,) * events, (1.0,) * events, 0.5, 0.5)


def test_what_is_on_its_way_is_not_counted_as_sent(metrics):
    seen = []

    def send(_):
        seen.append(metrics.value("notifications_total", receiver="hook"))
        return DeliveryResult("accepted")

    notice = SimpleNamespace(status="firing")
    metrics.counted("hook", send)(notice)
    metrics.counted("hook", send)(notice)
    assert seen == [0, 1]
    assert metrics.value("notifications_total", receiver="hook") == 2


def test_lines_that_were_joined_are_counted(metrics):
    reader = SimpleNamespace(joined={"continuation": 3})
    metrics.sample(SimpleNamespace(name="file"), reader)
    reader.joined = {"continuation": 5}
    metrics.sample(SimpleNamespace(name="file"), reader)
    assert metrics.value("lines_joined_total", reason="continuation") == 5


def test_the_share_of_unknown_lines_follows_the_last_ones(metrics):
    metrics.timed(lambda _: [scored(10, 5)])([None])
    assert metrics.value("unknown_template_ratio") == 0.5
    for _ in range(10):
        metrics.timed(lambda _: [scored(UNKNOWN_OVER, 0)])([None])
    assert metrics.value("unknown_template_ratio") < 0.001
    for _ in range(10):
        metrics.timed(lambda _: [scored(UNKNOWN_OVER, UNKNOWN_OVER)])([None])
    assert metrics.value("unknown_template_ratio") > 0.99


def test_how_windows_were_scored_is_counted_and_a_missed_alert_too(metrics):
    plain = scored(2, 0)
    rungs = ["screened"] * 5 + ["exact"] * 3 + ["checked"] * 2
    found = [replace(plain, stage=rung) for rung in rungs]
    found.append(replace(plain, stage="missed", value=1.0))
    found.append(replace(plain, stage="exact", value=2.0))
    metrics.timed(lambda _: found)([None] * len(found))
    names = ("scored", "exact", "checked", "missed")
    assert [metrics.value(f"windows_{name}_total") for name in names] == [12, 4, 3, 1]


def test_scoring_that_finds_no_windows_leaves_the_ratio(metrics):
    assert metrics.timed(lambda _: [])([]) == []
    assert metrics.value("unknown_template_ratio") == 0


def test_what_was_scored_and_delivered_comes_back_as_it_was(metrics):
    scores = [scored(2, 0)]
    assert metrics.timed(lambda _: scores)([None]) is scores
    accepted = DeliveryResult("accepted")
    assert metrics.counted("r", lambda _: accepted)(Notification("g", "firing", ())) is accepted
    assert metrics.value("notifications_total", receiver="r") == 1


@pytest.mark.parametrize(
    ("delivery", "reason"),
    [
        (DeliveryResult("later", "HTTP 429 Too Many Requests"), "throttled"),
        (DeliveryResult("later", "HTTP 503"), "server_error"),
        (DeliveryResult("refused", "HTTP 401 Unauthorized"), "client_error"),
        (DeliveryResult("refused", "HTTP 302 Found"), "other"),
        (DeliveryResult("later", "ConnectTimeout"), "timeout"),
        (DeliveryResult("later", "ReadTimeout"), "timeout"),
        (DeliveryResult("later", "ConnectionError"), "unreachable"),
        (DeliveryResult("refused", "a secret path /x/y"), "other"),
    ],
)
def test_a_failure_has_one_of_the_fixed_reasons(delivery, reason):
    assert failure_reason(delivery) == reason


@given(st.text(), st.sampled_from(["later", "refused"]))
def test_no_words_of_a_receiver_become_a_label(text, outcome):
    assert failure_reason(DeliveryResult(outcome, text)) in REASONS
