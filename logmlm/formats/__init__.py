"""Line formats: where a line's timestamp, level, message and attributes are.

`get_format` gives one by name and `detect_format` decides from the first lines; an
`Assembler` joins what belongs together and completes timestamps.
"""

from logmlm.formats.assemble import Assembler
from logmlm.formats.attributes import ALIASES, RECORDS, attribute
from logmlm.formats.catalogue import FORMATS, get_format
from logmlm.formats.detect import MIN_SHARE, Detection, detect_format
from logmlm.formats.line_format import (
    EMPTY,
    Attributes,
    Continuation,
    LineFormat,
    PatternFormat,
    first_line,
)
from logmlm.formats.multiline import Joiner, joined
from logmlm.formats.parts import Assembled

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
