"""Others who open the saved model get our numbers, and never a special token."""

from __future__ import annotations

import ast
import re
import warnings
from pathlib import Path

import pytest
import torch
from mlm_parts import VOCABULARY, cyclic_model, ids
from transformers import AutoModelForMaskedLM, AutoTokenizer, RoFormerForMaskedLM, pipeline

from logmlm.mlm.pretrained import load_model, save_model
from logmlm.mlm.scorer import Scorer
from logmlm.mlm.tokenizer import BAG, CLS, END, MASK, NEVER_PREDICTED, SPECIALS

TEXTS = ("ABCDEF", "CDE", "HGFEDCBA", "AAAA", "B")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("model")
    save_model(cyclic_model(), VOCABULARY, directory)
    return directory


@pytest.fixture(scope="module")
def scorer(saved: Path) -> Scorer:
    return Scorer(load_model(saved, "cpu")[0])


def test_minicons_gives_each_event_the_same_surprisal(saved: Path, scorer: Scorer) -> None:
    with warnings.catch_warnings():  # minicons' own imports: old escapes, names soon to be gone
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", SyntaxWarning)
        warnings.simplefilter("ignore", FutureWarning)
        from minicons.scorer import MaskedLMScorer
    oracle = MaskedLMScorer(str(saved), "cpu", PLL_metric="original")
    windows = [ids(text) for text in TEXTS]
    sentences = [" ".join([*text, "[END]"]) for text in TEXTS]
    encoded = oracle.tokenizer(sentences, padding=True)  # its own call is gone from transformers 5
    scored = oracle.token_score(encoded, surprisal=True)
    for text, pairs, reading in zip(TEXTS, scored, scorer.score_ordered(windows), strict=True):
        inner = [(word, value) for word, value in pairs if word not in ("[CLS]", "[SEP]")]
        assert [word for word, _ in inner] == [*text, "[END]"]
        theirs = [value for _, value in inner]
        assert reading.surprisals.tolist() == pytest.approx(theirs, abs=1e-4)


def examples() -> list[str]:
    """Return the README's Python examples."""
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", readme, re.DOTALL)


THEIRS = [code for code in examples() if "models/app" in code and "import logmlm" not in code]


@pytest.mark.parametrize("code", THEIRS)
def test_the_readmes_examples_work_as_they_stand(
    saved: Path, code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings():  # minicons' own imports
        warnings.simplefilter("ignore")
        exec(compile(code.replace("models/app", str(saved)), "README.md", "exec"), {})  # noqa: S102  ours
    printed = ast.literal_eval(capsys.readouterr().out)
    if "minicons" in code:
        assert [word for word, _ in printed if word[0] != "["] == ["A", "B", "C"]
    else:
        assert {answer["token_str"] for answer in printed} <= set("ABCDEFGH") | {"[END]", "[UNK]"}


@pytest.mark.parametrize("text", ["A B [MASK] D E [END]", "[MASK] [END]", "A B C [MASK]", "[MASK]"])
def test_fill_mask_never_gives_a_special_token(saved: Path, text: str) -> None:
    fill = pipeline("fill-mask", str(saved), device="cpu")
    events = len(VOCABULARY) - len(NEVER_PREDICTED)
    found = fill(text, top_k=events)
    words = [answer["token_str"] for answer in found]
    assert not set(words) & (set(SPECIALS) - {"[UNK]"})
    assert sum(answer["score"] for answer in found) == pytest.approx(1.0, abs=1e-5)
    rest = fill(text, top_k=len(VOCABULARY))[events:]
    assert [answer["score"] for answer in rest] == [0.0] * len(NEVER_PREDICTED)


def test_fill_mask_expects_what_the_scorer_expects(saved: Path, scorer: Scorer) -> None:
    answers = pipeline("fill-mask", str(saved), device="cpu")("A B [MASK] D E [END]", top_k=3)
    assert answers[0]["sequence"] == "A B C D E [END]"
    expected = scorer.expected(ids("ABCDE"))[2]
    assert [answer["token"] for answer in answers] == [token for token, _ in expected]
    shares = [answer["score"] for answer in answers]
    assert shares == pytest.approx([share for _, share in expected], abs=1e-5)


def test_the_auto_classes_open_it(saved: Path, scorer: Scorer) -> None:
    model = AutoModelForMaskedLM.from_pretrained(saved)
    tokenizer = AutoTokenizer.from_pretrained(saved)
    assert isinstance(model, RoFormerForMaskedLM)
    assert model.config.vocab_size == len(tokenizer) == len(VOCABULARY)
    encoded = tokenizer("A B C [END]", return_tensors="pt")
    assert encoded["input_ids"][0, 1:-1].tolist() == list(ids("ABC"))
    encoded["input_ids"][0, 2] = MASK
    logits = model.eval()(**encoded).logits[0]
    reading = scorer.score_ordered([ids("ABC")])[0]
    surprisal = -logits[2].log_softmax(-1)[ids("B")[0]].item()
    assert surprisal == pytest.approx(reading.surprisals[1], abs=1e-5)


@torch.no_grad()
def test_no_special_token_has_probability_wherever_one_looks(saved: Path) -> None:
    model = AutoModelForMaskedLM.from_pretrained(saved).eval()
    for first in (CLS, BAG):
        shares = model(torch.tensor([[first, *ids("AB"), MASK, END, 3, 0]])).logits.softmax(-1)
        assert (shares[..., list(NEVER_PREDICTED)] == 0.0).all()
