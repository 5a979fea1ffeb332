"""logmlm learns the language of a system's own logs and says when a line does not belong.

`train` makes a model directory of normal logs, `load` opens one, and the `Detector` that both
return scores files (`score_files`), streams (`stream`) and lists of lines (`decision_function`,
`predict`). What `__all__` names is the public interface; everything else in the package is
private and may change with any version. Names are resolved at first use (PEP 562), so that
`import logmlm` stays light; type checkers read the imports under `TYPE_CHECKING`.
"""

import importlib
from importlib.metadata import version
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from logmlm import errors
    from logmlm.detection.detector import Detector, load
    from logmlm.records import Alert, Event, Expectation, LogLine, Score, Window
    from logmlm.training.library import train

__version__ = version("logmlm")
__all__ = [
    "Alert",
    "Detector",
    "Event",
    "Expectation",
    "LogLine",
    "Score",
    "Window",
    "__version__",
    "errors",
    "load",
    "train",
]
_MODULES = MappingProxyType(
    {
        **dict.fromkeys(("Alert", "Event", "Expectation", "LogLine", "Score", "Window"), "records"),
        **dict.fromkeys(("Detector", "load"), "detection.detector"),
        "train": "training.library",
    }
)
"""The module of each public name."""


if not TYPE_CHECKING:  # or a checker would take every unknown name for `Any`

    def __getattr__(name: str) -> Any:
        if name == "errors":
            return importlib.import_module("logmlm.errors")
        if name not in _MODULES:
            raise AttributeError(f"module 'logmlm' has no attribute '{name}'")
        found = getattr(importlib.import_module(f"logmlm.{_MODULES[name]}"), name)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
