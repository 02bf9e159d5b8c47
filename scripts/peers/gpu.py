"""Tokens per second at which PyTorch trains a model of scripts/bench-backends on
the GPU: torch.compile, bf16 autocast, fused AdamW. Prints one line.

    python3 scripts/peers/gpu.py 124m
"""
import sys
import time

import torch
import transformer

SHAPES = {  # as in scripts/bench-backends, and rows of a batch
    "tiny": ({"vocab": 256, "hidden": 64, "layers": 2, "heads": 2, "intermediate": 172, "length": 64}, 4),
    "nano": ({"vocab": 8192, "hidden": 384, "layers": 6, "heads": 6, "intermediate": 1024, "length": 256}, 16),
    "124m": ({"vocab": 50257, "hidden": 768, "layers": 12, "heads": 12, "intermediate": 2048, "length": 1024}, 8),
}
WARM, STEPS = 5, 20


def main(name):
    shape, batch = SHAPES[name]
    torch.manual_seed(1)
    torch.set_float32_matmul_precision("high")
    model = transformer.Model(shape).cuda()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    compiled = torch.compile(model)
    tokens = torch.randint(shape["vocab"], (batch, shape["length"] + 1), device="cuda")
    for step in range(WARM + STEPS):
        if step == WARM:
            torch.cuda.synchronize()
            began = time.perf_counter()
        with torch.autocast("cuda", dtype=torch.bfloat16):
            loss = compiled(tokens[:, :-1], tokens[:, 1:])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    torch.cuda.synchronize()
    seconds = time.perf_counter() - began
    print(f"{STEPS * batch * shape['length'] / seconds:.0f} (bf16, torch.compile, PyTorch {torch.__version__})")


if __name__ == "__main__":
    main(sys.argv[1])
