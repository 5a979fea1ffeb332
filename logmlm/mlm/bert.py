"""Inference-only BERT (Devlin et al., NAACL 2019) with the parameter names of transformers.

Importing transformers' models loads torch's compiler and distributed tensors: four seconds and
150 MB at every start of the daemon, for a model of half a megabyte. Training uses transformers'
`BertForMaskedLM`; this module loads the weights that it saves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

_TIED = "cls.predictions.decoder."
"""Prefix of the output layer, whose weights are tied to the word embeddings."""


@dataclass(frozen=True, slots=True)
class BertDimensions:
    """Dimensions of a model, under their names in `config.json`."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int
    type_vocab_size: int
    layer_norm_eps: float

    @classmethod
    def of(cls, stored: Any) -> BertDimensions:
        """Read the dimensions from the content of `config.json`.

        Raises:
            ValueError: the content is damaged, or describes another kind of model.

        """
        if not isinstance(stored, dict) or stored.get("model_type") != "bert":
            raise ValueError("config.json is of no BERT model")
        names = cls.__dataclass_fields__
        wrong = [n for n in names if not isinstance(stored.get(n), (int, float)) or stored[n] <= 0]
        if wrong:
            raise ValueError(f"config.json does not say {', '.join(wrong)}")
        if stored.get("hidden_act") != "gelu" or stored.get("is_decoder"):
            raise ValueError("config.json is of another kind of BERT than is trained here")
        return cls(**{name: stored[name] for name in names})


class InferenceBert(nn.Module):
    """Masked language model for inference, run by `forward.logits_at_positions`."""

    bert: Any

    def __init__(self, config: BertDimensions, weights: Mapping[str, Tensor]) -> None:
        """Assign saved weights, under transformers' names, without a copy.

        Raises:
            ValueError: weights are missing.
            RuntimeError: weights have another shape, or belong to no module of this model.

        """
        super().__init__()
        self.config = config
        self.bert = _Encoder(config)
        self.cls = _Head(config)
        saved = {name: tensor for name, tensor in weights.items() if not name.startswith(_TIED)}
        if missing := self.state_dict().keys() - saved.keys():
            raise ValueError(f"the weights {', '.join(sorted(missing))} are missing")
        self.load_state_dict(saved, assign=True)
        self.cls.words = self.bert.embeddings["word_embeddings"].get_parameter("weight")
        self.requires_grad_(False)


class _Encoder(nn.Module):
    def __init__(self, config: BertDimensions) -> None:
        super().__init__()
        size = config.hidden_size
        self.embeddings = nn.ModuleDict(
            {
                "word_embeddings": nn.Embedding(config.vocab_size, size),
                "position_embeddings": nn.Embedding(config.max_position_embeddings, size),
                "token_type_embeddings": nn.Embedding(config.type_vocab_size, size),
                "LayerNorm": nn.LayerNorm(size, config.layer_norm_eps),
            }
        )
        layers = [_Layer(config) for _ in range(config.num_hidden_layers)]
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(layers)})


class _Layer(nn.Module):
    def __init__(self, config: BertDimensions) -> None:
        super().__init__()
        size, between = config.hidden_size, config.intermediate_size
        parts = {name: nn.Linear(size, size) for name in ("query", "key", "value")}
        output = _ResidualDense(size, config)
        self.attention = nn.ModuleDict({"self": nn.ModuleDict(parts), "output": output})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(size, between)})
        self.output = _ResidualDense(between, config)


class _ResidualDense(nn.Module):
    """Dense projection to the hidden size, with the LayerNorm after the residual connection."""

    def __init__(self, inputs: int, config: BertDimensions) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)


class _Head(nn.Module):
    """Prediction head: logits [..., V] of hidden states [..., H]."""

    words: Tensor

    def __init__(self, config: BertDimensions) -> None:
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
