"""A stream of syslog messages comes apart the same however the network cuts it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logmlm.sources.syslog.framing import Frame, Framer, datagram


def frames(*chunks, most=100):
    framer = Framer(most)
    found = [frame for chunk in chunks for frame in framer.add(chunk)]
    return found + framer.rest()


def texts(*chunks, most=100):
    return [frame.text for frame in frames(*chunks, most=most)]


def test_counted_octets_may_hold_newlines_and_stand_beside_lines():
    stream = b"8 <1>one\nx<2>two\r\n<3>three\0\n13 <4>four\nfive\n"
    assert texts(stream) == ["<1>one\nx", "<2>two", "<3>three", "<4>four\nfive"]


def test_a_message_that_ends_with_nul_comes_at_once_and_not_at_the_end_of_the_connection():
    framer = Framer(100)
    at_once = framer.add(b"<14>one\0<14>two\0<14>th")
    assert [frame.text for frame in at_once] == ["<14>one", "<14>two"]
    assert [frame.text for frame in framer.add(b"ree\0\n7 <14>a\0b<14>c\r\n")] == [
        "<14>three",
        "<14>a\0b",
        "<14>c",
    ]
    assert framer.rest() == []


def test_a_line_that_begins_with_a_number_is_a_line():
    assert texts(b"10 green bottles\n2024-01-01 ok\n7\n") == [
        "10 green bottles",
        "2024-01-01 ok",
        "7",
    ]


def test_empty_messages_are_left_out():
    assert texts(b"\n\r\n\0\n<1>a\n\n5 <1>b\n\n") == ["<1>a", "<1>b"]


def test_what_the_stream_ended_within_is_handed_over_and_told():
    assert frames(b"<1>no newline") == [Frame("<1>no newline", False)]
    assert frames(b"99 <1>too short") == [Frame("<1>too short", False, incomplete=True)]
    assert frames(b"12") == [Frame("12", False)]
    assert frames() == []


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\0"])
@pytest.mark.parametrize(("length", "cut"), [(99, False), (100, False), (101, True), (5000, True)])
def test_a_message_over_the_limit_is_cut_and_the_next_one_is_whole(length, cut, end):
    content = b"<1>" + b"x" * (length - 3)
    counted = b"%d " % len(content + end) + content + end
    assert frames(counted, b"<2>next\n") == [
        Frame(content[:100].decode(), cut),
        Frame("<2>next", False),
    ]
    line = content + (end if end.endswith(b"\n") else b"\n")
    assert frames(line, b"<2>next\n")[0] == Frame(content[:100].decode(), cut)
    assert datagram(content + end, 100) == [Frame(content[:100].decode(), cut)]


def test_memory_is_bounded_whatever_length_is_claimed():
    framer = Framer(100)
    assert framer.add(b"9999999999 <") == []
    for _ in range(100):
        assert framer.add(b"x" * 10_000) == []
    assert len(framer._message) + len(framer._unread) < 200


def test_bytes_that_are_no_utf8_are_written_out():
    assert texts(b"<1>caf\xe9\n") == ["<1>caf\\xe9"]
    assert datagram(b"\0\n", 100) == []


BODIES = st.text("ab <9\r\n\0é", max_size=30)
ENDS = st.sampled_from([b"\n", b"\r\n", b"\0", b"\0\n"])
MESSAGES = st.lists(st.tuples(st.booleans(), BODIES, ENDS), max_size=8)


@settings(deadline=None)
@given(MESSAGES, st.lists(st.integers(0, 400), max_size=10))
def test_the_same_messages_come_however_they_are_cut(messages, cuts):
    stream, expected = b"", []
    for counted, body, end in messages:
        text = "<13>" + body
        if not counted:
            text = text.replace("\n", " ").replace("\0", " ")
        raw = text.encode()
        stream += b"%d " % len(raw) + raw if counted else raw + end
        expected.append(text.rstrip("\r\n\0"))
    places = sorted(min(cut, len(stream)) for cut in cuts)
    pieces = [stream[a:b] for a, b in zip([0, *places], [*places, len(stream)], strict=True)]
    assert texts(*pieces, most=1000) == expected
