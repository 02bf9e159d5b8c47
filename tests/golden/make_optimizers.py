#!/usr/bin/env python3
"""make_optimizers.py - torch.optim.Muon's and Lion's numbers, as muon.h and
lion.h beside this file.

Float64, also where torch.optim.Muon has bfloat16 (optimizers.py), and a
learning rate that changes. Made with torch 2.15.
"""
import os

import torch

from optimizers import Lion, orthogonalise_in

RATES = [1e-2, 8e-3, 6e-3, 4e-3]

# name, (matrices, rows, columns), options
MUONS = [
    ("tall", (2, 5, 3), dict(weight_decay=0.1)),
    ("broad", (1, 2, 4), dict(weight_decay=0.0)),
    ("wide", (1, 3, 4), dict(weight_decay=0.3, momentum=0.8, nesterov=False,
                             ns_steps=3, adjust_lr_fn="match_rms_adamw")),
]
LION = dict(betas=(0.9, 0.99), weight_decay=0.5)


def draw(shape, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def run_muon(shape, options):
    start, grads = draw(shape, 1), draw((len(RATES), *shape), 2)
    ps = [torch.nn.Parameter(x.clone()) for x in start]
    optimizer = torch.optim.Muon(ps, lr=1.0, **options)
    rows = []
    for rate, grad in zip(RATES, grads):
        optimizer.param_groups[0]["lr"] = rate
        for p, g in zip(ps, grad):
            p.grad = g.clone()
        optimizer.step()
        buffers = [optimizer.state[p]["momentum_buffer"] for p in ps]
        rows.append((torch.stack([p.detach().clone() for p in ps]),
                     torch.stack(buffers).clone()))
    return start, grads, rows


def run_lion(shape):
    start, grads = draw(shape, 3), draw((len(RATES), *shape), 4)
    p = torch.nn.Parameter(start.clone())
    optimizer = Lion([p], lr=1.0, **LION)
    rows = []
    for rate, grad in zip(RATES, grads):
        optimizer.param_groups[0]["lr"] = rate
        p.grad = grad.clone()
        optimizer.step()
        rows.append((p.detach().clone(), optimizer.state[p]["momentum"]))
    return start, grads, rows


def table(name, rows):
    rows = [r.reshape(-1).tolist() for r in rows]
    body = ",\n".join("    {" + ", ".join(f"{v:.17g}" for v in r) + "}"
                      for r in rows)
    return f"static const double {name}[{len(rows)}][{len(rows[0])}] = " \
           f"{{\n{body}}};\n"


def tables(name, run):
    start, grads, rows = run
    return [table(name + "_start", [start]), table(name + "_grad", list(grads)),
            table(name + "_param", [r[0] for r in rows]),
            table(name + "_state", [r[1] for r in rows])]


def write(name, about, parts):
    here = os.path.dirname(os.path.abspath(__file__))
    head = f"/*\n * {name}.h - {about} in float64; written by " \
           f"make_optimizers.py.\n */\n/* clang-format off */\n"
    rates = f"static const double {name}_lr[{len(RATES)}] = {{" + \
            ", ".join(f"{r:.17g}" for r in RATES) + "};\n"
    with open(os.path.join(here, name + ".h"), "w") as f:
        f.write(head + rates + "".join(parts) + "/* clang-format on */\n")


def main():
    orthogonalise_in(torch.float64)
    parts = []
    for name, shape, options in MUONS:
        parts += tables("muon_" + name, run_muon(shape, options))
    write("muon", "torch.optim.Muon", parts)
    write("lion", "Lion", tables("lion", run_lion((4,))))


if __name__ == "__main__":
    main()
