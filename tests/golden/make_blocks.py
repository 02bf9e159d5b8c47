#!/usr/bin/env python3
"""make_blocks.py - ggml's blocks of 8 and 4 bits, as blocks.h beside this file.

What the package gguf (0.19) makes of given floats in Q8_0, and what it reads
from given blocks of Q4_K. Floats are printed as their bits.
"""
import os

import numpy as np
from gguf import GGMLQuantizationType
from gguf.quants import dequantize, quantize


def floats():
    """Four blocks: plain, ties between two integers, zeros, and numbers of
    many sizes, some of which a half cannot scale."""
    r = np.random.default_rng(7)
    ties = np.arange(-16, 16).astype(np.float32) + 0.5
    ties[0] = 127.0
    wide = (r.standard_normal(64) * np.exp(6 * r.standard_normal(64)))
    return np.concatenate([r.standard_normal(32), ties, np.zeros(32), wide,
                           1e-7 * r.standard_normal(32)]).astype(np.float32)


def blocks():
    """Two of Q4_K, every byte at random but the exponents of the scales."""
    r = np.random.default_rng(8)
    b = r.integers(0, 256, (2, 144)).astype(np.uint8)
    b[:, 0:2] = np.array([0.0123, -0.5], np.float16).view(np.uint8).reshape(2, 2)
    b[:, 2:4] = np.array([0.25, 3e-7], np.float16).view(np.uint8).reshape(2, 2)
    return b


def table(kind, name, values, form):
    text = ", ".join(form % v for v in values)
    return f"static const {kind} {name}[{len(values)}] = {{\n    {text}}};\n"


def main():
    x, b = floats(), blocks()
    q8 = quantize(x, GGMLQuantizationType.Q8_0)
    y = dequantize(b, GGMLQuantizationType.Q4_K).ravel()
    with open(os.path.join(os.path.dirname(__file__), "blocks.h"), "w") as f:
        f.write("/*\n * blocks.h - ggml's blocks of 8 and 4 bits; written by "
                "make_blocks.py.\n */\n/* clang-format off */\n")
        f.write(table("uint32_t", "golden_floats", x.view(np.uint32), "0x%xu"))
        f.write(table("uint8_t", "golden_q8_0", q8.ravel(), "%u"))
        f.write(table("uint8_t", "golden_q4_k", b.ravel(), "%u"))
        f.write(table("uint32_t", "golden_q4_k_floats", y.view(np.uint32),
                      "0x%xu"))


if __name__ == "__main__":
    main()
