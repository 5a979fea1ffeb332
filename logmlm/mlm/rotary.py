"""Rotary positions (Su et al., RoFormer, 2021), as transformers' `RoFormerForMaskedLM` has them.

Queries and keys are rotated by angles that are proportional to their positions, so an attention
score depends on the distance of two tokens and not on their places in the window.

Shapes: H hidden size, d = H / heads.
"""

from __future__ import annotations

from typing import Any

import torch

from logmlm.mlm.encoder import ROTARY


def is_rotary(model: Any) -> bool:
    """Return whether the model has rotary positions, and no embedding of positions."""
    found: bool = model.config.model_type == ROTARY
    return found


def rotary_angles(model: Any, positions: torch.Tensor) -> torch.Tensor | None:
    """Return the rotations cos + i sin [..., d / 2] of position ids [...]; None if absolute."""
    if not is_rotary(model):
        return None
    table: torch.Tensor = model.base_model.encoder.embed_positions.weight  # [P, d]
    sin, cos = table[positions].chunk(2, dim=-1)
    return torch.complex(cos.contiguous(), sin.contiguous())


def rotate(rows: torch.Tensor, angles: torch.Tensor | None) -> torch.Tensor:
    """Rotate queries or keys [..., H] by `angles` [..., d / 2]; None: return them as they are.

    The numbers 2 i and 2 i + 1 of each head are one complex number, multiplied by rotation i.
    """
    if angles is None:
        return rows
    pairs = angles.shape[-1]
    split = rows.float().view(*rows.shape[:-1], rows.shape[-1] // (2 * pairs), pairs, 2)
    rotated = torch.view_as_complex(split) * angles[..., None, :]  # [..., heads, d / 2]
    return torch.view_as_real(rotated).flatten(-3).to(rows.dtype)
