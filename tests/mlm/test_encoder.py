"""The forward pass that needs no transformers gives the numbers of the one that is theirs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForMaskedLM

from logmlm.mlm.encoder import EncoderDimensions, InferenceEncoder
from logmlm.mlm.model import build_model, token_logits
from logmlm.mlm.pretrained import load_model, save_model
from logmlm.mlm.tokenizer import BAG, CLS, MASK, PAD, SEP, Vocabulary

VOCABULARY = Vocabulary.build(dict.fromkeys("abcdefgh", 9), 1)
SEES_WHAT_IS_IMPORTED = """
import sys
from pathlib import Path
from logmlm.mlm.scorer import Scorer
from logmlm.mlm.pretrained import load_model
scorer = Scorer(load_model(Path(sys.argv[1]), "cpu")[0])
scorer.score_ordered([(7, 8, 6)]), scorer.score_bag([(7, 8, 6)]), scorer.expected((7, 8))
print(*(name for name in ("transformers", "sympy", "torch._dynamo") if name in sys.modules))
"""


@pytest.fixture(
    scope="module", params=[("tiny", "rotary"), ("base", "rotary"), ("tiny", "absolute")]
)
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    preset, positions = request.param
    directory: Path = tmp_path_factory.mktemp("models") / f"{preset}-{positions}"
    model = build_model(preset, len(VOCABULARY), 24, 1, positions)
    with torch.no_grad():  # as built, biases are 0 and norms 1: nothing would show
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    save_model(model, VOCABULARY, directory)
    return directory


@pytest.mark.parametrize("length", [3, 9, 26])
@pytest.mark.parametrize("first", [CLS, BAG])
@pytest.mark.parametrize("padding", [False, True])
def test_the_logits_are_those_of_transformers(
    saved: Path, length: int, first: int, padding: bool
) -> None:
    ids = torch.randint(6, len(VOCABULARY), (5, length))
    ids[:, 0], ids[:, 1], ids[:, -1] = first, MASK, SEP
    if padding:
        ids[2, -1] = PAD
    places = ids != SEP
    with torch.inference_mode():
        theirs = AutoModelForMaskedLM.from_pretrained(saved).eval()
        expected = token_logits(theirs, ids, places, padding)
        found = token_logits(load_model(saved, "cpu")[0], ids, places, padding)
    assert torch.allclose(found, expected, rtol=0, atol=1e-5)


def test_reading_a_model_imports_neither_transformers_nor_a_compiler(saved: Path) -> None:
    command = [sys.executable, "-c", SEES_WHAT_IS_IMPORTED, str(saved)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def stored(saved: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((saved / "config.json").read_text())
    return found


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model_type": "gpt2"}, "config.json is of no bert or roformer model"),
        ({"hidden_size": None, "vocab_size": -1}, "does not say vocab_size, hidden_size"),
        ({"hidden_act": "relu"}, "another kind of (bert|roformer)"),
        ({"rotary_value": True}, "another kind of (bert|roformer)"),
        ({"embedding_size": 7}, "another kind of (bert|roformer)"),
        ({"is_decoder": True}, "another kind of (bert|roformer)"),
    ],
)
def test_a_config_of_something_else_is_refused(
    saved: Path, change: dict[str, object], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        EncoderDimensions.of(stored(saved) | change)


def test_weights_of_no_part_of_the_model_are_refused(saved: Path) -> None:
    model = load_model(saved, "cpu")[0]
    weights = model.state_dict()
    del weights["cls.words"]  # the words' own, tied
    InferenceEncoder(model.config, weights)
    with pytest.raises(RuntimeError, match=r"pooler"):
        InferenceEncoder(model.config, weights | {"roformer.pooler": torch.zeros(1)})
