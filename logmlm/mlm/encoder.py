"""Inference-only encoders with the parameter names of transformers: BERT and RoFormer.

BERT (Devlin et al., NAACL 2019) adds a learned embedding of the position to each token. RoFormer
(Su et al., 2021) rotates queries and keys by their positions instead (`rotary.py`).

Importing transformers' models loads torch's compiler and distributed tensors: four seconds and
150 MB at every start of the daemon, for a model of half a megabyte. Training uses transformers'
`BertForMaskedLM` and `RoFormerForMaskedLM`; this module loads the weights that they save.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

ROTARY = "roformer"
"""Model type of the encoder with rotary positions."""
MODEL_TYPES = ("bert", ROTARY)
_OTHER_KINDS = ("is_decoder", "rotary_value", "add_cross_attention")
"""Settings of `config.json` that make another forward pass of it."""
_TIED = "cls.predictions.decoder."
"""Prefix of the output layer, whose weights are tied to the word embeddings."""


@dataclass(frozen=True, slots=True)
class EncoderDimensions:
    """Kind and dimensions of a model, under their names in `config.json`."""

    model_type: str
    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int
    type_vocab_size: int
    layer_norm_eps: float

    @classmethod
    def of(cls, stored: Any) -> EncoderDimensions:
        """Read the dimensions from the content of `config.json`.

        Raises:
            ValueError: the content is damaged, or describes another kind of model.

        """
        kind = stored.get("model_type") if isinstance(stored, dict) else None
        if kind not in MODEL_TYPES:
            raise ValueError(f"config.json is of no {' or '.join(MODEL_TYPES)} model")
        names = [name for name in cls.__dataclass_fields__ if name != "model_type"]
        wrong = [n for n in names if not isinstance(stored.get(n), (int, float)) or stored[n] <= 0]
        if wrong:
            raise ValueError(f"config.json does not say {', '.join(wrong)}")
        other = stored.get("embedding_size", stored["hidden_size"]) != stored["hidden_size"]
        if stored.get("hidden_act") != "gelu" or any(map(stored.get, _OTHER_KINDS)) or other:
            raise ValueError(f"config.json is of another kind of {kind} than is trained here")
        return cls(kind, **{name: stored[name] for name in names})


class InferenceEncoder(nn.Module):
    """Masked language model for inference, run by `forward.logits_at_positions`.

    `base_model` is the encoder without the prediction head, as in transformers.
    """

    def __init__(self, config: EncoderDimensions, weights: Mapping[str, Tensor]) -> None:
        """Assign saved weights, under transformers' names, without a copy.

        Raises:
            ValueError: weights are missing.
            RuntimeError: weights have another shape, or belong to no module of this model.

        """
        super().__init__()
        self.config = config
        self.add_module(config.model_type, _BaseModel(config))
        self.cls = _Head(config)
        saved = {name: tensor for name, tensor in weights.items() if not name.startswith(_TIED)}
        if missing := self.state_dict().keys() - saved.keys():
            raise ValueError(f"the weights {', '.join(sorted(missing))} are missing")
        self.load_state_dict(saved, assign=True)
        self.cls.words = self.base_model.embeddings["word_embeddings"].weight
        self.requires_grad_(False)

    @property
    def base_model(self) -> Any:
        """The encoder, whose name in the weights is the kind of the model."""
        return self.get_submodule(self.config.model_type)


class _BaseModel(nn.Module):
    def __init__(self, config: EncoderDimensions) -> None:
        super().__init__()
        size, heads = config.hidden_size, config.num_attention_heads
        positions = config.max_position_embeddings
        embeddings: dict[str, nn.Module] = {
            "word_embeddings": nn.Embedding(config.vocab_size, size),
            "token_type_embeddings": nn.Embedding(config.type_vocab_size, size),
            "LayerNorm": nn.LayerNorm(size, config.layer_norm_eps),
        }
        layers = [_Layer(config) for _ in range(config.num_hidden_layers)]
        encoder: dict[str, nn.Module] = {"layer": nn.ModuleList(layers)}
        if config.model_type == ROTARY:
            encoder["embed_positions"] = nn.Embedding(positions, size // heads)
        else:
            embeddings["position_embeddings"] = nn.Embedding(positions, size)
        self.embeddings = nn.ModuleDict(embeddings)
        self.encoder = nn.ModuleDict(encoder)


class _Layer(nn.Module):
    def __init__(self, config: EncoderDimensions) -> None:
        super().__init__()
        size, between = config.hidden_size, config.intermediate_size
        parts = {name: nn.Linear(size, size) for name in ("query", "key", "value")}
        output = _ResidualDense(size, config)
        self.attention = nn.ModuleDict({"self": nn.ModuleDict(parts), "output": output})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(size, between)})
        self.output = _ResidualDense(between, config)


class _ResidualDense(nn.Module):
    """Dense projection to the hidden size, with the LayerNorm after the residual connection."""

    def __init__(self, inputs: int, config: EncoderDimensions) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)


class _Head(nn.Module):
    """Prediction head: logits [..., V] of hidden states [..., H]."""

    words: Tensor

    def __init__(self, config: EncoderDimensions) -> None:
        super().__init__()
        size = config.hidden_size
        norm = nn.LayerNorm(size, config.layer_norm_eps)
        transform = nn.ModuleDict({"dense": nn.Linear(size, size), "LayerNorm": norm})
        self.predictions = nn.ModuleDict({"transform": transform})
        self.predictions.register_parameter("bias", nn.Parameter(torch.empty(config.vocab_size)))

    def forward(self, hidden: Tensor) -> Tensor:
        dense, norm = self.predictions["transform"].children()
        found = norm(functional.gelu(dense(hidden)))
        return functional.linear(found, self.words, self.predictions.get_parameter("bias"))
