"""A journal is rotated and vacuumed while it is read with stops in between."""

from journal_parts import Desk, entries, message_of


def vacuum(directory, *, turns):
    """At every second turn nobody reads while entries go: what is gone is one gap."""
    desk = Desk(directory)
    try:
        seen, expected, gaps = _turns(desk, turns)
    finally:
        desk.stop()
    assert seen == expected, f"{len(set(expected) - set(seen))} entries lost"
    assert gaps == (turns + 1) // 2, f"{gaps} gaps counted of {(turns + 1) // 2}"
    return f"{turns} rotations, {len(seen):,} entries, 0 lost, {gaps} gaps counted"


def _turns(desk, turns):
    gaps, seen, expected, written = 0, [], [], desk.journal

    def read(count):
        nonlocal gaps
        desk.start()
        lines = desk.read(count)
        seen.extend(map(message_of, lines))
        expected.extend(entries(written.written - count, written.written))
        desk.commit(lines)
        gaps += desk.source.discarded["gap"]
        desk.stop()

    for turn in range(turns):
        written.count(20)
        read(20)
        written.count(10)
        written.rotate()
        if turn % 2 == 0:
            written.vacuum()
        else:
            read(10)
        written.count(1)
        read(1)
    return seen, expected, gaps
