"""A checkpoint as Kafka keeps it: the safe position as offset, the rest in its metadata."""

from __future__ import annotations

import base64
import json
import logging
import math
from collections.abc import Sequence
from dataclasses import astuple
from typing import NamedTuple

from pydantic import ConfigDict, TypeAdapter

from logmlm.records import WINDOW_RULES, Checkpoint, SurgeState

VERSION = 1
ID_BYTES = 8
"""Of an alert's id; see `window_id`."""
MOST_IDS = 300
MODEL_DIGITS = 16
"""Digits of the model's digest that stand in the metadata."""

_RISE = TypeAdapter(tuple[float, float, int, int] | None, config=ConfigDict(allow_inf_nan=False))
logger = logging.getLogger(__name__)


class CommittedOffset(NamedTuple):
    """What the consumer group keeps for a partition."""

    offset: int
    metadata: str


def encode(checkpoint: Checkpoint, model: str, delivered: Sequence[str] = ()) -> CommittedOffset:
    """Write a checkpoint that was made with the model of this digest.

    Its metadata is 200 bytes, and 11 more for each of the ids that are `delivered`. A broker takes
    4096 bytes by default, so the first `MOST_IDS` are written.
    """
    rest = {
        "v": VERSION,
        "reached": checkpoint.reached,
        "watermark": checkpoint.watermark,
        "rise": checkpoint.rise and astuple(checkpoint.rise),
        "model": model[:MODEL_DIGITS],
        "rules": WINDOW_RULES,
    }
    if delivered:
        numbers = b"".join(map(bytes.fromhex, delivered[:MOST_IDS]))
        rest["delivered"] = base64.b64encode(numbers).decode()
    return CommittedOffset(checkpoint.safe, json.dumps(rest, separators=(",", ":")))


def delivered(at: CommittedOffset, model: str) -> frozenset[str]:
    """Read the ids of alerts that the owner before has delivered; none of another model."""
    try:
        rest = json.loads(at.metadata)
        if rest["model"] != model[:MODEL_DIGITS]:
            return frozenset()
        numbers = base64.b64decode(rest.get("delivered", ""), validate=True)
    except (ValueError, TypeError, KeyError, RecursionError):
        return frozenset()  # `decode` says so
    starts = range(0, len(numbers), ID_BYTES)
    return frozenset(numbers[start : start + ID_BYTES].hex() for start in starts)


def decode(partition: str, at: CommittedOffset, model: str) -> Checkpoint:
    """Read a checkpoint; metadata that says nothing to us makes windows come out once more.

    `reached` says which windows were made before. It means nothing to another model or version
    of the rules, whose windows may be others; nor where somebody else moved the group's offset.
    """
    try:
        rest = json.loads(at.metadata)
        version, reached, watermark = rest["v"], rest["reached"], rest["watermark"]
        rise = _RISE.validate_python(rest.get("rise"))
        is_sound = type(reached) is int and (watermark is None or math.isfinite(watermark))
        if version != VERSION or not is_sound:
            raise ValueError("of another version, or damaged")
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError) as error:
        logger.warning(
            "%s: can't read what is committed beside offset %d (%s); its windows are made anew",
            *(partition, at.offset, type(error).__name__),
        )
        return Checkpoint(at.offset, at.offset, None)
    if (rest.get("model"), rest.get("rules")) != (model[:MODEL_DIGITS], WINDOW_RULES):
        return Checkpoint(at.offset, at.offset, watermark)
    return Checkpoint(at.offset, max(reached, at.offset), watermark, rise and SurgeState(*rise))
