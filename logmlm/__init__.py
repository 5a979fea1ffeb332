"""logmlm learns the language of a system's own logs and says when a line does not belong.

`train` makes a model directory of normal logs, `load` opens one, and the `Detector` that both
return scores files (`score_files`), streams (`stream`) and lists of lines (`decision_function`,
`predict`). What `__all__` names is the public interface; everything else in the package is
private and may change with any version. Names are resolved when they are asked for (PEP 562), so
that `import logmlm` stays light; type checkers read `__init__.pyi`.
"""

import importlib
from importlib.metadata import version
from types import MappingProxyType
from typing import Any

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
