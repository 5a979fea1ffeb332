"""What training makes small: the cross-entropy of what a batch hides."""

from __future__ import annotations

import torch
from torch import nn
from transformers import BertForMaskedLM

from logmlm.mlm.batches import Batch
from logmlm.mlm.forward import logits_at_positions


class MaskedLMLoss(nn.Module):
    """A module, so that processes can share it; on a GPU it works in bfloat16."""

    def __init__(self, model: BertForMaskedLM) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Sums over the hidden places of a batch: cross-entropy in nats, and guessed ones.

        Both count a window as often as its weight says.
        """
        kind = batch.inputs.device.type
        with torch.autocast(kind, torch.bfloat16, enabled=kind == "cuda"):
            logits = logits_at_positions(self.model, batch.inputs, batch.places, batch.padded)
        losses = nn.functional.cross_entropy(logits.float(), batch.truth, reduction="none")
        guessed = logits.argmax(dim=-1) == batch.truth
        return (losses * batch.weights).sum(), (guessed * batch.weights).sum()
