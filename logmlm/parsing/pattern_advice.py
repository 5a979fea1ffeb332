"""Notes on patterns of the user's own that may take long."""

from __future__ import annotations

from collections.abc import Mapping

from logmlm.config.regex import CPU_LIMIT_S
from logmlm.config.regex_analysis import is_linear_time
from logmlm.config.training import RedactionConfig, TrainingConfig
from logmlm.parsing.keys import KeyExtractor


def slow_patterns(config: TrainingConfig) -> list[str]:
    """Return a note on each pattern of a training that is not shown to take linear time."""
    custom, multiline, key = config.format.custom, config.format.multiline, config.window.key
    anchored = {f"format.custom.{name}.pattern": each.pattern for name, each in custom.items()}
    others = {
        f"templates.extra_masks {mask.name}": mask.pattern for mask in config.templates.extra_masks
    }
    if multiline is not None:
        others["format.multiline.start_pattern"] = multiline.start_pattern
        others["format.multiline.condition_pattern"] = multiline.condition_pattern
    if key is not None and not KeyExtractor(key).is_name:
        others["window.key"] = key
    notes = _notes(anchored, is_anchored=True) + _notes(others)
    return notes + slow_rules(config.redact)


def slow_rules(config: RedactionConfig) -> list[str]:
    """Return a note on each redaction rule that is not shown to take linear time."""
    return _notes(
        {f"redact.rules {rule.name}": rule.pattern for rule in config.rules},
        "replaces the whole text",
    )


def _notes(
    patterns: Mapping[str, str], then: str = "counts as none", *, is_anchored: bool = False
) -> list[str]:
    return [
        f"note: '{name}': the pattern '{pattern}' may take long on some lines; a match is given up"
        f" after {CPU_LIMIT_S:g} s and {then}. Avoid repetitions that can begin anywhere, or"
        " that stand inside each other"
        for name, pattern in patterns.items()
        if not is_linear_time(pattern, is_anchored=is_anchored)
    ]
