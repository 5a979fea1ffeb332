"""Processes that train one model together, as `torchrun` starts them.

Rank 0 reads, decides and writes; the others wait until it names a job, and take their part of
each of its batches. A process alone is rank 0 of 1, and nothing here costs it anything.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import distributed

from logmlm.errors import UnreachableError

T = TypeVar("T")

RANK_TIMEOUT = timedelta(days=30)
"""How long a process waits for the others: rank 0 may learn templates for hours.

`torchrun` ends them all when one dies, so nobody waits for the dead.
"""


@dataclass(frozen=True, slots=True)
class DistributedContext:
    """This process's place among those that train together."""

    rank: int = 0
    count: int = 1

    @classmethod
    def here(cls) -> DistributedContext:
        """As `init_process_group` made it; alone otherwise."""
        if not (distributed.is_available() and distributed.is_initialized()):
            return cls()
        return cls(distributed.get_rank(), distributed.get_world_size())

    @property
    def is_main(self) -> bool:
        """Whether this is the process that reads, decides and writes."""
        return self.rank == 0

    def broadcast(self, what: T) -> T:
        """What rank 0 says; the others' argument is not looked at."""
        if self.count == 1:
            return what
        said = [what]
        distributed.broadcast_object_list(said, src=0)
        return said[0]

    def all_reduce(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over all processes, the same number in each."""
        if self.count > 1:
            distributed.all_reduce(values)
        return values


@contextmanager
def init_process_group() -> Iterator[DistributedContext]:
    """This process's place, with a way to the others where `torchrun` started some.

    When rank 0 is done, the others' `broadcast` gives None. If it fails, `torchrun` ends them.

    Raises:
        UnreachableError: the others can't be reached.

    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield DistributedContext()
        return
    _join()
    ranks = DistributedContext.here()
    yield ranks
    if ranks.is_main:
        ranks.broadcast(None)
    distributed.destroy_process_group()


def own_device(device: torch.device, ranks: DistributedContext) -> torch.device:
    """Of several GPUs, the one that is this process's own."""
    if ranks.count == 1 or device.type == "cpu" or device.index is not None:
        return device
    return torch.device(device.type, int(os.environ.get("LOCAL_RANK", "0")))


def _join() -> None:
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        distributed.init_process_group(backend, timeout=RANK_TIMEOUT)
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UnreachableError(
            f"the processes that train together can't reach each other: {reason}; start them with"
            " torchrun --nproc-per-node N -m logmlm train …"
        ) from error
