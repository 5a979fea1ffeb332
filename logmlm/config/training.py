"""Sections of a training config: what training fixes, and never stands in the daemon's config.

`format`, `templates` and `window` are written into the model directory's manifest.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from logmlm.config.redaction import RULE_NAMES, Redactor, Rule
from logmlm.config.regex import compile_user_pattern
from logmlm.config.types import (
    DURATION_FORM,
    Duration,
    NonEmptyPath,
    Regex,
    StrictModel,
    StringList,
    _compiled_regex,
    parse_duration,
)


class CustomFormat(StrictModel):
    """A line format of the user's own.

    `pattern` has the named groups `message` and, as far as the lines have them, `timestamp`,
    `level`, `label`; every other named group becomes an attribute. `timestamp_format` is a
    strptime format, or `epoch`, `epoch_ms` or `iso8601`. `continuation` says what becomes of
    a line that does not match: joined to the line before it, or counted as discarded.
    """

    pattern: Regex
    timestamp_format: str = "iso8601"
    continuation: Literal["join", "discard"] = "join"


class MultilineConfig(StrictModel):
    """Which lines together are one message, as Vector's `multiline` says it.

    A line that matches `start_pattern` begins a message. By `mode`, the next lines belong to it
    while they match `condition_pattern` (`continue_through`), and one line more
    (`continue_past`); or until one matches (`halt_before`), that one too (`halt_with`). A
    message is taken as it is when no line came for `timeout_ms`. Only its first line is read
    for fields and template; all its lines are shown.
    """

    start_pattern: Regex
    condition_pattern: Regex
    mode: Literal["continue_through", "continue_past", "halt_before", "halt_with"]
    timeout_ms: Annotated[int, Field(gt=0)] = 1000


_JUL_START = r"^[A-Z][a-z]{2}\.? {1,2}\d{1,2}, \d{4},? \d{1,2}:\d\d:\d\d.[AP]M "


_NO_SETTING = (
    r"(?:# administrator command: |[^#Su]|S[^E]|SE[^T]|SET[^ ]|SET [^t]|u[^s]|us[^e]|use[^ ])"
)


MULTILINE: Mapping[str, MultilineConfig] = MappingProxyType(
    {
        "jul": MultilineConfig(
            start_pattern=_JUL_START, condition_pattern=_JUL_START, mode="halt_before"
        ),
        "mysql_slow": MultilineConfig(
            start_pattern=r"^# (?:Time|User@Host): ",
            condition_pattern=rf"^(?:{_NO_SETTING}.*)?;\s*$",
            mode="halt_with",
        ),
    }
)
"""How the lines of formats are joined whose events have several lines."""


class FormatConfig(StrictModel):
    """Where a line's timestamp, level, fields and message are.

    Stack traces and the like are joined by most formats themselves; `multiline` is for others.
    `message_field`, `time_field` and `level_field` name fields of JSON lines (and of JSON in the
    lines of containers) that go before the usual names; `a.b` is the field of that name, or field
    `b` of field `a`.
    Formats whose events have several lines have one of their own (`MULTILINE`).
    """

    name: str = "auto"
    custom: dict[str, CustomFormat] = Field(default_factory=dict)
    timezone: str = "UTC"
    multiline: MultilineConfig | None = None
    message_field: Annotated[str, Field(min_length=1)] | None = None
    time_field: Annotated[str, Field(min_length=1)] | None = None
    level_field: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _with_its_own(cls, given: Any) -> Any:
        """Join lines as the format asks for, unless the config says how."""
        if not isinstance(given, dict) or given.get("multiline") is not None:
            return given
        name = str(given.get("name"))
        if name not in MULTILINE or name in (given.get("custom") or {}):
            return given
        return given | {"multiline": MULTILINE[name].model_dump()}

    def named(self, name: str) -> FormatConfig:
        """Return the same config for the format of that name, which `auto` found."""
        own = None if name in self.custom else MULTILINE.get(name)
        return self.model_copy(update={"name": name, "multiline": self.multiline or own})


class MaskConfig(StrictModel):
    """A named mask of the user's own: what `pattern` matches becomes `<NAME>`."""

    name: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")]
    pattern: Regex


class RedactionRuleConfig(StrictModel):
    """A redaction rule of the user's own: what `pattern` matches, or its first group, is replaced.

    `replacement` is `[name]` if it is left out.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
    pattern: Regex
    replacement: str | None = None


class RedactionConfig(StrictModel):
    """What is taken out of log lines before they are kept or sent.

    All built-in rules are on but those that `disable` names; `rules` are applied before them.
    """

    disable: StringList = ()
    rules: tuple[RedactionRuleConfig, ...] = ()

    @field_validator("disable")
    @classmethod
    def _rules_are_there(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in RULE_NAMES:
                known = ", ".join(RULE_NAMES)
                raise ValueError(f"there is no rule '{name}' to disable; there are {known}")
        return names

    def redactor(self) -> Redactor:
        """Make the redactor that applies the rules."""
        own = (
            Rule(
                rule.name, compile_user_pattern(rule.pattern), rule.replacement or f"[{rule.name}]"
            )
            for rule in self.rules
        )
        return Redactor(self.disable, tuple(own))


class TemplateConfig(StrictModel):
    """Drain's settings (He et al., ICWS 2017) and the masks before it."""

    similarity: Annotated[float, Field(gt=0, le=1)] = 0.75
    """Share of equal words that makes two lines one template; high, as masks did the rest."""
    depth: Annotated[int, Field(ge=3, le=16)] = 4
    max_children: Annotated[int, Field(ge=2)] = 100
    max_templates: Annotated[int, Field(ge=1)] = 10_000
    masks: tuple[str, ...] | None = None
    """Names of built-in masks, in order; None takes all."""
    extra_masks: tuple[MaskConfig, ...] = ()
    examples: bool = False
    """Keep the first line of each template as it was, redacted; else its masked form is kept."""


HOST_SKEW_S = 10.0


class WindowConfig(StrictModel):
    """Which events are scored together.

    `session`: events of one key, closed after `gap` seconds without one, at `size` events,
    and once in `max_age` seconds, each key at times of its own. `count`: every `size` events of a
    partition. `time`: tumbling spans of `span` seconds, in partition (and by `key` where one is
    given). A line whose time is more than `clock_tolerance` ahead of the lines around it does not
    move event time. Where lines of several hosts are mixed, the clocks of these may differ by
    `host_skew`; with `auto`, training takes `HOST_SKEW_S` if the first lines name several, else 0.
    `auto`, for training alone, takes kind, key, gap and size that fit the first lines.
    """

    kind: Literal["auto", "session", "count", "time"] = "count"
    key: str | None = None
    """A field's name, or a regular expression over the message whose first group is the key."""
    gap: Duration = 60.0
    size: Annotated[int, Field(ge=2, le=510)] = 128
    span: Duration = 10.0
    max_age: Duration = 3600.0
    clock_tolerance: Duration = 60.0
    host_skew: (
        Literal["auto"]
        | Annotated[float, BeforeValidator(parse_duration), DURATION_FORM, Field(ge=0)]
    ) = "auto"

    @model_validator(mode="after")
    def _session_has_key(self) -> WindowConfig:
        if self.kind == "session" and self.key is None:
            raise ValueError("window kind 'session' needs a 'key'")
        if self.kind == "auto" and any(
            getattr(self, name) != WindowConfig.model_fields[name].default for name in _PROPOSED
        ):
            raise ValueError("window kind 'auto' chooses key, gap and size itself; name the kind")
        return self

    @property
    def host_skew_s(self) -> float:
        """`host_skew` in seconds; 0 as long as training has not chosen."""
        return 0.0 if self.host_skew == "auto" else self.host_skew

    @field_validator("key")
    @classmethod
    def _key_is_name_or_regex(cls, key: str | None) -> str | None:
        if key is not None and not key.isidentifier():
            _compiled_regex(key)
        return key


_PROPOSED = ("key", "gap", "size", "span")
"""Settings that `auto` chooses, beside the kind."""


_WINDOW_KINDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "gap": ("session",),
        "max_age": ("session",),
        "span": ("time",),
        "host_skew": ("session", "time"),
    }
)
"""Settings of a window that not every kind heeds, and the kinds that do."""


def unheeded(setting: str, kind: str) -> str:
    """Return which kinds of windows heed a setting; empty if this one does."""
    kinds = _WINDOW_KINDS.get(setting, (kind,)) if kind != "auto" else (kind,)
    return "" if kind in kinds else " and ".join(kinds)


class ModelConfig(StrictModel):
    """The encoder and how it is trained."""

    preset: Literal["tiny", "small", "base"] = "tiny"
    positions: Literal["auto", "rotary", "absolute"] = "auto"
    """How the model knows the order of lines: by their distances (RoFormer), or by their places in
    the window (BERT). `auto` takes places for sessions, which have a beginning, unless they are
    long; it takes distances for these, and for other windows, which begin anywhere."""
    epochs: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    """Passes over the training windows; `auto` makes as many as a good model needs."""
    budget: Literal["auto", "none"] | Duration = "auto"
    """How long training may take where `epochs` is `auto`; `auto`: 5m on a CPU, else no limit."""
    batch_size: Annotated[int, Field(ge=1)] = 32
    learning_rate: Annotated[float, Field(gt=0)] = 3e-3
    seed: Annotated[int, Field(ge=0)] = 0
    device: str = "auto"
    min_count: Annotated[int, Field(ge=1)] = 2
    patience: Annotated[int, Field(ge=0)] = 0
    """Epochs without a better validation loss before training stops; 0 never stops early."""

    @model_validator(mode="after")
    def _epochs_or_budget(self) -> ModelConfig:
        if self.epochs != "auto" and self.budget not in ("auto", "none"):
            raise ValueError("give epochs or a budget, not both: epochs take as long as they take")
        return self


class ThresholdConfig(StrictModel):
    """How many false alarms are promised; one of the two, `alerts_per_day` 1 by default."""

    alerts_per_day: Annotated[float, Field(gt=0)] | None = None
    false_alarm_rate: Annotated[float, Field(gt=0, lt=1)] | None = None
    folds: Literal["auto"] | Annotated[int, Field(ge=0)] = "auto"
    contamination: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    """The share of windows that may be anomalies which nobody labelled: so many of the oddest are
    left out of what is learned."""
    exactness: Annotated[float, Field(gt=0, lt=1)] = 0.9999
    """Of the alerts that exact scoring makes, the share that are made too when a cheaper look
    decides which windows are scored exactly."""

    new_errors: bool = True
    """A line that training never saw alarms by itself if it is an error: by its level, by an HTTP
    status from 500 on or, if it has no level, by its words."""

    @model_validator(mode="after")
    def _one_of_two(self) -> ThresholdConfig:
        if self.alerts_per_day is not None and self.false_alarm_rate is not None:
            raise ValueError("give alerts_per_day or false_alarm_rate, not both")
        return self


class TrainingConfig(StrictModel):
    """What `logmlm train` is told: the logs, where the model directory goes, and how.

    `logs` are paths or globs of normal logs; `labels` is a file that says which of their
    windows are anomalies, so that these are kept out, or `in-line` where the log's own label
    column says it. `name` is what alerts call the model. Where nothing is said of the windows'
    kind, key, gap, size or span, the kind is `auto`.
    """

    logs: Annotated[StringList, Field(min_length=1)]
    out: NonEmptyPath
    name: Annotated[str, Field(min_length=1)] | None = None
    labels: NonEmptyPath | None = None
    format: FormatConfig = Field(default_factory=FormatConfig)
    templates: TemplateConfig = Field(default_factory=TemplateConfig)
    redact: RedactionConfig = Field(default_factory=RedactionConfig)
    window: WindowConfig = Field(default_factory=lambda: WindowConfig(kind="auto"))
    model: ModelConfig = Field(default_factory=ModelConfig)
    threshold: ThresholdConfig = Field(default_factory=ThresholdConfig)

    @field_validator("window", mode="before")
    @classmethod
    def _windows_are_proposed(cls, given: Any) -> Any:
        """Take the kind `auto` where nothing is said that goes with another."""
        if not isinstance(given, dict) or any(name in given for name in ("kind", *_PROPOSED)):
            return given
        return given | {"kind": "auto"}

    @field_validator("threshold")
    @classmethod
    def _folds_are_several(cls, threshold: ThresholdConfig) -> ThresholdConfig:
        if threshold.folds == 1:  # model directories of older versions may say so
            raise ValueError("folds 1 leaves nothing to train on; give 2 or more, 0 or auto")
        return threshold


class TrainingFile(TrainingConfig):
    """What a file says of a training: `logs` and `out` may be left to the command line."""

    logs: Annotated[StringList, Field(min_length=1)] = ()
    out: NonEmptyPath = Path()

    @property
    def left_out(self) -> tuple[str, ...]:
        """Keys that the command line is to give."""
        return tuple(key for key in ("logs", "out") if key not in self.model_fields_set)
