"""New models: transformers' `RoFormerForMaskedLM` or `BertForMaskedLM`, small, with random weights.

Rotary positions (RoFormer) learn the order in long windows from far less data than a table of
absolute positions (BERT). In short sessions, absolute positions tell how far from its beginning a
line is, and learn faster.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from logmlm.errors import UsageError
from logmlm.mlm.forward import MaskedLM, TrainableModel, logits_at_positions
from logmlm.mlm.tokenizer import MASK, NEVER_PREDICTED, PAD
from logmlm.system.device_names import reject_unknown_device

PRESETS: dict[str, dict[str, int]] = {
    "tiny": {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2},
    "small": {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4},
    "base": {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 8},
}
SUPPRESSED = -10_000.0
"""Output bias of tokens that are never predicted: probability 0 in float32 and bfloat16."""
FRAME_TOKENS = 3
"""Tokens of a window that are not its events: `[CLS]`, `[END]`, `[SEP]`."""


def build_model(
    preset: str,
    vocabulary_size: int,
    window_size: int,
    seed: int,
    positions: Literal["auto", "rotary", "absolute"] = "auto",
) -> TrainableModel:
    """Build a new model for windows of at most `window_size` events; same seed, same weights.

    `positions` `auto`, where nobody looked at the windows, is `rotary`.
    """
    import transformers

    config_class, model_class, tables = {
        "rotary": (transformers.RoFormerConfig, transformers.RoFormerForMaskedLM, 1),
        # Bags have the upper half of the table.
        "absolute": (transformers.BertConfig, transformers.BertForMaskedLM, 2),
    }["rotary" if positions == "auto" else positions]
    sizes = PRESETS[preset]
    config = config_class(
        vocab_size=vocabulary_size,
        intermediate_size=2 * sizes["hidden_size"],
        max_position_embeddings=tables * (window_size + FRAME_TOKENS),
        type_vocab_size=1,
        pad_token_id=PAD,
        mask_token_id=MASK,
        hidden_dropout_prob=0.0,  # masking regularizes enough, and drawing dropout costs time
        attention_probs_dropout_prob=0.0,
        initializer_range=sizes["hidden_size"] ** -0.5,
        **sizes,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model: TrainableModel = model_class(config)
    forbid_special_tokens(model)
    return model


def forbid_special_tokens(model: TrainableModel) -> None:
    """Set the output bias of the tokens that are never predicted, in the weights themselves.

    Every user of the saved model then gives them probability 0. Their gradient is zero and biases
    are not decayed, so training does not change the bias.
    """
    with torch.no_grad():
        model.get_output_embeddings().bias[list(NEVER_PREDICTED)] = SUPPRESSED


def weights_of(model: TrainableModel) -> dict[str, npt.NDArray[np.float32]]:
    """Return the weights of a model as arrays, by name."""
    return {name: tensor.detach().cpu().numpy() for name, tensor in model.state_dict().items()}


def set_weights(model: TrainableModel, weights: Mapping[str, npt.NDArray[np.float32]]) -> None:
    """Load the weights that `weights_of` returned for a model of the same dimensions."""
    model.load_state_dict({name: torch.as_tensor(array) for name, array in weights.items()})


def token_logits(
    model: MaskedLM, ids: torch.Tensor, positions: torch.Tensor, padding: bool = False
) -> torch.Tensor:
    """Return the logits [M, V] at the M positions where `positions` [B, L] is true.

    `ids` is [B, L]. Only these positions go through the last layer; see `logits_at_positions`.
    """
    places = positions.flatten().nonzero().squeeze(1)  # [M]
    counts = positions.sum(dim=1)  # [B]
    each = int(counts[0]) if len(counts) and bool((counts == counts[0]).all()) else None
    return logits_at_positions(model, ids, places, padding, each=each, repeats=True)


def resolve_device(name: str) -> torch.device:
    """Return the device for `auto`, `cpu`, `cuda`, `cuda:1`, `mps` or `xpu`.

    Raises:
        UsageError: torch does not know the device, or this machine does not have it.

    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    reject_unknown_device(name)
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"device '{name}' can't be used: {reason}; take 'auto'") from error
    return device
