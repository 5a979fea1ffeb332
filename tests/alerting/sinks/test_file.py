"""Alerts in a file: one line each, whole or not at all, in whichever file has the name."""

import json
import multiprocessing
import resource

from http_parts import alert

from logmlm.alerting.notification import build_single
from logmlm.alerting.sinks.file import FileSink
from logmlm.config.sinks import AlertFileConfig
from logmlm.records import DeliveryResult, Notification

ACCEPTED = DeliveryResult("accepted")


def test_alerts_are_appended_one_a_line_for_the_owner_alone(tmp_path):
    path = tmp_path / "alerts.jsonl"
    sink = FileSink(AlertFileConfig(path=path))
    first, second, third = alert("ODD 1"), alert("ODD 2"), alert("ODD \ud800")
    assert sink.send(Notification("g", "firing", (first, second))) == ACCEPTED
    assert sink.send(build_single(third)) == ACCEPTED
    lines = path.read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines[:2]] == [first.id, second.id]
    assert len(lines) == 3
    assert path.stat().st_mode & 0o077 == 0
    assert sink.name == "file"


def test_a_rotated_file_is_left_and_a_new_one_made(tmp_path):
    path = tmp_path / "alerts.jsonl"
    sink = FileSink(AlertFileConfig(path=path))
    sink.send(build_single(alert()))
    path.rename(tmp_path / "old")
    sink.send(build_single(alert()))
    assert len(path.read_text().splitlines()) == 1
    assert len((tmp_path / "old").read_text().splitlines()) == 1


def test_a_file_that_can_not_be_made_is_tried_later(tmp_path):
    sink = FileSink(AlertFileConfig(path=tmp_path / "none" / "a.jsonl"))
    assert sink.send(build_single(alert())) == DeliveryResult(
        "later", "can't write the file: No such file or directory"
    )


def _fill(path, answers):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
    sink = FileSink(AlertFileConfig(path=path))
    answers.put([sink.send(build_single(alert())).outcome for _ in range(5)])
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_on_a_full_disk_no_half_line_is_left(tmp_path):
    path = tmp_path / "alerts.jsonl"
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    child = context.Process(target=_fill, args=(path, answers))
    child.start()
    outcomes = answers.get(timeout=30)
    child.join()
    written = outcomes.count("accepted")
    assert outcomes == ["accepted"] * written + ["later"] * (5 - written)
    assert 0 < written < 5
    assert [json.loads(line)["labels"]["model"] for line in path.read_text().splitlines()] == [
        "m"
    ] * written


def test_a_disk_that_takes_nothing_is_tried_later():
    assert (
        FileSink(AlertFileConfig(path="/dev/full")).send(build_single(alert())).outcome == "later"
    )
