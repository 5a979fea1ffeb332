"""The encoder: transformers' `BertForMaskedLM` from a small `BertConfig`, from scratch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from logmlm.errors import UsageError
from logmlm.mlm.bert import Bert
from logmlm.mlm.tokenizer import BAG, MASK, NEVER_PREDICTED, PAD

if TYPE_CHECKING:
    from transformers import BertForMaskedLM

PRESETS: dict[str, dict[str, int]] = {
    "tiny": {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2},
    "small": {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4},
    "base": {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 8},
}
DEVICES = ("cpu", "cuda", "mps", "xpu")
SUPPRESSED = -10_000.0
"""Output bias of tokens that are never predicted: probability 0 in float32 and bfloat16."""
FRAME_TOKENS = 3
"""Tokens of a window that are not its events: `[CLS]`, `[END]`, `[SEP]`."""
Model: TypeAlias = "BertForMaskedLM | Bert"
"""One that is trained, or one that was saved: both have `bert` and `cls`."""


def build_model(preset: str, vocabulary_size: int, window_size: int, seed: int) -> BertForMaskedLM:
    """A fresh model for windows of at most `window_size` events; same seed, same weights."""
    from transformers import BertConfig, BertForMaskedLM

    sizes = PRESETS[preset]
    config = BertConfig(
        vocab_size=vocabulary_size,
        intermediate_size=2 * sizes["hidden_size"],
        max_position_embeddings=2 * (window_size + FRAME_TOKENS),
        type_vocab_size=1,
        pad_token_id=PAD,
        mask_token_id=MASK,
        hidden_dropout_prob=0.0,  # hiding words is noise enough, and drawing it costs time
        attention_probs_dropout_prob=0.0,
        **sizes,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = BertForMaskedLM(config)
    suppress_specials(model)
    return model


def suppress_specials(model: BertForMaskedLM) -> None:
    """Set the output bias of tokens that are never predicted, in the weights themselves.

    So nobody who opens the saved model gives them probability either. Their gradient is zero
    and biases are not decayed, so training leaves the bias where it is.
    """
    with torch.no_grad():
        model.get_output_embeddings().bias[list(NEVER_PREDICTED)] = SUPPRESSED


def weights_of(model: BertForMaskedLM) -> dict[str, npt.NDArray[np.float32]]:
    """A model's weights as arrays, by name."""
    return {name: tensor.detach().cpu().numpy() for name, tensor in model.state_dict().items()}


def set_weights(model: BertForMaskedLM, weights: Mapping[str, npt.NDArray[np.float32]]) -> None:
    """Put back what `weights_of` gave for a model of the same sizes."""
    model.load_state_dict({name: torch.as_tensor(array) for name, array in weights.items()})


def token_logits(
    model: Model, ids: torch.Tensor, positions: torch.Tensor, padding: bool = False
) -> torch.Tensor:
    """Logits [M, V] at the M chosen places.

    `ids` is [B, L]; `positions` is a boolean [B, L]. The output layer runs only where asked.
    """
    attention = (ids != PAD).long() if padding else None
    hidden = model.bert(
        input_ids=ids, attention_mask=attention, position_ids=_position_ids(model, ids)
    ).last_hidden_state
    logits: torch.Tensor = model.cls(hidden[positions])
    return logits


def _position_ids(model: Model, ids: torch.Tensor) -> torch.Tensor:
    """Position ids [B, L] of token ids [B, L].

    In order they count 0, 1, …. In a bag they tell how often the same word stands before, in
    the upper half of the table, so that the order can't be read and the counts can; all hidden
    places have the same.
    """
    half = model.config.max_position_embeddings // 2
    in_order = torch.arange(ids.shape[1], device=ids.device)
    same = ids[:, :, None] == ids[:, None, :]
    repeats = same.tril(diagonal=-1).sum(dim=-1).masked_fill(ids == MASK, 0)
    return torch.where(ids[:, :1] == BAG, half + repeats, in_order)


def resolve_device(name: str) -> torch.device:
    """The device for `auto`, `cpu`, `cuda`, `cuda:1`, `mps`.

    Raises:
        UsageError: torch does not know it, or this machine does not have it.

    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.partition(":")[0] not in DEVICES:
        known = ", ".join(DEVICES)
        raise UsageError(f"device '{name}' can't be used: known are {known}; try --device auto")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"device '{name}' can't be used: {reason}; try --device auto") from error
    return device


def parameter_count(model: Any) -> int:
    """Number of trained numbers."""
    return sum(parameter.numel() for parameter in model.parameters())
