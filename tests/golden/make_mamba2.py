#!/usr/bin/env python3
"""make_mamba2.py - golden cases of Mamba-2, in plain PyTorch.

    python make_mamba2.py [FOLDER]   (default: this folder; see frame.py)

Weights have Hugging Face's names, which differ from ours. Its gated norm looks
at each of n_groups parts.
"""
from transformers import Mamba2Config, Mamba2ForCausalLM

from frame import main

# eleven tokens: chunks of 4, 4 and 3
ONE_GROUP = dict(num_heads=4, head_dim=8, state_size=6, n_groups=1,
                 conv_kernel=4, chunk_size=4)
TWO_GROUPS = dict(num_heads=8, head_dim=4, state_size=5, n_groups=2,
                  conv_kernel=3, chunk_size=256)

CASES = [
    ("mamba2", Mamba2Config, Mamba2ForCausalLM, ONE_GROUP,
     ONE_GROUP | dict(intermediate_size=None), "mamba2"),
    ("mamba2_groups", Mamba2Config, Mamba2ForCausalLM,
     TWO_GROUPS | dict(use_bias=True, use_conv_bias=False,
                       time_step_limit=(0.3, 0.9), tie_word_embeddings=True),
     TWO_GROUPS | dict(use_bias="true", use_conv_bias="false", norm_groups=2,
                       time_step_limit=[0.3, 0.9], intermediate_size=None),
     "mamba2"),
]

if __name__ == "__main__":
    main(CASES)
