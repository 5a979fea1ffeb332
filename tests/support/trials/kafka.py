"""Daemons on a real Kafka are killed, rebalanced, and lose their broker.

The windows are sessions that overlap, with late lines, so that what is committed lies before
what was read; one receiver takes each alert, and one is told of groups.
Each trial raises AssertionError where a promise is broken, and returns what it measured.
"""

import random
import signal
import time
from itertools import pairwise

from daemon_parts import SessionDetector
from kafka_fleet import PARTITIONS, SESSIONS, Plan, Writer, each_partitions, fleet

AT_ONCE = 0.2
"""The share of kills that come while the daemon may still be starting."""
RESUMES_WITHIN_S = 10.0
OPEN = 150
"""Lines of a partition that open sessions can hold back."""


def sessions(topic, number):
    return Plan(topic, number, SessionDetector(int(SESSIONS[1:])))


def kill(broker, directory, *, records, kills, seed=5):
    """SIGKILL at random times while records come, to a member that the group knows by name."""
    number, luck = each_partitions(records), random.Random(seed)  # noqa: S311  any times will do
    with fleet(broker, directory, f"kill-{seed}", group_instance_id="one") as ships:
        plan = sessions(ships.topic, number)
        writer, marks, each = Writer(broker, ships.topic), [0], len(plan.all_ids) // (kills + 1)
        for turn in range(kills):
            ships.start("a")
            writer.write(number * (turn + 1) // (kills + 1))
            if luck.random() > AT_ONCE:
                most = len(plan.ids(writer.written))
                done = min(len(ships.ids()) + luck.randint(1, 2 * each), most)
                ships.wait_for(lambda done=done: len(ships.ids()) >= done)
            time.sleep(luck.random() * 0.3)
            assert ships.end("a", signal.SIGKILL) == -signal.SIGKILL
            marks.append(len(ships.posts))
        writer.write(number)
        ships.start("a")
        finish(ships, writer, plan)
        repeated = repeats(ships.posts, [*marks, len(ships.posts)])
        assert max(repeated) <= 1, f"repeated POSTs after each kill: {repeated}"
        more = ships.counted() - len(plan.all_ids)
        assert more == 0, f"the receiver of groups knows {more:+} alerts"
        said = settled(ships, plan, number)
        return f"{said}, {sum(repeated)} POSTs repeated by {kills} kills"


def repeats(posts, marks):
    """Between each two marks, how many alerts were posted that had been posted before."""
    seen, found = set(), []
    for first, last in pairwise(marks):
        here = [one for post in posts[first:last] for one in post]
        found.append(len(here) - len(set(here) - seen))
        seen |= set(here)
    return found


def finish(ships, writer, plan):
    """End the sessions; wait until all alerts came and are counted, and positions committed."""
    writer.end()
    wanted = plan.all_ids
    ships.wait_for(lambda: ships.ids() >= wanted)
    ships.wait_for(lambda: ships.lag(writer.written) == 0)
    ships.wait_for(lambda: ships.counted() >= len(wanted))
    ships.end_all()


def settled(ships, plan, number):
    """See that nothing was lost, doubled or left; say how much it was."""
    wanted, records = plan.all_ids, number * PARTITIONS
    missing, more = len(wanted - ships.ids()), len(ships.ids() - wanted)
    assert (missing, more) == (0, 0), f"{missing} alerts are missing, {more} are too many"
    (scored, places), lag = ships.scored(), ships.lag(number)
    assert scored == records, f"{records - scored} lines are in no scored window"
    assert places == records, f"{places - records} lines are in several windows"
    assert lag == 0, f"lag {lag}"
    made = f"{records:,} records, 0 unscored, {len(wanted):,} alerts equal, lag 0"
    return f"{made}, {ships.stalls()} stalls"


def rebalance(broker, directory, *, records):
    """From three processes to one to three; one is stopped cleanly, one killed."""
    number = each_partitions(records)
    with fleet(broker, directory, "rebalance") as ships:
        plan, writer = sessions(ships.topic, number), Writer(broker, ships.topic)

        def is_read(lines):  # what a killed one has queued comes only when it is back
            return ships.lag(lines) <= OPEN * PARTITIONS

        for name in "abc":
            ships.start_ready(name)
        writer.write(number // 4)
        ships.wait_for(lambda: is_read(number // 4))
        assert ships.end("a", signal.SIGTERM) == 0
        writer.write(number // 2)
        assert ships.end("b", signal.SIGKILL) == -signal.SIGKILL
        ships.wait_for(lambda: is_read(number // 2))
        writer.write(number * 3 // 4)
        ships.start_ready("a")
        ships.start_ready("b")
        writer.write(number)
        finish(ships, writer, plan)
        return settled(ships, plan, number)


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
        plan, writer = sessions(topic, number), Writer(brokers, topic)
        ships.start("a")
        half, soon = number // 4 * 2, number // 4 * 2 + 80
        writer.write(half)
        ships.wait_for(lambda: ships.ids() >= plan.ids(half))
        happen(topic)
        began, next_ones = time.monotonic(), plan.ids(soon)
        writer.write(soon)
        ships.wait_for(lambda: ships.ids() >= next_ones)
        took = time.monotonic() - began
        assert took < RESUMES_WITHIN_S, f"went on after {took:.1f} s"
        writer.write(number)
        finish(ships, writer, plan)
        return f"{topic}: went on after {took:.1f} s, {settled(ships, plan, number)}"
