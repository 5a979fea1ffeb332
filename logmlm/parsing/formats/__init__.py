"""Line formats: where a line's timestamp, level, message and attributes are.

`get_format` gives one by name and `detect_format` decides from the first lines; an
`EventAssembler` joins what belongs together and completes timestamps.
"""

from logmlm.parsing.formats.assembler import EventAssembler
from logmlm.parsing.formats.attributes import ALIASES, RECORDS, attribute
from logmlm.parsing.formats.detect import MIN_SHARE, Detection, detect_format
from logmlm.parsing.formats.fragments import AssembledLine
from logmlm.parsing.formats.line_format import (
    EMPTY,
    Continuation,
    LazyAttributes,
    LineFormat,
    PatternFormat,
    first_line,
)
from logmlm.parsing.formats.multiline import MultilineJoiner, join_all
from logmlm.parsing.formats.registry import FORMATS, get_format

__all__ = [
    "ALIASES",
    "EMPTY",
    "FORMATS",
    "MIN_SHARE",
    "RECORDS",
    "AssembledLine",
    "Continuation",
    "Detection",
    "EventAssembler",
    "LazyAttributes",
    "LineFormat",
    "MultilineJoiner",
    "PatternFormat",
    "attribute",
    "detect_format",
    "first_line",
    "get_format",
    "join_all",
]
