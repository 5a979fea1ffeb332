"""The published samples of nine systems (loghub): every message as published."""

from __future__ import annotations

import csv
import gzip
import os
from pathlib import Path

import pytest

from logmlm.config.training import FormatConfig
from logmlm.parsing.formats import detect_format

DATA = Path(os.environ.get("LOGMLM_DATA", Path(__file__).parents[4] / "shared/data")) / "loghub2k"
SAMPLES = {
    "Apache": "apache",
    "BGL": "bgl",
    "HDFS": "hdfs",
    "Hadoop": "hadoop",
    "Linux": "syslog",
    "OpenSSH": "syslog",
    "Spark": "spark",
    "Thunderbird": "thunderbird",
    "Zookeeper": "zookeeper",
}
LEVELS = {"WARN": "WARNING"}

pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"no loghub samples in {DATA}; set LOGMLM_DATA to their folder"
)


def read(name: str) -> tuple[list[str], list[dict[str, str]]]:
    raw = (DATA / f"{name}_2k.log").read_bytes().decode(errors="replace").removesuffix("\n")
    with gzip.open(DATA / f"{name}_2k_structured.csv.gz", "rt", newline="") as stream:
        return raw.split("\n"), list(csv.DictReader(stream))


@pytest.mark.parametrize("name", SAMPLES)
def test_every_line_of_a_sample_matches_and_has_the_published_message(name: str) -> None:
    lines, published = read(name)
    found = detect_format(lines[:1000], FormatConfig())
    assert (found.format.name, found.share, found.lines) == (SAMPLES[name], 1.0, 1000)
    parsed = [found.format.parse(line, 0.0) for line in lines]
    assert [fields and fields.message for fields in parsed] == [row["Content"] for row in published]


@pytest.mark.parametrize("name", ["Apache", "BGL", "HDFS", "Hadoop", "Spark", "Zookeeper"])
def test_levels_are_the_published_ones_in_one_spelling(name: str) -> None:
    lines, published = read(name)
    line_format = detect_format(lines[:100], FormatConfig()).format
    for line, row in zip(lines, published, strict=True):
        fields = line_format.parse(line, 0.0)
        assert fields is not None
        assert fields.level == LEVELS.get(row["Level"].upper(), row["Level"].upper())


@pytest.mark.parametrize("name", ["BGL", "Thunderbird"])
def test_labels_and_times_are_the_published_columns(name: str) -> None:
    lines, published = read(name)
    line_format = detect_format(lines[:100], FormatConfig()).format
    for line, row in zip(lines, published, strict=True):
        fields = line_format.parse(line, 0.0)
        assert fields is not None
        assert (fields.label, fields.timestamp) == (row["Label"], float(row["Timestamp"]))
