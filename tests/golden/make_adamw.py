#!/usr/bin/env python3
"""make_adamw.py - torch.optim.AdamW's numbers, as adamw.h beside this file.

Float64, four elements, five steps, a learning rate that changes: what the
oracle must give to the last digits. Made with torch 2.15.
"""
import os

import torch

START = [0.5, -1.25, 0.0, 3.0]
GRADS = [[0.1, -2.0, 0.0, 1e-6], [0.3, 1.0, 0.0, -1e-6], [-0.2, 0.5, 1e-4, 0.0],
         [0.0, -0.5, 0.0, 2e-6], [0.7, 4.0, -1e-4, 1e-6]]
RATES = [1e-2, 8e-3, 6e-3, 4e-3, 2e-3]
OPTIONS = dict(betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)


def run():
    p = torch.nn.Parameter(torch.tensor(START, dtype=torch.float64))
    optimizer = torch.optim.AdamW([p], lr=1.0, **OPTIONS)
    rows = []
    for rate, grad in zip(RATES, GRADS):
        optimizer.param_groups[0]["lr"] = rate
        p.grad = torch.tensor(grad, dtype=torch.float64)
        optimizer.step()
        state = optimizer.state[p]
        rows.append((p.tolist(), state["exp_avg"].tolist(),
                     state["exp_avg_sq"].tolist()))
    return rows


def table(name, rows):
    body = ",\n".join("    {" + ", ".join(f"{v:.17g}" for v in r) + "}"
                      for r in rows)
    shape = f"[{len(rows)}][{len(rows[0])}]"
    return f"static const double {name}{shape} = {{\n{body}}};\n"


def main():
    rows = run()
    parts = [
        "/*\n * adamw.h - torch.optim.AdamW in float64; written by "
        "make_adamw.py.\n */\n",
        "/* clang-format off */\n",
        table("adamw_start", [START]),
        table("adamw_lr", [[r] for r in RATES]),
        table("adamw_grad", GRADS),
        table("adamw_param", [r[0] for r in rows]),
        table("adamw_exp_avg", [r[1] for r in rows]),
        table("adamw_exp_avg_sq", [r[2] for r in rows]),
        "/* clang-format on */\n",
    ]
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "adamw.h"), "w") as f:
        f.write("".join(parts))


if __name__ == "__main__":
    main()
