"""Another number of false alarms than the one that was trained for, without training anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from logmlm.detection.calibration import Calibration, Kind
from logmlm.detection.novelty import NoveltyRule
from logmlm.detection.surges import RATE_SHARE


class _Asked(Protocol):
    @property
    def alerts_per_day(self) -> float | None: ...

    @property
    def false_alarm_rate(self) -> float | None: ...


@dataclass(frozen=True, slots=True)
class AlarmLevel:
    """The false alarms that are asked for: so many a day, or a share of normal windows.

    The threshold is found anew among the held-out windows that the model directory keeps.
    """

    alerts_per_day: float | None = None
    false_alarm_rate: float | None = None

    @classmethod
    def of(cls, asked: _Asked) -> AlarmLevel | None:
        """Return what a config asks for; None where that is what was trained for."""
        if asked.alerts_per_day is None and asked.false_alarm_rate is None:
            return None
        return cls(asked.alerts_per_day, asked.false_alarm_rate)

    def calibration(self, trained: Calibration) -> Calibration:
        """Return the calibration of whole windows at this level."""
        rate = self.false_alarm_rate
        if rate is None:
            rate = min(0.5, (self.alerts_per_day or 1.0) / trained.promise.windows_per_day)
        return trained.at_rate(rate, self.alerts_per_day)

    def parts(
        self, whole: Calibration, trained: Mapping[Kind, Calibration]
    ) -> dict[Kind, Calibration]:
        """Return those of windows that were cut, beside `whole`, which is at this level."""
        rate = whole.promise.rate * (1 - RATE_SHARE if whole.surge else 1)
        return {kind: each.at_rate(rate, self.alerts_per_day) for kind, each in trained.items()}

    def novelty(self, whole: Calibration, trained: NoveltyRule | None) -> NoveltyRule | None:
        """Return the rule of never-seen lines, beside `whole`, which is at this level."""
        return None if trained is None else replace(trained, rate=whole.promise.rate)
