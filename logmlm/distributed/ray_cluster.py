"""Ray, on which finished logs are read, parsed and scored: one of our own, or a cluster.

Ray Data (docs.ray.io/en/latest/data) hands out the work; what is lost with a worker or a machine,
Ray makes again, and nothing hangs on who does what, or when. What travels is rows of a number and
a pickle, as Ray moves Python objects: join only a cluster that you trust as you trust this machine.
"""

from __future__ import annotations

import logging
import os
import socket
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from logmlm.config.types import HOST_PORT, split_host_port
from logmlm.errors import LogmlmError, UnreachableError, UsageError
from logmlm.system.atomic_files import PRIVATE

if TYPE_CHECKING:
    from ray.data import Dataset

SHARD_BYTES = 64 * 1024**2
KNOCK_TIMEOUT_S = 10.0
LEAST_CPUS = 2
"""An actor that scores has one while others still read."""

RayRow = dict[str, Any]

logger = logging.getLogger(__name__)


@contextmanager
def ray_session(address: str | None, quiet: bool = False) -> Iterator[None]:
    """A Ray of our own on this machine, or the cluster at `address`, while the block lasts.

    Its progress is shown on a terminal, unless `quiet`.

    Raises:
        UsageError: Ray is not installed, or the cluster is too small.
        UnreachableError: there is no such cluster.

    """
    # Ray would tell its makers of its use.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise UsageError(
            "--engine ray needs Ray, which is not installed: pip install 'logmlm[ray]'"
        ) from error
    silent = {"logging_level": logging.ERROR, "log_to_driver": False}
    own = {"address": "local", "num_cpus": max(LEAST_CPUS, len(os.sched_getaffinity(0)))}
    try:
        if address is None:
            _guard_token()
            with _files_of_our_own():
                ray.init(**own, include_dashboard=False, **silent)
        else:
            _require_reachable(address)
            ray.init(address, **silent)
    except (OSError, RuntimeError, ValueError) as error:  # a ConnectionError is an OSError
        where = "on this machine" if address is None else f"at {address}"
        reason = str(error).partition("\n")[0]
        raise UnreachableError(f"can't use Ray {where}: {reason}") from error
    try:
        _configure(quiet)
        # Ray prints there what befalls its workers; standard output is for data.
        with redirect_stdout(sys.stderr):
            yield
    finally:
        ray.shutdown()


def indexed_dataset(count: int, in_order: bool = False) -> Dataset:
    """A row for each number below `count`, each a task of its own.

    What is made of them comes as it is done, or `in_order`.
    """
    import ray

    dataset = ray.data.range(count, override_num_blocks=count)
    dataset.context.execution_options.preserve_order = in_order
    return dataset


@contextmanager
def unwrap_ray_errors() -> Iterator[None]:
    """Errors that Ray hands over, as what they were in the worker."""
    from ray.exceptions import RayError

    try:
        yield
    except RayError as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, LogmlmError):
                raise cause from error
            cause = getattr(cause, "cause", None) or cause.__cause__
        raise LogmlmError(f"Ray gave up: {str(error).strip().splitlines()[-1]}") from error


def actor_pool(device: str) -> dict[str, Any]:
    """How many score: one on each GPU if there are GPUs and they are wanted, else on each CPU."""
    import ray
    from ray.data import ActorPoolStrategy

    gpus = int(ray.cluster_resources().get("GPU", 0))
    if gpus and device != "cpu":
        return {"compute": ActorPoolStrategy(min_size=1, max_size=gpus), "num_gpus": 1}
    return {"compute": ActorPoolStrategy(min_size=1, max_size=max(1, cpus() - 1)), "num_cpus": 1}


def cpus() -> int:
    """All that Ray has."""
    import ray

    return int(ray.cluster_resources().get("CPU", 1))


def _guard_token() -> None:
    """See that nobody else can read the token that guards Ray, which Ray makes where there is none.

    Raises:
        UsageError: others can read it, and this user can't change that.

    """
    if {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & set(os.environ):
        return  # the operator keeps it elsewhere
    path = Path.home() / ".ray" / "auth_token"
    try:
        if not stat.S_IMODE(path.stat().st_mode) & 0o077:
            return
        path.chmod(PRIVATE)
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(
            f"others can read {path}, the token that guards Ray, and this user can't change that"
            f" ({error.strerror}): remove the file, or chmod 600 it"
        ) from error
    logger.warning(
        "others could read %s, the token that guards Ray; it is yours alone now. Where somebody may"
        " have read it, remove it, and Ray makes a new one",
        path,
    )


@contextmanager
def _files_of_our_own() -> Iterator[None]:
    """Have what Ray's processes write (its token, spilled log lines) be this user's alone.

    They inherit the umask when they are started.
    """
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def _configure(quiet: bool) -> None:
    """Say nothing but errors; bars on a terminal alone."""
    import ray.data

    if cpus() < LEAST_CPUS:
        raise UsageError(f"--engine ray needs a cluster of {LEAST_CPUS} CPUs or more")
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = sys.stderr.isatty() and not quiet
    logging.getLogger("ray.data").setLevel(logging.ERROR)


def _require_reachable(address: str) -> None:
    """See that something listens at `host:port`: Ray itself would try for minutes.

    Raises:
        OSError: nothing does.

    """
    place = address.removeprefix("ray://")
    if HOST_PORT.fullmatch(place):
        socket.create_connection(split_host_port(place), KNOCK_TIMEOUT_S).close()
