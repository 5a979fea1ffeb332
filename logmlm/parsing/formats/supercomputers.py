"""The supercomputers of the public data sets: BGL and Thunderbird, labels set apart.

Oliner and Stearley, "What Supercomputers Say", DSN 2007; layouts as in loghub.
"""

from __future__ import annotations

import re
from datetime import tzinfo

from logmlm.parsing.formats.line_format import PatternFormat
from logmlm.parsing.formats.timestamps import EPOCH

_BGL = (
    rf"(?P<label>\S+) {EPOCH} \d{{4}}\.\d\d\.\d\d (?P<host>\S+) \d{{4}}(?:-\d\d){{3}}[\d.]+ \S+ "
    r"(?P<type>\S+) (?P<logger>\S+) (?P<level>\S+)(?:\s+(?P<message>.*)|$)"
)
# The message begins after the first colon, wherever it is: as published, so that results
# on this data can be compared.
_THUNDERBIRD = (
    rf"(?P<label>\S+) {EPOCH} \d{{4}}\.\d\d\.\d\d (?P<host>\S+) [A-Z][a-z]{{2}} +\d\d? [\d:]{{8}} "
    r"(?P<location>\S+) (?:(?P<service>.*?)(?:\[(?P<pid>\d+)\])?:\s+)?(?P<message>.*)"
)


def bgl(zone: tzinfo) -> PatternFormat:
    """Blue Gene/L: label, epoch, date, node, time, node, type, component, level, message."""
    return PatternFormat("bgl", re.compile(_BGL, re.ASCII), zone, "discard")


def thunderbird(zone: tzinfo) -> PatternFormat:
    """Thunderbird: label, epoch, date, host, syslog's time, location, component, message."""
    return PatternFormat("thunderbird", re.compile(_THUNDERBIRD, re.ASCII), zone, "discard")
