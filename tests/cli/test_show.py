"""`logmlm templates`: what a model knows, for people and for programs."""

import json
import shutil

import offline_parts
import pytest
from offline_parts import logmlm, write_log

from logmlm.config.training import TemplateConfig
from logmlm.parsing.template_miner import TemplateMiner


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return offline_parts.trained(tmp_path_factory)


def test_templates_are_listed_the_most_frequent_first_with_share_and_example(trained):
    outcome = logmlm("templates", trained.model, "--output", "json")
    assert (outcome.code, outcome.err) == (0, "")
    rows = [json.loads(line) for line in outcome.out.splitlines()]
    counts = [row["count"] for row in rows]
    assert counts == sorted(counts, reverse=True)
    assert sum(counts) == len(trained.log.read_text().splitlines())
    assert sum(row["share"] for row in rows) == pytest.approx(1.0)
    known = {
        template.id: template for template in TemplateMiner.read(trained.model / "templates.json")
    }
    assert {row["id"]: row["template"] for row in rows} == {
        name: template.text for name, template in known.items()
    }
    for row in rows:
        masked = row["example"]
        assert masked not in trained.log.read_text() or "<" not in row["template"]
        assert (
            TemplateMiner.read(trained.model / "templates.json").match_masked(masked) == row["id"]
        )


def test_for_people_each_template_has_two_rows(trained):
    rows = logmlm("templates", trained.model).out.splitlines()
    as_json = logmlm("templates", trained.model, "--output", "json").out.splitlines()
    assert len(rows) == 2 * len(as_json)
    first = json.loads(as_json[0])
    assert rows[0].split() == [
        first["id"],
        str(first["count"]),
        f"{first['share']:.2%}",
        *first["template"].split(),
    ]
    assert rows[1].split("e.g. ")[1] == first["example"]


def test_an_example_never_writes_to_the_terminal(tmp_path):
    lines = [
        f"2024-05-06T07:08:09Z ERROR \x1b[2Jfailed\x07 {i}\n  at \x1b]0;x\x07 line"
        for i in range(60)
    ]
    log = write_log(tmp_path / "a.log", lines)
    words = ("--preset", "tiny", "--epochs", "1", "--folds", "0", "--size", "2")
    outcome = logmlm("train", log, "--out", tmp_path / "m", *words)
    assert outcome.code == 0, outcome.err
    outcome = logmlm("templates", tmp_path / "m")
    assert "\x1b" not in outcome.out
    assert len(outcome.out.splitlines()) == 2
    raw = TemplateMiner.read(tmp_path / "m" / "templates.json")
    assert "\x07" in next(iter(raw)).example
    first = json.loads(logmlm("score", tmp_path / "m", log).out.splitlines()[0])
    explained = logmlm("explain", tmp_path / "m", log, "--window", first["window"]).out
    assert "\x1b" not in explained
    assert "(a line never seen in training)" in explained


def test_what_is_no_model_is_said(trained, tmp_path):
    outcome = logmlm("templates", tmp_path)
    assert outcome.code == 65
    assert "name a model directory, made by logmlm train --out DIR" in outcome.err
    copy = shutil.copytree(trained.model, tmp_path / "copy")
    TemplateMiner(TemplateConfig()).save(copy / "templates.json")
    outcome = logmlm("templates", copy)
    assert outcome.code == 65
    assert "templates.json is damaged: its content is not what training wrote" in outcome.err
