"""The state's file is cut, its bits are flipped, and the disk is full."""

import json
import multiprocessing
import random
import resource
import shutil
import subprocess
import sys
from contextlib import closing

import disk_parts

from logmlm.errors import StorageError
from logmlm.state import TABLES, State


def put(state, number, size=10):
    state.put("alerts", id=f"a{number}", at=float(number), verdict="sent", body="x" * size)


def content(state):
    return {table: sorted(map(repr, state.select(table))) for table in TABLES if state.count(table)}


def damage(directory, *, times, with_log, seed=7):
    """Each damage is an error, or leaves what stood there after some transaction."""
    luck = random.Random(seed)  # noqa: S311  reproducible damage
    copies = directory / "copies"
    copies.mkdir()
    states = _fill_and_copy(directory, copies, luck, with_log)
    survived = sum(_survives(copies, directory / "damaged", luck, states) for _ in range(times))
    assert survived < times, "no damage was noticed"
    noticed = times - survived
    return f"{times} damages: {noticed} noticed, {survived} an earlier state, 0 silently wrong"


def _fill_and_copy(directory, copies, luck, with_log):
    """Write in transactions, copy the files; what stood there after each."""
    states, state = [{}], State(directory / "state.db")
    for number in range(60):
        with state.transaction():
            put(state, number, luck.randrange(3000))
            state.delete("alerts", "id = ?", f"a{luck.randrange(60)}")
            seq = state.next_seq("queue")
            state.put("queue", seq=seq, sink="s", alert=f"a{number}", bundle="", attempts=0)
        states.append(content(state))
    if not with_log:
        state.close()
    saved = [shutil.copy(found, copies) for found in directory.glob("state.db*")]
    state.close()
    assert len(saved) == (3 if with_log else 1), saved
    return states


def _survives(copies, directory, luck, states):
    """Damage one file of a copy; whether it can still be opened, which needs a known state."""
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(copies, directory)
    (directory / "state.db-shm").unlink(missing_ok=True)
    target = luck.choice(sorted(directory.iterdir()))
    raw = bytearray(target.read_bytes())
    if luck.random() < 0.5:
        raw = raw[: luck.randrange(len(raw))]
    else:
        for _ in range(luck.choice([1, 1, 8])):
            raw[luck.randrange(len(raw))] ^= 1 << luck.randrange(8)
    target.write_bytes(raw)
    try:
        with closing(State(directory / "state.db")) as state:
            found = content(state)
    except StorageError:
        return False
    assert found in states, f"{target.name}: silently wrong"
    return True


def can_mount():
    """Whether a tmpfs may be mounted here, in a namespace of its own."""
    probe = ["unshare", "-rm", "true"]
    return shutil.which("unshare") is not None and (
        subprocess.run(probe, check=False, capture_output=True).returncode == 0
    )


def full_tmpfs(directory):
    """The daemon's state fills its disk: it ends with 74, and with room again goes on whole."""
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
    with closing(State(path)) as state:
        assert state.count("alerts") == number > 5, "what was committed is gone"
    return f"a full disk is told; {number} rows of {number} are there"


def _fill(path, answers):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, before[1]))
    with closing(State(path)) as state:
        for number in range(1000):
            try:
                put(state, number, 3000)
            except StorageError as error:
                answers.put((number, str(error)))
                break
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
