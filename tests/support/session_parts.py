"""Lines of sessions that overlap, some of them late; line `i` is the same whenever it is made.

What is committed then lies well before what was read, and only the lines' own times say where
a session ends. Their clock runs far ahead of the daemon's, so that no session is ended because
nothing came for a while, which is another rule than that of a run that nothing disturbs.
"""

import zlib
from datetime import UTC, datetime

from logmlm.config.training import WindowConfig
from logmlm.detection.watermark import LOOKAHEAD_EVENTS

BEGIN = datetime(2024, 5, 6, tzinfo=UTC).timestamp()
STEP_S = 150
"""Of event time, between two lines."""
BLOCK, AT_ONCE = 30, 5
"""So many lines are of so many sessions, or now and then of one of those before."""
LATEST_S = 15_000
KEY = r"(s\d+)"
FAR_S = 1e7


def line(i, name="", odd_every=1):
    """Line `i`; every so many are odd, and about a tenth is late."""
    luck = zlib.crc32(b"%d" % i + name.encode())
    session = i // BLOCK * AT_ONCE + luck % AT_ONCE
    if luck // 8 % 8 == 0:
        session = max(0, session - AT_ONCE)
    late = luck // 64 % LATEST_S if luck // 128 % 10 == 0 else 0
    word = "usual" if i % odd_every else "ODD"
    return f"{_stamp(BEGIN + i * STEP_S - late)} INFO s{session} {word} {name}{i}"


def last_lines(i):
    """Lines so late that they end all sessions before line `i`: one alone would be taken for wrong.

    Each is in an open session itself.
    """
    stamp = _stamp(BEGIN + i * STEP_S + FAR_S)
    return [f"{stamp} INFO s{i + more} the end" for more in range(2 + LOOKAHEAD_EVENTS)]


def windows(size):
    """The rule by which these lines are windows: cut by length, by age, and by silence."""
    return WindowConfig(kind="session", key=KEY, gap=20 * STEP_S, max_age=500 * STEP_S, size=size)


def _stamp(seconds):
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
