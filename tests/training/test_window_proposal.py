"""Windows that fit a log, from its first lines: recorded logs, synthetic ones, and any number."""

import gzip
import random
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logmlm.config.training import TrainingConfig
from logmlm.detection.windows import Windower
from logmlm.mlm.corpus import MIN_WINDOWS
from logmlm.parsing.event_parser import EventParser
from logmlm.parsing.formats import detect_format
from logmlm.records import LogLine
from logmlm.training.window_proposal import ENOUGH_WINDOWS, propose_window, size_for

SAMPLES = Path(__file__).parents[2] / "sample_logs"
AUTO = TrainingConfig(logs="a.log", out="m")


def seeded(seed):
    return random.Random(seed)  # noqa: S311  no secret


def numbered(texts):
    return [LogLine(text, "p", i, i + 1, 1.7e9, i + 1) for i, text in enumerate(texts)]


def proposed(texts, config=AUTO):
    line_format = detect_format(texts[:1000], config.format).format
    return propose_window(config, line_format, numbered(texts))


def windows_made(texts, window):
    line_format = detect_format(texts[:1000], AUTO.format).format
    parser = EventParser(line_format, window.key, lambda _: "", finished=True)
    windower = Windower(window)
    events = parser.feed(numbered(texts)) + parser.flush()
    return windower.add(events) + windower.close_all()


def recorded(system, lines):
    with gzip.open(SAMPLES / system / "normal.log.gz", "rt") as log:
        return [line.rstrip("\n") for line in islice(log, lines)]


def times(count, seconds=0.1):
    stamps = (divmod(i * seconds, 60) for i in range(count))
    return [f"2026-11-01T10:{int(m):02d}:{s:09.6f}Z" for m, s in stamps]


def interleaved(key, lines, rng, steps=("begin", "load cart", "charge card", "send mail", "end")):
    """Requests of five lines each, three of them at a time, in a log with a time a line."""
    open_ones, messages = [], []
    while len(messages) < lines:
        while len(open_ones) < 3:
            open_ones.append([f"{rng.getrandbits(32):08x}", 0])
        each = rng.choice(open_ones)
        messages.append(f"INFO {key.format(each[0])} {steps[each[1]]}")
        each[1] += 1
        if each[1] == len(steps):
            open_ones.remove(each)
    return [f"{t} {m}" for t, m in zip(times(lines), messages, strict=True)]


@pytest.mark.parametrize("lines", [500, 2_000])
@pytest.mark.parametrize(("system", "key"), [("postgresql", "pid"), ("nginx", "client")])
def test_a_recorded_log_goes_by_the_field_that_its_sessions_have(system, key, lines):
    texts = recorded(system, lines)
    found = proposed(texts)
    assert (found.window.kind, found.window.key) == ("session", key)
    assert len(windows_made(texts, found.window)) >= MIN_WINDOWS
    assert all(word in found.reason for word in ("--key", "--window", key))


def test_ids_of_several_kinds_in_messages_are_one_key():
    texts = recorded("redis", 2_000)
    found = proposed(texts).window
    made = windows_made(texts, found)
    keys = {window.key for window in made}
    assert any(key.startswith("127.0.0.1:") for key in keys)
    assert any(key.startswith("job ") for key in keys)
    assert sum(len(each.events) for each in made if each.key) > 0.8 * len(texts)


@pytest.mark.parametrize("key", ["request={}", "[req-{}]", "job {}:", "trace_{} :"])
def test_an_id_in_the_message_is_a_key_whatever_it_is_called(key):
    texts = interleaved(key, 1_000, seeded(1))
    window = proposed(texts).window
    made = windows_made(texts, window)
    assert window.kind == "session"
    assert len(made) >= ENOUGH_WINDOWS
    assert max(len(each.events) for each in made) == 5


def test_a_field_of_json_is_a_key():
    rng, texts = seeded(2), []
    for text in interleaved("{}", 1_000, rng):
        stamp, _, span, message = text.split(" ", 3)
        texts.append(f'{{"time": "{stamp}", "span": "{span}", "message": "{message}"}}')
    assert (proposed(texts).window.kind, proposed(texts).window.key) == ("session", "span")


def test_what_a_line_says_is_no_key():
    rng = seeded(3)
    messages = [f"worker {i % 2} did step {rng.randrange(5)} of part p{i % 7}" for i in range(900)]
    texts = [f"{t} INFO {m}" for t, m in zip(times(900), messages, strict=True)]
    found = proposed(texts)
    assert (found.window.kind, found.window.size) == ("count", 8)
    assert all(word in found.reason for word in ("8 lines", "--size"))


def test_a_pause_that_ends_a_session_is_longer_than_those_in_it():
    texts = interleaved("request={}", 600, seeded(4))
    assert proposed(texts).window.gap == 5.0
    stamps = times(600, seconds=2.0)
    slower = [f"{s} {t.split(' ', 1)[1]}" for s, t in zip(stamps, texts, strict=True)]
    assert proposed(slower).window.gap > 10.0


def test_windows_get_longer_with_the_number_of_lines():
    sizes = [size_for(lines) for lines in (40, 500, 2_000, 5_000, 20_000, 65_536, 10**6)]
    assert sizes == sorted(sizes)
    assert (sizes[0], sizes[1], sizes[-1]) == (2, 8, 128)


@settings(max_examples=200)
@given(st.integers(2 * MIN_WINDOWS, 200_000))
def test_a_size_leaves_windows_enough_wherever_one_can(lines):
    assert lines // size_for(lines) >= MIN_WINDOWS


@settings(max_examples=25, deadline=None)
@given(
    st.integers(2 * MIN_WINDOWS, 400),
    st.integers(1, 40),
    st.sampled_from(["request={}", "INFO", "job {}"]),
    st.randoms(use_true_random=False),
)
def test_a_proposal_makes_windows_enough_wherever_lines_can(lines, keys, lead, rng):
    """Whatever ids there are, and however they come."""
    messages = [
        f"INFO {lead.format(100 + rng.randrange(keys))} step {'abcdef'[rng.randrange(6)]}"
        for _ in range(lines)
    ]
    texts = [f"{t} {m}" for t, m in zip(times(lines), messages, strict=True)]
    assert len(windows_made(texts, proposed(texts).window)) >= MIN_WINDOWS


def test_other_settings_of_windows_stay_as_they_were_told():
    config = TrainingConfig(logs="a", out="m", window={"clock_tolerance": "5m"})
    window = proposed(recorded("nginx", 500), config).window
    assert (window.kind, window.clock_tolerance) == ("session", 300.0)
