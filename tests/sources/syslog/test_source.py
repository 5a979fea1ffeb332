"""What is sent by UDP, TCP and unix sockets comes as lines, and nobody can hold it up."""

import socket
import time
from contextlib import closing, suppress

import pytest

from logmlm.config.sources import SyslogSourceConfig
from logmlm.config.training import FormatConfig
from logmlm.errors import StorageError
from logmlm.parsing.event_parser import EventParser
from logmlm.parsing.formats import get_format
from logmlm.records import Checkpoint
from logmlm.sources.syslog.source import SyslogSource

RFC3164 = b"<34>Oct 11 22:14:15 web1 su[12]: 'su root' failed"
RFC5424 = b"<165>1 2003-10-11T22:14:15.003Z web1 evntslog 7 ID47 - An application event"


class Desk:
    """A source with a clock, and its clients."""

    def __init__(self):
        self.now = 1000.0
        self.opened = []

    def start(self, **config):
        now = lambda: self.now  # noqa: E731  both clocks
        self.source = SyslogSource(SyslogSourceConfig(**config), clock=now, monotonic=now)
        self.opened.append(self.source)
        return {name.split("/")[1]: name for name in self.source.checkpoints()}

    def read(self, count, within=5.0):
        lines, deadline = [], time.monotonic() + within
        while len(lines) < count and time.monotonic() < deadline:
            lines += self.source.poll(0.05)
        return lines

    def texts(self, count):
        return [line.text for line in self.read(count)]

    def client(self, partition, kind=socket.SOCK_STREAM):
        where = partition.split("/", 2)[2]
        family = socket.AF_UNIX if "unix" in partition else socket.AF_INET
        client = socket.socket(family, kind)
        self.opened.append(client)
        client.connect(where if "unix" in partition else ("127.0.0.1", int(where.split(":")[1])))
        return client

    def close(self):
        for one in self.opened:
            one.close()


@pytest.fixture
def desk():
    desk = Desk()
    with closing(desk):
        yield desk


def test_datagrams_are_lines_with_growing_positions(desk):
    (name,) = desk.start(udp=0).values()
    client = desk.client(name, socket.SOCK_DGRAM)
    for message in (RFC3164, RFC5424 + b"\n", b"", b"two\nlines"):
        client.send(message)
    lines = desk.read(3)
    assert [line.text for line in lines] == [RFC3164.decode(), RFC5424.decode(), "two\nlines"]
    assert [line.start for line in lines] == [10**12, 10**12 + 1, 10**12 + 2]
    assert all(line.end == line.start + 1 and line.partition == name for line in lines)
    assert name.startswith("syslog/udp/127.0.0.1:")
    assert desk.source.describe(name) == name
    source = desk.source
    assert (source.name, source.exhausted, source.replayable) == ("syslog", False, False)
    assert source.lag() == {}


def test_positions_grow_though_the_clock_is_set_back(desk):
    (name,) = desk.start(udp=0).values()
    client = desk.client(name, socket.SOCK_DGRAM)
    starts = []
    for now in (1000.0, 900.0, 1001.0):
        desk.now = now
        client.send(b"m")
        starts += [line.start for line in desk.read(1)]
    assert starts == [10**12, 10**12 + 1, 1001 * 10**9]


def test_nothing_is_committed_and_a_new_run_begins_anew(desk):
    (name,) = desk.start(udp=0).values()
    desk.source.commit({name: Checkpoint(5, 5, None)})
    assert desk.source.checkpoints() == {name: Checkpoint(10**12, 10**12, None)}


def test_both_framings_come_by_tcp_and_by_a_unix_stream(desk, tmp_path):
    names = desk.start(tcp="127.0.0.1:0", unix_stream=tmp_path / "stream")
    counted = b"%d " % len(RFC5424) + RFC5424
    for name in (names["tcp"], names["unix-stream"]):
        with desk.client(name) as client:
            client.sendall(counted + RFC3164 + b"\n" + counted[:-10])
        lines = desk.read(3)
        assert [line.text for line in lines] == [
            RFC5424.decode(),
            RFC3164.decode(),
            RFC5424[:-10].decode(),
        ]
        assert {line.partition for line in lines} == {name}
    assert desk.source.discarded["incomplete"] == 2


def test_unix_datagrams_come_and_the_path_goes_at_the_end(desk, tmp_path):
    path = tmp_path / "log"
    (name,) = desk.start(unix=path, unix_mode="0600").values()
    assert path.stat().st_mode & 0o777 == 0o600
    client = desk.client(name, socket.SOCK_DGRAM)
    client.send(RFC3164)
    assert desk.texts(1) == [RFC3164.decode()]
    desk.opened.pop(0).close()
    assert not path.exists()


def test_a_socket_that_a_killed_process_left_is_taken_over_but_none_in_use(desk, tmp_path):
    path = tmp_path / "log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dead:
        dead.bind(str(path))
        with pytest.raises(StorageError, match="Address already in use; end what listens"):
            desk.start(unix=path)
    desk.start(unix=path)
    path.with_name("file").touch()
    with pytest.raises(StorageError, match=r"can't listen on .*file: it is no socket; move it"):
        desk.start(udp=0, tcp=0, unix_stream=path.with_name("file"))
    assert path.with_name("file").exists()


def test_an_address_in_use_or_that_is_not_ours_is_told(desk):
    name = desk.start(tcp=0)["tcp"]
    address = name.split("/")[2]
    with pytest.raises(StorageError, match=f"tcp {address}: Address already in use"):
        desk.start(tcp=address)
    with pytest.raises(StorageError, match=r"udp 192\.0\.2\.1:5514"):
        desk.start(udp="192.0.2.1:5514")


def test_a_missing_right_is_told(desk, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(StorageError, match="Permission denied; ports below 1024 need CAP_NET"):
        desk.start(udp=514)


def test_a_port_alone_listens_on_this_machine_alone(desk):
    def reached(host, partition):
        with socket.socket() as client:
            return client.connect_ex((host, int(partition.rpartition(":")[2]))) == 0

    here = desk.start(tcp=0)["tcp"]
    assert reached("127.0.0.1", here)
    assert not reached("127.0.0.2", here), "another address of this machine"
    assert reached("127.0.0.2", desk.start(tcp="0.0.0.0:0")["tcp"])


def test_an_ipv6_address_can_be_listened_on(desk):
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    try:
        (name,) = desk.start(udp="[::1]:0").values()
    except StorageError as error:
        pytest.skip(f"this machine has no IPv6: {error}")
    port = int(name.rpartition(":")[2])
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
        client.sendto(b"six", ("::1", port))
        assert desk.texts(1) == ["six"]


def test_a_client_without_end_or_sense_holds_nobody_up(desk):
    names = desk.start(tcp=0, max_line_bytes=1000)
    endless, garbage, honest = (desk.client(names["tcp"]) for _ in range(3))
    endless.setblocking(False)
    garbage.sendall(b"9999999999 <\xff\x00" + bytes(range(256)) * 100)
    honest.sendall(b"<1>honest\n")
    texts = []
    for _ in range(200):
        with suppress(BlockingIOError):
            endless.send(b"x" * 65536)
        texts += [line.text for line in desk.source.poll(0.05)]
        if texts:
            break
    assert texts == ["<1>honest"]
    endless.setblocking(True)
    endless.sendall(b"\n<1>after\n")
    found = desk.texts(2)
    assert found == ["x" * 1000, "<1>after"]
    assert desk.source.discarded["cut"] == 1


def test_a_poll_ends_though_there_is_always_more(desk):
    names = desk.start(udp=0, tcp=0)
    client = desk.client(names["udp"], socket.SOCK_DGRAM)
    for _ in range(1000):
        client.send(b"x" * 2000)
    sizes = [sum(len(line.text) for line in desk.source.poll(0.05)) for _ in range(3)]
    assert 256 * 1024 <= sizes[0] < 2 * 256 * 1024


def test_connections_past_the_limit_are_turned_away_and_counted(desk, caplog):
    name = desk.start(tcp=0, max_connections=2)["tcp"]
    clients = [desk.client(name) for _ in range(4)]
    assert desk.texts(0) == []
    desk.source.poll(0.1)
    assert [client.recv(1) for client in clients[2:]] == [b"", b""]
    assert desk.source.discarded["refused_connection"] == 2
    assert caplog.text.count("turning away others") == 1
    clients[0].close()
    desk.source.poll(0.1)
    clients.append(desk.client(name))
    clients[-1].sendall(b"now\n")
    assert desk.texts(1) == ["now"]


def test_a_connection_that_was_opened_for_nothing_brings_nothing(desk):
    name = desk.start(tcp=0)["tcp"]
    desk.client(name).close()
    assert [desk.source.poll(0.05) for _ in range(4)] == [[]] * 4
    assert desk.source._connections == 0


def test_a_connection_that_breaks_is_let_go(desk):
    name = desk.start(tcp=0)["tcp"]
    client = desk.client(name)
    client.sendall(b"half")
    desk.source.poll(0.1)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    assert desk.texts(1) == ["half"]
    desk.source.poll(0.05)
    assert desk.source._connections == 0


def test_datagrams_that_the_kernel_dropped_are_counted(desk):
    (name,) = desk.start(udp=0, receive_buffer=2048).values()
    client = desk.client(name, socket.SOCK_DGRAM)
    for _ in range(200):
        client.send(b"x" * 500)
    read = len(desk.read(200, within=0.3))
    assert read < 200
    client.send(b"last")  # the kernel tells it with the next datagram
    read += len(desk.read(1))
    assert read + desk.source.discarded["socket_overflow"] == 201


def test_messages_of_hosts_that_take_turns_are_not_parts_of_one_another(desk):
    """Nor is one of RFC 5424 part of one of RFC 3164; what is neither is counted."""
    partition = desk.start(tcp=0)["tcp"]
    clients = [desk.client(partition) for _ in range(2)]
    reader = EventParser(get_format(FormatConfig(name="syslog")), "host", lambda *_: "t")
    events = []
    for turn, text in enumerate((RFC3164, RFC5424.replace(b"web1", b"web2"), b"  at a trace")):
        clients[turn % 2].send(text + b"\n")
        events += reader.feed(desk.read(1))
    assert [event.key for event in events] == ["web1", "web2"]
    assert [event.fields.message for event in events] == [
        "'su root' failed",
        "An application event",
    ]
    assert reader.discarded == {"unmatched": 1}
    assert reader.flush() == []


@pytest.mark.parametrize(
    ("name", "message"), [("syslog", RFC3164), ("rfc5424", RFC5424), ("syslog", RFC5424)]
)
def test_the_line_formats_read_what_comes(desk, name, message):
    (partition,) = desk.start(udp=0).values()
    desk.client(partition, socket.SOCK_DGRAM).send(message)
    (line,) = desk.read(1)
    fields = get_format(FormatConfig(name=name)).parse(line.text, line.received_at)
    assert fields.attributes["host.name"] == "web1"
    assert fields.message in ("'su root' failed", "An application event")
    assert fields.level


def test_listeners_are_idle_while_no_socket_has_anything(desk):
    names = desk.start(udp="0", tcp="0")
    assert not desk.source.is_idle(), "they were not looked at yet"
    for _ in range(5):
        assert desk.source.poll(0.0) == []
        desk.now += 0.5
    assert desk.source.idle(names.values()) == dict.fromkeys(names.values(), 2.0)
    desk.client(names["udp"], socket.SOCK_DGRAM).send(RFC3164)
    assert len(desk.read(1)) == 1
    desk.source.poll(0.0)
    found = desk.source.idle(names.values())
    assert found[names["udp"]] == 0.0
    assert found[names["tcp"]] > 2.0
    assert desk.source.is_idle()
