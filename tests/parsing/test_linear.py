"""No line, whatever it repeats, costs more CPU than its length accounts for."""

from __future__ import annotations

import re
from datetime import UTC
from functools import partial
from pathlib import Path

import pytest
import yaml
from linear_parts import ASCII, LONG, MIXED, OTHERS, UNITS, is_linear

from logmlm.config.training import FormatConfig
from logmlm.errors import FormatError
from logmlm.parsing.formats import FORMATS, detect_format, get_format
from logmlm.parsing.formats.levels import level_name, numeric_level, otel_level
from logmlm.parsing.formats.timestamps import read_field
from logmlm.parsing.mask_advice import suggest_mask
from logmlm.parsing.masking import BUILT_IN, LogMasker, select_masks

GOLDEN: dict[str, list[str]] = {}
for _entry in yaml.safe_load((Path(__file__).parents[1] / "data/formats_golden.yaml").read_text()):
    GOLDEN.setdefault(_entry["format"], []).append(_entry["line"])
NO_EXAMPLE = ""


def units(kind: str) -> list[str]:
    return {"ascii": ASCII, "others": OTHERS, "mixed": MIXED}[kind]


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("kind", ["ascii", "others", "mixed"])
def test_a_mask_takes_linear_time_on_any_repeated_text(name: str, kind: str) -> None:
    mask = LogMasker(select_masks([name], ())).mask
    slow = [
        unit for unit in units(kind) for end in ("", "!g") if not is_linear(mask, unit, "", end)
    ]
    assert slow == []


def test_all_masks_together_take_linear_time_on_any_repeated_text() -> None:
    mask = LogMasker(select_masks(None, ())).mask
    assert [unit for unit in UNITS if not is_linear(mask, unit)] == []


@pytest.mark.parametrize(
    ("mask", "text"),
    [
        ("NUM", "\u0661\u0662\u0663"),
        ("DURATION", "\u0661s"),
        ("SIZE", "\uff11 KiB"),
        ("TIME", "\u0661\u0662:00:00"),
        ("IP", "\u0661.\u0661.\u0661.\u0661"),
    ],
)
def test_digits_of_other_scripts_are_no_numbers(mask: str, text: str) -> None:
    assert LogMasker(select_masks([mask], ())).mask(text) == text


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_takes_linear_time_wherever_a_line_goes_wrong(name: str) -> None:
    """Each prefix of real lines, cut between two words, is followed by a run of one thing."""
    line_format = get_format(FormatConfig(name=name))

    def read(text: str) -> dict[str, str] | None:
        fields = line_format.parse(text, 1.7e9)
        return None if fields is None else dict(fields.attributes)

    lines = GOLDEN.get(name, [NO_EXAMPLE])
    befores = {line[: cut.end()] for line in lines for cut in re.finditer(r"\b|$", line)}
    some = sorted({"", *lines, *sorted(befores)[:: max(1, len(befores) // 8)]})
    slow = [
        (before, unit)
        for before in some
        for unit in (UNITS[:: 1 if before == lines[0] else 5])
        if not is_linear(read, unit, before, long=LONG // 2)
    ]
    assert slow == []


@pytest.mark.parametrize("kind", ["ascii", "others", "mixed"])
def test_detecting_a_format_takes_linear_time(kind: str) -> None:
    def detect(text: str) -> None:
        with pytest.raises(FormatError):
            detect_format([text, text], FormatConfig())

    assert [unit for unit in units(kind)[::4] if not is_linear(detect, unit, "x", "\0")] == []


@pytest.mark.parametrize(
    "read", [numeric_level, otel_level, level_name, partial(read_field, zone=UTC)]
)
def test_a_field_takes_linear_time(read: object) -> None:
    assert callable(read)
    assert [unit for unit in UNITS if not is_linear(read, unit)] == []


def test_advice_on_masks_takes_linear_time() -> None:
    assert [
        unit for unit in UNITS if not is_linear(lambda text: suggest_mask([text, text]), unit)
    ] == []
