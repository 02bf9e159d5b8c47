"""PyTorch's side of scripts/bench-peers: one process that trains one model.

    worker.py WORK MODE init          draw weights, write WORK/init.safetensors
    worker.py WORK MODE train         then for each line "N" on standard input, N steps

WORK/case.json says what to train; MODE is eager or compile, then f32 or bf16
(autocast, PyTorch's own way of mixed precision). Each step prints its loss, as
Tenon does, so that both sides are timed by the arrival of lines.
"""
import importlib
import json
import pathlib
import sys

import numpy as np
import torch
from safetensors.torch import load_file, save_file


def load(work):
    case = json.loads((work / "case.json").read_text())
    torch.manual_seed(1)
    torch.set_num_threads(case["threads"])
    peer = importlib.import_module(case["arch"])
    return case, peer.Model(case["shape"])


def init(work):
    _, model = load(work)
    for name, weight in model.named_parameters():
        if weight.dim() > 1 and "conv" not in name:
            torch.nn.init.normal_(weight, std=0.02)
    save_file({n: w.detach().contiguous() for n, w in model.named_parameters()}, work / "init.safetensors")


def batches(work, case):
    """Windows in file order, as token_file without shuffle gives them."""
    batch, length = case["batch"], case["shape"]["length"]
    ids = torch.from_numpy(np.fromfile(work / "tokens.bin", dtype=np.uint32).astype(np.int64))
    row = 0
    while True:
        if (row + batch) * length + 1 > len(ids):
            row = 0
        at = ids[row * length:(row + batch) * length + 1]
        yield at[:-1].view(batch, length), at[1:].view(batch, length)
        row += batch


def train(work, mode):
    case, model = load(work)
    model.load_state_dict(load_file(work / "init.safetensors"))
    how, precision = mode.split("-")
    forward = torch.compile(model) if how == "compile" else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    data = batches(work, case)
    for line in sys.stdin:
        for _ in range(int(line)):
            tokens, targets = next(data)
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                loss = forward(tokens, targets)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            print(json.dumps({"loss": loss.item()}), flush=True)


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1])
    init(folder) if sys.argv[3] == "init" else train(folder, sys.argv[2])
