"""Windows' ids: the same wherever the same lines come in the same place."""

from dataclasses import replace

from logmlm.detection.windows import window_id
from logmlm.records import Event, Fields, LogLine, Window


def event(start):
    line = LogLine(f"line {start}", "p", start, start + 10, 0.0)
    return Event(line, Fields(7.0, "INFO", "m"), 7.0, "k", "t")


WINDOW = Window("p", "k", (event(20), event(0), event(10)), "idle", complete=True)
GOLDEN = "da497c166e20a767"
"""`printf '%s\\0' d p k 0 20 'line 20' 'line 0' 'line 10' | head -c -1 | sha256sum`"""


def with_text(text):
    first, *rest = WINDOW.events
    return replace(WINDOW, events=(first._replace(line=first.line._replace(text=text)), *rest))


def test_a_windows_id_is_a_hash_of_model_place_key_and_lines():
    assert window_id("d", WINDOW) == GOLDEN
    changed = [
        window_id("e", WINDOW),
        window_id("d", replace(WINDOW, partition="q")),
        window_id("d", replace(WINDOW, key="l")),
        window_id("d", replace(WINDOW, events=WINDOW.events[1:])),
        window_id("d", replace(WINDOW, events=WINDOW.events[:1])),
        window_id("d\0p", replace(WINDOW, partition="k", key="")),
        window_id("d", with_text("line of a topic that was made anew")),
    ]
    assert len({window_id("d", WINDOW), *changed}) == 8
    assert window_id("d", replace(WINDOW, closed_by="age", complete=False)) == GOLDEN


def test_a_windows_id_hangs_neither_on_what_follows_a_line_nor_on_which_file_was_met_first():
    assert window_id("d", with_text("line 20\n  at a.b(C.java)")) == GOLDEN
    name = "0123456789abcdef"
    alone, beside = (replace(WINDOW, partition=each) for each in (name, f"{name}-12"))
    assert window_id("d", alone) == window_id("d", beside)
    one, other = (replace(WINDOW, partition=f"logs/{number}") for number in (1, 2))
    assert window_id("d", one) != window_id("d", other)


def test_a_key_that_is_no_unicode_has_an_id_too():
    assert len(window_id("d", replace(WINDOW, key="\udcff"))) == 16
