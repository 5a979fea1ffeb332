"""The log of a small service without end, and a real model of it, trained in seconds.

As in real logs, most windows repeat: there are three kinds of sessions, whose numbers are masked.
"""

import random
from datetime import timedelta
from itertools import islice

from offline_parts import BEGIN, KINDS, ODD, logmlm, write_log

TRAIN = (
    *("--preset", "tiny", "--epochs", "20", "--folds", "0", "--false-alarm-rate", "0.01"),
    *("--key", r"(req-\d+)", "--gap", "30s"),
)
AT_ONCE = 4


def endless(*, odd_every, seed=1, odd_first=0):
    """Lines of sessions, four at a time; one of so many fails, and the first ones do."""
    luck, running = random.Random(seed), []  # noqa: S311  a log, no secret
    moment, number = BEGIN, 0
    while True:
        while len(running) < AT_ONCE:
            number += 1
            is_odd = number <= odd_first or number % odd_every == 0
            running.append((f"req-{number}", iter(ODD if is_odd else luck.choice(KINDS))))
        at = luck.randrange(AT_ONCE)
        key, steps = running[at]
        step = next(steps, None)
        if step is None:
            del running[at]
            continue
        moment += timedelta(milliseconds=luck.randrange(20, 900))
        stamp = moment.isoformat(timespec="milliseconds").removesuffix("+00:00")
        text = step.format(key=key, n=luck.randrange(9999), small=luck.randrange(1, 250))
        yield f"{stamp}Z INFO {text}"


def trained(directory):
    """Train on normal lines; the model directory."""
    normal = islice(endless(odd_every=10**9, seed=0), 3000)
    log = write_log(directory / "normal.log", normal)
    outcome = logmlm("train", log, "--out", directory / "model", *TRAIN)
    assert outcome.code == 0, outcome.err
    return str(directory / "model")
