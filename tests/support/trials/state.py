"""The state's file is cut, its bits are flipped, and the disk is full."""

import json
import logging
import multiprocessing
import random
import resource
import shutil
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from logmlm.alerting.store.database import StateDatabase
from logmlm.alerting.store.schema import TABLES
from logmlm.errors import StorageError
from logmlm.records import Checkpoint
from logmlm.sources.file.checkpoints import CheckpointStore, TrackedFile
from logmlm.sources.fingerprint import FileId, Fingerprint
from logmlm.sources.journald.state import JournalState, SequencePosition, load, save


def put(state, number, size=10):
    state.put("alerts", id=f"a{number}", at=float(number), verdict="sent", body="x" * size)


def content(state):
    return {table: sorted(map(repr, state.select(table))) for table in TABLES if state.count(table)}


def damage(directory, *, times, with_log, seed=7):
    """Each damage of the database is an error, or means nothing: what stood there last is read."""
    luck = random.Random(seed)  # noqa: S311  reproducible damage
    copies = directory / "copies"
    copies.mkdir()
    last = _fill_and_copy(directory, copies, luck, with_log)
    noticed = sum(
        _is_noticed(copies, directory / "damaged", luck, lambda place: _is_last(place, last))
        for _ in range(times)
    )
    assert noticed > 0, "no damage was noticed"
    what = "database and log" if with_log else "database"
    return f"{what} damaged {times} times: {noticed} noticed, the others harmless"


def _fill_and_copy(directory, copies, luck, with_log):
    """Write in transactions, and copy the files; what stood there last."""
    state = StateDatabase(directory / "state.db")
    for number in range(60):
        with state.transaction():
            put(state, number, luck.randrange(3000))
            state.delete("alerts", "id = ?", f"a{luck.randrange(60)}")
            seq = state.next_seq("queue")
            state.put("queue", seq=seq, sink="s", alert=f"a{number}", bundle="", attempts=0)
    last = content(state)
    if not with_log:
        state.close()
    saved = [shutil.copy(found, copies) for found in directory.glob("state.db*")]
    state.close()
    assert len(saved) == (4 if with_log else 2), saved
    return last


def _is_last(place, last):
    with closing(StateDatabase(place / "state.db")) as state:
        return content(state) == last


def _is_noticed(copies, directory, luck, is_right):
    """Damage one file of a copy; whether that is an error, as it must be where it is not right."""
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(copies, directory)
    target = luck.choice(sorted(directory.iterdir()))
    raw = bytearray(target.read_bytes())
    if luck.random() < 0.5:
        raw = raw[: luck.randrange(len(raw))]
    else:
        for _ in range(luck.choice([1, 1, 8])):
            raw[luck.randrange(len(raw))] ^= 1 << luck.randrange(8)
    target.write_bytes(raw)
    try:
        is_right_still = is_right(directory)
    except StorageError:
        return True
    assert is_right_still, f"{target.name}: silently wrong"
    return False


def damage_positions(directory, *, times, seed=8):
    """Positions of files and of a journal: an error, those before with a warning, or harmless."""
    luck, copies, told = random.Random(seed), directory / "copies", Told()  # noqa: S311  as above
    copies.mkdir()
    last, before, journal = _save_positions(copies)
    went_back = 0

    def is_right(place):
        nonlocal went_back
        told.texts.clear()
        found, read = (
            list(CheckpointStore(place / "checkpoints.json")),
            load(place / "journal.json"),
        )
        went_back += bool(told.texts)
        return read == journal and found == (before if told.texts else last)

    with told:
        tries = range(times)
        noticed = sum(_is_noticed(copies, directory / "damaged", luck, is_right) for _ in tries)
    assert noticed > 0 < went_back, f"{noticed} noticed, {went_back} told"
    said = f"{noticed} noticed, {went_back} told as those before them are used"
    return f"positions damaged {times} times: {said}, the others harmless"


class Told(logging.Handler):
    """Collects the warnings of logmlm."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.texts = []

    def emit(self, record):
        self.texts.append(record.getMessage())

    def __enter__(self):
        logging.getLogger("logmlm").addHandler(self)

    def __exit__(self, *_):
        logging.getLogger("logmlm").removeHandler(self)


def _save_positions(directory):
    """Save positions of files twice, and of a journal; the files' last ones, those before."""
    path, checkpoints = directory / "checkpoints.json", None
    for reached in (50, 90):
        checkpoints = CheckpointStore(path)
        for number in range(5):
            head = Fingerprint.of(b"%d" % number)
            at = Checkpoint(10 + number, reached, 3.5)
            name, where = f"p{number}", f"/var/log/{number}"
            checkpoints.put(TrackedFile(name, where, FileId(1, number), head, at, 0.0))
        checkpoints.save()
    sequences = {
        f"s{i}": SequencePosition(Checkpoint(i, i + 7, 1.5), f"web{i}", 3.0) for i in range(5)
    }
    journal = JournalState("s=a;i=5", sequences)
    save(directory / "journal.json", journal)
    last = list(checkpoints)
    return last, [replace(known, checkpoint=known.checkpoint.rewound()) for known in last], journal


def killed(directory, *, times, seed=9):
    """SIGKILL whoever writes: what it was told is there, and nothing is called damaged."""
    luck, path = random.Random(seed), directory / "state.db"  # noqa: S311  any times will do
    number = 0
    for _ in range(times):
        command = [sys.executable, __file__, str(path), str(number)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            for _ in range(luck.randrange(1, 40)):
                number = int(child.stdout.readline())
            child.kill()
            rest = child.stdout.read().splitlines()
        number = max([number, *(int(line) for line in rest if line)])
        with closing(StateDatabase(path)) as state:
            found = state.count("alerts")
            assert found in (number, number + 1), f"{found} rows of {number}"
            number = found
    return f"{times} kills of a writer: all of {number:,} rows"


def _write_until_killed(path, number):
    with closing(StateDatabase(path)) as state:
        while True:
            put(state, number, 500)
            number += 1
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()


def can_mount():
    """Whether a tmpfs may be mounted here, in a namespace of its own."""
    probe = ["unshare", "-rm", "true"]
    return shutil.which("unshare") is not None and (
        subprocess.run(probe, check=False, capture_output=True).returncode == 0
    )


def full_tmpfs(directory):
    """The daemon's state fills its disk: it ends with 74, and with room again goes on whole."""
    import disk_parts

    command = ["unshare", "-rm", sys.executable, disk_parts.__file__, str(directory)]
    ran = subprocess.run(command, check=False, capture_output=True, text=True, timeout=180)
    assert ran.returncode == 0, ran.stderr[-2000:]
    found = json.loads(ran.stdout)
    assert found["status"] == 74, f"exit status {found['status']}: {found['said'][-2000:]}"
    assert "disk is full" in found["said"], found["said"][-2000:]
    assert found["after"] == 0, f"exit status {found['after']} afterwards"
    return f"a full tmpfs: exit 74, then all of {disk_parts.LINES // 2:,} alerts"


def full_disk(path):
    """No file of a process may grow any more: it is told, and what was committed stays."""
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    child = context.Process(target=_fill, args=(path, answers))
    child.start()
    number, message = answers.get(timeout=30)
    child.join()
    assert "can't use" in message, message
    with closing(StateDatabase(path)) as state:
        assert state.count("alerts") == number > 5, "what was committed is gone"
    return f"a full disk is told; {number} rows of {number} are there"


def _fill(path, answers):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, before[1]))
    with closing(StateDatabase(path)) as state:
        for number in range(1000):
            try:
                put(state, number, 3000)
            except StorageError as error:
                answers.put((number, str(error)))
                break
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


if __name__ == "__main__":
    _write_until_killed(Path(sys.argv[1]), int(sys.argv[2]))
