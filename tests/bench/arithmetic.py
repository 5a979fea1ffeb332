"""The forward pass of scoring by other engines: torch.compile, ONNX Runtime, OpenVINO.

pip install onnxruntime onnxscript openvino     # what is missing is left out
python tests/bench/arithmetic.py

Seconds of CPU on one thread, by turns: how many times as fast as ours each is, on a pass of 2,048
tokens; `one` asks for one hidden place a window (exact scoring), `all` for every place (a look).
All give the same logits to 1e-3, or the program stops.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from speeds.figure import one_core, spread

from logmlm.mlm.forward import logits_at_positions
from logmlm.mlm.model import build_model
from logmlm.mlm.tokenizer import CLS, MASK, SEP

ROUNDS, REPEATS = 7, 10
TOKENS, WORDS, FIRST_WORD = 2_048, 60, 8


class Pass(torch.nn.Module):
    """`logits_at_positions` as a module; all shapes are fixed."""

    def __init__(self, model, each, repeats=False):
        super().__init__()
        self.model, self.each, self.repeats = model, each, repeats

    def forward(self, ids, places):
        return logits_at_positions(
            self.model, ids, places, padding=False, each=self.each, repeats=self.repeats
        )


def batch(length, asked):
    """Windows of `length` tokens [B, L] and the places asked for, counted through all."""
    rows = TOKENS // length
    inner = length - 2
    windows = np.random.default_rng(0).integers(FIRST_WORD, WORDS, (-(-rows // inner), length))
    ids = np.repeat(windows, inner, axis=0)[:rows]
    ids[:, 0], ids[:, -1] = CLS, SEP
    row = np.arange(rows)
    if asked == "one":
        columns = 1 + row % inner
        ids[row, columns] = MASK
        places = row * length + columns
    else:
        places = (row[:, None] * length + np.arange(1, length - 1)).ravel()
    return torch.as_tensor(ids), torch.as_tensor(places)


def engines(model, each, ids, places):
    """Each way as a function without arguments, by name."""
    plain = Pass(model, each)
    ours = Pass(model, each, repeats=True)
    compiled = torch.compile(plain, dynamic=False)
    found = {
        "ours": lambda: ours(ids, places),
        "first layer not shared": lambda: plain(ids, places),
        "torch.compile": lambda: compiled(ids, places),
    }
    return found | exported(plain, ids, places)


def exported(plain, ids, places):
    """The engines that read ONNX, as far as they are installed."""
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  what torch writes ONNX with
        import openvino
    except ImportError as error:
        print(f"left out: {error}", file=sys.stderr)
        return {}
    with tempfile.TemporaryDirectory() as directory:
        path = str(Path(directory) / "model.onnx")
        torch.onnx.export(plain, (ids, places), path, dynamo=True, verbose=False)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        core = openvino.Core()
        core.set_property("CPU", {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"})
        request = core.compile_model(path, "CPU").create_infer_request()
    arrays = [ids.numpy(), places.numpy()]
    names = [each.name for each in session.get_inputs()]
    feed = dict(zip(names, arrays, strict=True))
    return {
        "ONNX Runtime": lambda: torch.as_tensor(session.run(None, feed)[0]),
        "OpenVINO": lambda: torch.as_tensor(request.infer(arrays)[0].copy()),
    }


def measured(ways):
    """How many times as fast as ours each way was, round by round."""
    right, times = ways["ours"](), {name: [] for name in ways}
    for name, run in ways.items():
        difference = float((run() - right).abs().max())
        assert difference < 1e-3, f"{name} differs by {difference}"
    for _ in range(ROUNDS):
        for name, run in ways.items():
            began = time.process_time()
            for _ in range(REPEATS):
                run()
            times[name].append(time.process_time() - began)
    ours = times.pop("ours")
    return {name: [a / b for a, b in zip(ours, took, strict=True)] for name, took in times.items()}


@torch.inference_mode()
def main():
    with one_core():
        for preset in ("tiny", "small"):
            model = build_model(preset, WORDS, 128, seed=0).eval()
            for asked, length in (("one", 21), ("one", 66), ("all", 21), ("all", 66)):
                ids, places = batch(length, asked)
                each = 1 if asked == "one" else length - 2
                found = measured(engines(model, each, ids, places))
                told = "; ".join(f"{name} {spread(ratios)}" for name, ratios in found.items())
                print(f"{preset}, {asked}, {length} tokens: {told}", flush=True)


if __name__ == "__main__":
    main()
