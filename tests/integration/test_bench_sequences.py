"""The measurement on files of sessions: the JSON that it prints, an oracle only if asked."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[1] / "bench" / "sequences.py"
FIGURES = {"f1", "precision", "recall", "roc_auc", "pr_auc", "false_alarm_rate"}
RULES = {
    "unseen_template",
    "count_vector",
    "two_gram",
    "ngram",
    "length",
    "isolation_forest",
    "pca",
}


@pytest.fixture
def words(tmp_path):
    """Sessions of three kinds, ten of them without their middle; what the program is told."""
    kinds = ("5 5 22 11 9 26", "5 22 5 11 9 11 9", "5 22 26 2 3")
    files = {
        "train": [kinds[i % 3] for i in range(60)],
        "normal": [kinds[i % 3] for i in range(20)],
        "abnormal": ["5 5 77 26" for _ in range(10)],
    }
    words = ["--seeds", "2", "--epochs", "2", "--false-alarm-rate", "0.1"]
    words += ["--folds", "0", "--device", "cpu"]
    for name, lines in files.items():
        path = tmp_path / name
        path.write_text("".join(f"{line}\n" for line in lines))
        words += [f"--{name}", str(path)]
    return words


def printed(words):
    done = subprocess.run([sys.executable, PROGRAM, *words], check=True, capture_output=True)
    return done.stdout.decode(), done.stderr.decode()


def test_each_figure_has_its_mean_and_a_value_for_each_seed(words):
    out, err = printed([*words, "--json", "--weight-normal", "200"])
    assert out.count("\n") == 1
    table = json.loads(out)
    assert set(table) == {"logmlm"} | RULES
    for row in table.values():
        assert set(row) == FIGURES
        for figure in row.values():
            assert set(figure) == {"mean", "values"}
            assert len(figure["values"]) == 2
            known = [value for value in figure["values"] if value is not None]
            assert figure["mean"] == pytest.approx(sum(known) / len(known)) if known else True
    unseen = table["unseen_template"]
    assert (unseen["recall"]["mean"], unseen["false_alarm_rate"]["mean"]) == (1.0, 0.0)
    assert "oracle" not in (out + err).lower()


def test_an_oracle_is_asked_only_on_request(words):
    out, err = printed([*words, "--seeds", "1", "--oracle"])
    table = json.loads(out)
    assert all(set(row) == FIGURES | {"oracle_f1"} for row in table.values())
    assert table["unseen_template"]["oracle_f1"]["mean"] == 1.0
    assert "not a result" in err
