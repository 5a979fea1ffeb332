"""The state's file is cut, its bits are flipped, and the disk is full."""

import multiprocessing
import random
import resource
import shutil
from contextlib import closing

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
