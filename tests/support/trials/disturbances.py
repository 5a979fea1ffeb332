"""The daemon as it is shipped, disturbed in many ways, makes the alerts that `score` makes.

`logmlm run` from the command line, a real (tiny) model, the real clock, a gap of 5 s. Lines of a
session are far less than the gap apart, but sessions are open for as long as lines come, so a
window that is closed by anything but its lines alarms, or lacks what alarmed.
Each trial raises AssertionError where a promise is broken, and returns what it measured.
"""

import json
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from kafka.errors import KafkaError
from offline_parts import KEY, KINDS, ODD, logmlm, write_log

from logmlm.alerting.outbox import MAX_OVERDUE
from logmlm.alerting.queries import STATE

PARTITIONS = 6
GAP_S = 5.0
RATE = 250.0
"""Records a second of live rows, and of the times of the lines in all rows."""
AT_ONCE = 8
"""Sessions of a partition that are open at a time."""
PAUSE_EVERY, PAUSE_S = 400, 2.0
"""So often nothing is written for a while, with sessions open; less than the gap."""
QUIET_EVERY, QUIET_S = 3_000, 8.0
"""So often all sessions end, and nothing is written for more than the gap."""
SESSIONS_EACH = 1_000_000
"""Numbers of sessions that a partition has for itself."""
PATIENCE_S = 400
"""A machine that is shared with much else may stand still for so long."""
TRAIN = (
    *("--preset", "tiny", "--epochs", "20", "--folds", "0", "--false-alarm-rate", "0.01"),
    *("--key", KEY, "--gap", f"{GAP_S:.0f}s", "--device", "cpu"),
)


def session_lines(partition, number, *, odd_every, rate=RATE / PARTITIONS):
    """Yield so many lines of a partition, each with its time after the first, in seconds."""
    luck, running = random.Random(partition), []  # noqa: S311  a log, no secret
    session, offset = partition * SESSIONS_EACH, 0.0
    is_ending = False
    for i in range(1, number + 1):
        while len(running) < AT_ONCE and not (is_ending and running):
            if is_ending:
                is_ending, offset = False, offset + QUIET_S
            session += 1
            steps = ODD if luck.randrange(odd_every) == 0 else luck.choice(KINDS)
            running.append((f"req-{session}", iter(steps)))
        at = luck.randrange(len(running))
        key, steps = running[at]
        step = next(steps)
        text = step.format(key=key, n=luck.randrange(9999), small=luck.randrange(1, 250))
        if steps.__length_hint__() == 0:
            del running[at]
        offset += 1 / rate
        if i % PAUSE_EVERY == 0:
            offset += PAUSE_S
        is_ending = is_ending or i % QUIET_EVERY == 0
        yield offset, f"INFO {text}"


def stamped(begin, offset, text):
    stamp = datetime.fromtimestamp(begin + offset, UTC).isoformat(timespec="milliseconds")
    return f"{stamp.removesuffix('+00:00')}Z {text}"


def trained(directory):
    """Train on normal lines; the model directory."""
    lines = (stamped(1.7e9, *line) for line in session_lines(999, 6_000, odd_every=10**9))
    log = write_log(directory / "normal.log", lines)
    outcome = logmlm("train", log, "--out", directory / "model", *TRAIN)
    assert outcome.code == 0, outcome.err
    return directory / "model"


class Receiver:
    """An HTTP receiver of each alert; while it `is_down`, it answers 503 and keeps nothing."""

    def __init__(self):
        self.ids, self.is_down = set(), False
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if not receiver.is_down:
                    receiver.ids |= {one["annotations"]["window"] for one in body["alerts"]}
                self.send_response(503 if receiver.is_down else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, args=(0.05,)).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Daemons:
    """Processes of `logmlm run`, each with its own state, of one model and one source."""

    def __init__(self, directory, model, source):
        self.directory, self.model, self.source = directory, model, source
        self.receiver = Receiver()
        self.running = {}

    def start(self, name="a"):
        config = self.directory / f"{name}.yaml"
        told = {
            "model": {"path": str(self.model), "device": "cpu"},
            "state_dir": str(self.state(name)),
            "source": self.source,
            "sinks": [{"webhook": {"url": self.receiver.url, "grouped": False}}],
            "http": {"listen": "off"},
        }
        config.write_text(json.dumps(told))
        command = [sys.executable, "-m", "logmlm", "run", "--config", str(config)]
        with (self.directory / f"{name}.log").open("a") as log:
            self.running[name] = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self.directory
            )

    def state(self, name="a"):
        return self.directory / f"state-{name}"

    def signal(self, number, name="a"):
        self.running[name].send_signal(number)

    def waiting(self, name="a"):
        """How many alerts no receiver has accepted."""
        path = self.state(name) / STATE
        if not path.exists():
            return 0
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as state:
            return state.execute("SELECT count(*) FROM waiting").fetchone()[0]

    def slow_down(self, times, name="a", works_s=0.15, rests_s=GAP_S + 1):
        """Let a process work for a moment, so often, as on a machine that is full of work."""
        for _ in range(times):
            time.sleep(works_s)
            self.signal(signal.SIGSTOP, name)
            time.sleep(rests_s)
            self.signal(signal.SIGCONT, name)

    def wait_said(self, text, name="a"):
        """Wait until the log of a process holds a text."""
        log, deadline = self.directory / f"{name}.log", time.monotonic() + PATIENCE_S
        while text not in log.read_text():
            assert time.monotonic() < deadline, f"{name} does not start\n{self.logs()}"
            time.sleep(0.01)

    def kill(self, name="a"):
        child = self.running.pop(name)
        child.send_signal(signal.SIGCONT)
        child.kill()
        child.wait()

    def wait_for(self, is_done):
        """Wait until it is done; alerts or positions must not stand still for `PATIENCE_S`."""
        moved_at, before = time.monotonic(), None
        while not (found := is_done())[0]:
            for name, child in self.running.items():
                assert child.poll() is None, f"{name} ended\n{self.logs()}"
            now = found, len(self.receiver.ids)
            if now != before:
                moved_at, before = time.monotonic(), now
            stood = time.monotonic() - moved_at
            assert stood < PATIENCE_S, f"stands still at {found}\n{self.logs()}"
            time.sleep(0.5)

    def end(self):
        for name, child in list(self.running.items()):
            child.send_signal(signal.SIGTERM)
            assert child.wait(60) == 0, f"{name} did not end well\n{self.logs()}"
            del self.running[name]

    def logs(self):
        found = sorted(self.directory.glob("*.log"))
        return "\n".join(f"--- {path.name}\n{path.read_text()[-2500:]}" for path in found)

    def close(self):
        for name in list(self.running):
            self.kill(name)
        self.receiver.close()

    def compared(self, logs, *options):
        """See that the alerts are those of `score`; say how many they are."""
        wanted = scored(self.model, logs, *options)
        found = self.receiver.ids
        missing, more = len(wanted - found), len(found - wanted)
        said = f"{len(found):,} alerts of {len(wanted):,}: {missing} missing, {more} more"
        assert (missing, more) == (0, 0), said
        assert wanted, "nothing is odd in these lines"
        return said


def scored(model, logs, *options):
    """Ids of the anomalous windows that `logmlm score` finds."""
    told = ["score", str(model), *map(str, logs), "--only-anomalies", "--device", "cpu", *options]
    made = subprocess.run(
        [sys.executable, "-m", "logmlm", *told], capture_output=True, check=False, text=True
    )
    assert made.returncode == 0, made.stderr
    return {json.loads(line)["window"] for line in made.stdout.splitlines()}


@contextmanager
def daemons(*told):
    made = Daemons(*told)
    try:
        yield made
    finally:
        made.close()


class Topic:
    """A topic with lines of sessions, written at once or live, and the group that reads it."""

    def __init__(self, brokers, name, records, odd_every):
        self.brokers, self.name = brokers, name
        self.each = -(-records // PARTITIONS)
        self.records = self.each * PARTITIONS
        self._odd_every = odd_every
        self.group = f"g-{name}"
        brokers.topic(name, PARTITIONS)
        self._writer = None
        self._failed = []
        self._is_live = threading.Event()

    @property
    def source(self):
        told = {"topics": self.name, "group": self.group, "auto_offset_reset": "earliest"}
        return {"kafka": {"bootstrap_servers": self.brokers.address.split(","), **told}}

    @property
    def logs(self):
        return [f"kafka://{self.brokers.address}/{self.name}"]

    def write(self):
        """Write all lines at once, as if they had been written until now."""
        lasts = self.each / (RATE / PARTITIONS) * 1.5 + 60
        begin = time.time() - lasts
        with self.producer() as producer:
            for partition in range(PARTITIONS):
                for line in self._lines(partition):
                    self._send(producer, partition, begin, line)

    def start_writing(self, live):
        """Write all but the last `live` lines at once, in a thread, then each at its time."""
        self._writer = threading.Thread(target=self._write_live, args=(live // PARTITIONS,))
        self._writer.start()
        while not self._is_live.wait(0.5):
            assert self._writer.is_alive(), self._failed

    def join(self):
        self._writer.join()
        assert not self._failed, self._failed

    def producer(self):
        # It tries a lost broker again each second, as Java's producer does.
        return self.brokers.producer(
            acks="all",
            enable_idempotence=True,
            delivery_timeout_ms=300_000,
            reconnect_backoff_max_ms=1_000,
            retry_backoff_ms=100,
        )

    def is_read(self):
        """Whether everything was dealt with, and how much is left: alerts and positions."""
        try:
            committed = self.brokers.committed(self.group)
        except KafkaError:  # no broker, or no group yet
            return False, None
        left = self.records - sum(at.offset for at in committed.values())
        return left == 0, left

    def _lines(self, partition):
        return session_lines(partition, self.each, odd_every=self._odd_every)

    def _send(self, producer, partition, begin, line):
        raw = stamped(begin, *line).encode()
        producer.send(self.name, raw, partition=partition)

    def _write_live(self, live):
        waiting = max(0, self.each - live)
        lines = [
            (offset, partition, text, i >= waiting)
            for partition in range(PARTITIONS)
            for i, (offset, text) in enumerate(self._lines(partition))
        ]
        lines.sort()
        begin = time.time() - min(offset for offset, _, _, is_live in lines if is_live)
        try:
            with self.producer() as producer:
                for offset, partition, text, is_live in lines:
                    if is_live:
                        self._is_live.set()
                        time.sleep(max(0.0, begin + offset - time.time()))
                    self._send(producer, partition, begin, (offset, text))
        except Exception as error:
            self._failed.append(repr(error))


@contextmanager
def on_topic(broker, directory, model, name, records, odd_every=100):
    topic = Topic(broker, name, records, odd_every)
    with daemons(directory, model, topic.source) as ships:
        yield topic, ships


def _compared(topic, ships):
    ships.wait_for(topic.is_read)
    ships.end()
    return f"{topic.records:,} records, {ships.compared(topic.logs)}"


def backlog(broker, directory, model, *, records, rests=12):
    """Everything waits when the daemon starts, which gets little of the processor at first."""
    with on_topic(broker, directory, model, "backlog", records) as (topic, ships):
        topic.write()
        ships.start()
        ships.wait_said("from offset")
        ships.slow_down(rests)
        return f"backlog: {_compared(topic, ships)}"


def lose_broker(broker, directory, model, *, records, live, down_s=12.0):
    """The only broker is killed for a while; nobody touches the daemon."""
    with on_topic(broker, directory, model, "broker", records) as (topic, ships):
        ships.start()
        ships.wait_said("from offset")  # none in reach at the start ends it with 69
        topic.start_writing(live)
        time.sleep(live / RATE / 3)
        broker.stop(kill=True)
        time.sleep(down_s)
        broker.start()
        topic.join()
        return f"broker killed for {down_s:.0f} s: {_compared(topic, ships)}"


def kill(broker, directory, model, *, records, live, kills=8, seed=3):
    """SIGKILL at random times, the start included, while records wait and more come."""
    luck = random.Random(seed)  # noqa: S311  any times will do
    with on_topic(broker, directory, model, "killed", records) as (topic, ships):
        topic.start_writing(live)
        for _ in range(kills):
            ships.start()
            time.sleep(5.0 + luck.random() * live / RATE / kills)
            ships.kill()
        ships.start()
        topic.join()
        return f"{kills} kills: {_compared(topic, ships)}"


def stop_one(broker, directory, model, *, records, live, stops=5, stopped_s=60.0):
    """Of two processes one is stopped (SIGSTOP) again and again; its session lasts 45 s."""
    with on_topic(broker, directory, model, "stopped", records) as (topic, ships):
        for name in "ab":
            ships.start(name)
        topic.start_writing(live)
        pause = max(5.0, live / RATE / stops - stopped_s)
        for i in range(stops):
            time.sleep(pause)
            ships.signal(signal.SIGSTOP, "ab"[i % 2])
            time.sleep(stopped_s)
            ships.signal(signal.SIGCONT, "ab"[i % 2])
        topic.join()
        return f"{stops} stops of {stopped_s:.0f} s: {_compared(topic, ships)}"


def hold(broker, directory, model, *, records, down_s=110.0, odd_every=20):
    """The receiver is down for so long that no more is read, with much that waits."""
    with on_topic(broker, directory, model, "held", records, odd_every) as (topic, ships):
        ships.receiver.is_down = True
        topic.write()
        ships.start()
        ships.wait_for(lambda: (ships.waiting() >= MAX_OVERDUE, ships.waiting()))
        time.sleep(down_s)
        ships.receiver.is_down = False
        return f"receiver down for {down_s:.0f} s: {_compared(topic, ships)}"


def files(directory, model, *, number, lines, rests=12):
    """Many files are read from their beginning, as in `backlog`."""
    place = directory / "logs"
    place.mkdir()
    for i in range(number):
        begin = time.time() - lines / RATE * PARTITIONS * 2
        made = session_lines(i, lines, odd_every=100)
        write_log(place / f"app{i}.log", (stamped(begin, *line) for line in made))
    logs = sorted(place.glob("*.log"))
    total = sum(path.stat().st_size for path in logs)
    source = {"file": {"include": f"{place}/*.log", "start_at": "beginning"}}
    with daemons(directory, model, source) as ships:
        ships.start()
        ships.wait_said("from byte")
        ships.slow_down(rests)
        ships.wait_for(lambda: _left(ships.state() / "checkpoints.json", total))
        ships.end()
        return f"{number:,} files of {lines:,} lines: {ships.compared(logs)}"


def _left(checkpoints, total):
    """Whether all bytes were dealt with, and how many were not."""
    if not checkpoints.exists():
        return False, total
    known = json.loads(checkpoints.read_text())["files"]
    left = total - sum(one["checkpoint"]["safe"] for one in known)
    return left == 0, left


def rotate(directory, model, *, lines, kills, rate=1_000.0):
    """One file is written live and renamed again and again, while the daemon is killed."""
    place, luck = directory / "logs", random.Random(4)  # noqa: S311  any times will do
    place.mkdir()
    log = place / "app.log"
    writer = threading.Thread(target=_write_rotated, args=(log, lines, rate))
    source = {"file": {"include": f"{place}/app.log*", "start_at": "beginning"}}
    with daemons(directory, model, source) as ships:
        writer.start()
        for _ in range(kills):
            ships.start()
            time.sleep(3.0 + luck.random() * lines / rate / kills)
            ships.kill()
        ships.start()
        writer.join()
        logs = sorted(place.iterdir())
        total = sum(path.stat().st_size for path in logs)
        ships.wait_for(lambda: _left(ships.state() / "checkpoints.json", total))
        ships.end()
        said = f"{lines:,} lines, {len(logs) - 1} rotations, {kills} kills"
        return f"{said}: {ships.compared(logs)}"


def _write_rotated(log, lines, rate, every=2_500):
    """Write lines at a rate; each so many go to a new file.

    A line that is late on a busy machine has the time at which it is written: else its session
    would be over for who waits for it, and not by the times in the log. The highest number is the
    oldest file's, as logrotate leaves them.
    """
    begin, rotations = time.time(), (lines - 1) // every
    made = session_lines(0, lines, odd_every=50, rate=rate)
    stream = log.open("a")
    for i, (offset, text) in enumerate(made, start=1):
        time.sleep(max(0.0, begin + offset - time.time()))
        late = max(offset, time.time() - begin)
        stream.write(stamped(begin, late, text) + "\n")
        stream.flush()
        if i % every == 0 and i < lines:
            stream.close()
            log.rename(log.with_name(f"app.log.{rotations - i // every + 1}"))
            stream = log.open("a")
    stream.close()
