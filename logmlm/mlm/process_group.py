"""Data-parallel training in several processes, started by `torchrun`.

Rank 0 reads, decides and writes. The other ranks wait until it broadcasts a job, and process their
share of each batch. A single process is rank 0 of 1, without communication.
"""

from __future__ import annotations

import gc
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
"""Timeout of collective operations: rank 0 may learn templates for hours.

`torchrun` ends all processes when one dies, so no rank waits for a dead one.
"""


@dataclass(frozen=True, slots=True)
class DistributedContext:
    """Rank of this process and number of processes."""

    rank: int = 0
    count: int = 1

    @classmethod
    def here(cls) -> DistributedContext:
        """Return the context of the initialized process group; rank 0 of 1 without one."""
        if not (distributed.is_available() and distributed.is_initialized()):
            return cls()
        return cls(distributed.get_rank(), distributed.get_world_size())

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, which reads, decides and writes."""
        return self.rank == 0

    def broadcast(self, what: T) -> T:
        """Return rank 0's object on every rank; the argument of other ranks is ignored."""
        if self.count == 1:
            return what
        said = [what]
        distributed.broadcast_object_list(said, src=0)
        return said[0]

    def all_reduce(self, values: torch.Tensor) -> torch.Tensor:
        """Return the sum over all ranks; `values` is changed in place."""
        if self.count > 1:
            distributed.all_reduce(values)
        return values


@contextmanager
def init_process_group() -> Iterator[DistributedContext]:
    """Join the process group that `torchrun` started, if any, and yield this process's context.

    When rank 0 leaves, `broadcast` returns None on the others. If it fails, `torchrun` ends them.

    Raises:
        UnreachableError: the other processes cannot be reached.

    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield DistributedContext()
        return
    _join()
    ranks = DistributedContext.here()
    yield ranks
    if ranks.is_main:
        ranks.broadcast(None)
    # DistributedDataParallel is in reference cycles and holds the group, whose threads have to be
    # joined before the interpreter ends: else the process now and then ends with SIGABRT.
    gc.collect()
    distributed.destroy_process_group()


def own_device(device: torch.device, ranks: DistributedContext) -> torch.device:
    """Return the GPU of this process, by `LOCAL_RANK`, unless `device` names one or is a CPU."""
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
