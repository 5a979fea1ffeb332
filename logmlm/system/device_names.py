"""Names of devices, checked without torch, which takes seconds to import."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from logmlm.errors import UsageError

DEVICES = ("cpu", "cuda", "mps", "xpu")


def reject_unknown_device(name: str) -> None:
    """See that a device is known and not one that the installed torch was built without.

    Raises:
        UsageError: it is none that can be used.

    """
    kind = name.partition(":")[0]
    if name == "auto":
        return
    if kind not in DEVICES:
        known = ", ".join(DEVICES)
        raise UsageError(f"device '{name}' can't be used: known are {known}; take 'auto'")
    if kind == "cuda" and _is_for_cpus_alone():
        raise UsageError(
            f"device '{name}' can't be used: Torch not compiled with CUDA enabled; take 'auto'"
        )


def _is_for_cpus_alone() -> bool:
    try:
        return version("torch").endswith("+cpu")
    except PackageNotFoundError:
        return False
