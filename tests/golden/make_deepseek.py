#!/usr/bin/env python3
"""make_deepseek.py - golden cases of latent attention: DeepSeek-V3, all of
whose layers are dense.

    python make_deepseek.py [FOLDER]   (default: this folder; see frame.py)
"""
from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

from frame import LAYERS, main

SIZES = dict(kv_lora_rank=6, qk_nope_head_dim=5, qk_rope_head_dim=4,
             v_head_dim=3)
# latent norms have an epsilon of their own there
OURS = dict(num_heads=4, latent_norm_eps="1.0e-6") | SIZES
THEIRS = dict(num_attention_heads=4, num_key_value_heads=4,
              first_k_dense_replace=LAYERS, num_nextn_predict_layers=0) | SIZES

CASES = [
    (name, DeepseekV3Config, DeepseekV3ForCausalLM, THEIRS | theirs,
     OURS | ours, "mla")
    for name, theirs, ours in [
        ("deepseek", dict(q_lora_rank=None, rope_interleave=False), {}),
        ("deepseek_q_latent", dict(q_lora_rank=7, rope_interleave=False),
         dict(q_lora_rank=7)),
        ("deepseek_interleaved", dict(q_lora_rank=None, rope_interleave=True),
         dict(rope_interleave="true")),
        ("deepseek_q_latent_biased",
         dict(q_lora_rank=7, rope_interleave=True, attention_bias=True,
              rope_parameters=dict(rope_type="default", rope_theta=500.0)),
         dict(q_lora_rank=7, rope_interleave="true", attention_bias="true",
              rope_theta=500.0)),
    ]
]

if __name__ == "__main__":
    main(CASES)
