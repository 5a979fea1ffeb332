"""Daemons on a real Kafka are killed, rebalanced, and lose their broker.

Each trial raises AssertionError where a promise is broken, and returns what it measured.
"""

import random
import signal
import time
from itertools import pairwise

from kafka_fleet import PARTITIONS, Writer, each_partitions, expected_ids, fleet

AT_ONCE = 0.2
"""The share of kills that come while the daemon may still be starting."""
RESUMES_WITHIN_S = 10.0


def kill(broker, directory, *, records, kills, seed=5):
    """SIGKILL at random times while records come, to a member that the group knows by name."""
    number, luck = each_partitions(records), random.Random(seed)  # noqa: S311  any times will do
    with fleet(broker, directory, f"kill-{seed}", group_instance_id="one") as ships:
        wanted = expected_ids(ships.topic, number)
        writer, marks, each = Writer(broker, ships.topic), [0], len(wanted) // (kills + 1)
        for turn in range(kills):
            ships.start("a")
            writer.write(number * (turn + 1) // (kills + 1))
            if luck.random() > AT_ONCE:
                done = min(len(ships.ids()) + luck.randint(1, 2 * each), writer.odd)
                ships.wait_for(lambda done=done: len(ships.ids()) >= done)
            time.sleep(luck.random() * 0.3)
            assert ships.end("a", signal.SIGKILL) == -signal.SIGKILL
            marks.append(len(ships.posts))
        writer.write(number)
        ships.start("a")
        finish(ships, wanted, number)
        repeated = repeats(ships.posts, [*marks, len(ships.posts)])
        assert max(repeated) <= 1, f"repeated POSTs after each kill: {repeated}"
        return f"{settled(ships, wanted, number)}, {sum(repeated)} POSTs repeated by {kills} kills"


def repeats(posts, marks):
    """Between each two marks, how many alerts were posted that had been posted before."""
    seen, found = set(), []
    for first, last in pairwise(marks):
        here = [one for post in posts[first:last] for one in post]
        found.append(len(here) - len(set(here) - seen))
        seen |= set(here)
    return found


def finish(ships, wanted, number):
    """Wait until all alerts came and all positions are committed, which is a little later."""
    ships.wait_for(lambda: ships.ids() >= wanted)
    ships.wait_for(lambda: ships.lag(number) == 0)
    ships.end_all()


def settled(ships, wanted, number):
    """See that nothing was lost, doubled or left; say how much it was."""
    missing, more = len(wanted - ships.ids()), len(ships.ids() - wanted)
    assert (missing, more) == (0, 0), f"{missing} alerts are missing, {more} are too many"
    unscored, lag = number * PARTITIONS - ships.scored(), ships.lag(number)
    assert unscored == 0, f"{unscored} lines are in no scored window"
    assert lag == 0, f"lag {lag}"
    made = f"{number * PARTITIONS:,} records, 0 unscored, {len(wanted):,} alerts equal, lag 0"
    return f"{made}, {ships.stalls()} stalls"


def rebalance(broker, directory, *, records):
    """From three processes to one to three; one is stopped cleanly, one killed."""
    number = each_partitions(records)
    with fleet(broker, directory, "rebalance") as ships:
        wanted, writer = expected_ids(ships.topic, number), Writer(broker, ships.topic)
        for name in "abc":
            ships.start_ready(name)
        writer.write(number // 4)
        ships.wait_for(lambda: len(ships.ids()) >= len(wanted) // 4 - 10)
        assert ships.end("a", signal.SIGTERM) == 0
        writer.write(number // 2)
        assert ships.end("b", signal.SIGKILL) == -signal.SIGKILL
        ships.wait_for(lambda: len(ships.ids()) >= len(wanted) // 2 - 10)
        writer.write(number * 3 // 4)
        ships.start_ready("a")
        ships.start_ready("b")
        writer.write(number)
        finish(ships, wanted, number)
        return settled(ships, wanted, number)


def restart(broker, directory, *, records):
    """The only broker is stopped and started again."""

    def restarted(_topic):
        broker.stop()
        time.sleep(1.0)
        broker.start()

    return _trouble(broker, directory, "restart", each_partitions(records), restarted)


def lose_one(cluster, directory, *, records):
    """Of three brokers the one that leads the first partition is killed."""

    def lost(topic):
        leader = cluster.leaders(topic)[0]
        cluster.brokers[leader - 1].stop(kill=True)

    return _trouble(cluster, directory, "lose-one", each_partitions(records), lost)


def _trouble(brokers, directory, topic, number, happen):
    """Half of the records, trouble, and the rest; time how long the next ones take after it."""
    with fleet(brokers, directory, topic) as ships:
        wanted, writer = expected_ids(topic, number), Writer(brokers, topic)
        ships.start("a")
        half, soon = number // 4 * 2, number // 4 * 2 + 80
        writer.write(half)
        ships.wait_for(lambda: ships.ids() >= expected_ids(topic, half))
        happen(topic)
        began, next_ones = time.monotonic(), expected_ids(topic, soon)
        writer.write(soon)
        ships.wait_for(lambda: ships.ids() >= next_ones)
        took = time.monotonic() - began
        assert took < RESUMES_WITHIN_S, f"went on after {took:.1f} s"
        writer.write(number)
        finish(ships, wanted, number)
        return f"{topic}: went on after {took:.1f} s, {settled(ships, wanted, number)}"
