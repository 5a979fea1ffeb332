"""Line formats: where a line's timestamp, level, message and attributes are.

`get_format` gives one by name and `detect_format` decides from the first lines; an
`Assembler` joins what belongs together and completes timestamps.
"""

from logmlm.parsing.formats.assembler import Assembler
from logmlm.parsing.formats.attributes import ALIASES, RECORDS, attribute
from logmlm.parsing.formats.detect import MIN_SHARE, Detection, detect_format
from logmlm.parsing.formats.fragments import Assembled
from logmlm.parsing.formats.line_format import (
    EMPTY,
    Attributes,
    Continuation,
    LineFormat,
    PatternFormat,
    first_line,
)
from logmlm.parsing.formats.multiline import Joiner, joined
from logmlm.parsing.formats.registry import FORMATS, get_format

__all__ = [
    "ALIASES",
    "EMPTY",
    "FORMATS",
    "MIN_SHARE",
    "RECORDS",
    "Assembled",
    "Assembler",
    "Attributes",
    "Continuation",
    "Detection",
    "Joiner",
    "LineFormat",
    "PatternFormat",
    "attribute",
    "detect_format",
    "first_line",
    "get_format",
    "joined",
]
