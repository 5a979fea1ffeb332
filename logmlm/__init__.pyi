from logmlm import errors as errors
from logmlm.detection.detector import Detector as Detector
from logmlm.detection.detector import load as load
from logmlm.records import Alert as Alert
from logmlm.records import Event as Event
from logmlm.records import Expectation as Expectation
from logmlm.records import LogLine as LogLine
from logmlm.records import Score as Score
from logmlm.records import Window as Window
from logmlm.training.library import train as train

__version__: str
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
