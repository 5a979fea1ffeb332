"""How a group's partitions are shared out, and two holes in kafka-python's joining closed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor


class RejoiningAssignor(CooperativeStickyAssignor):  # type: ignore[misc]  # kafka-python has no types
    """Moves as few partitions as can be, one by one, while the others are read on (KIP-429).

    `join` has the library join the group until it has; here it is called where it has to be.

    - While a join is under way, kafka-python 3.0 asks for its answer only as long as it thinks
      that one is needed. Where that was for new partitions or topics, it forgets about it as
      soon as it has asked, and if `poll` gives up then, the member stays between two
      generations for good: without partitions, without heartbeats, and without a word.
    - A member known by its `group_instance_id` that comes back is given what it had, and nobody
      looks whether that is still right. If it leads the group, it is not told so and watches for
      new partitions no longer (KAFKA-13435; the answer that tells, JoinGroup version 9, is
      unknown to kafka-python); if it was killed while partitions moved, they stay nobody's.
    """

    def __init__(self, join: Callable[[], None], *, comes_back: bool) -> None:
        """`comes_back` says that the member is known by name, and may be in the group already."""
        super().__init__()
        self._join = join
        self._unsure = comes_back

    def metadata(self, topics: Any) -> Any:
        """Say what this member wants: called whenever a join begins."""
        self._join()
        return super().metadata(topics)

    def assign(self, cluster: Any, members: Any) -> Any:
        """Share out the partitions: called where this member leads, and knows it."""
        self._unsure = False
        return super().assign(cluster, members)

    def on_assignment(self, assignment: Any, generation: Any) -> None:
        """Take what this member was given: called when a join ends."""
        super().on_assignment(assignment, generation)
        if self._unsure:
            self._unsure = False
            self._join()
