#!/usr/bin/env python3
"""make_llama.py - golden cases of the transformer and its relatives.

    python make_llama.py [FOLDER]      (default: this folder; see frame.py)
"""
from transformers import (LlamaConfig, LlamaForCausalLM, MistralConfig,
                          MistralForCausalLM, Qwen3Config, Qwen3ForCausalLM)

from frame import main

# name, classes, their options, our options of the layer
CASES = [
    ("llama_mha", LlamaConfig, LlamaForCausalLM,
     dict(num_attention_heads=4, num_key_value_heads=4), dict(num_heads=4)),
    ("llama_gqa", LlamaConfig, LlamaForCausalLM,
     dict(num_attention_heads=4, num_key_value_heads=2),
     dict(num_heads=4, num_kv_heads=2)),
    ("llama_tied", LlamaConfig, LlamaForCausalLM,
     dict(num_attention_heads=4, num_key_value_heads=1,
          tie_word_embeddings=True),
     dict(num_heads=4, num_kv_heads=1)),
    ("llama_wide_heads_biased", LlamaConfig, LlamaForCausalLM,
     dict(num_attention_heads=2, num_key_value_heads=1, head_dim=12,
          attention_bias=True,
          rope_parameters=dict(rope_type="default", rope_theta=500.0)),
     dict(num_heads=2, num_kv_heads=1, head_dim=12, attention_bias="true",
          rope_theta=500.0)),
    ("mistral_window", MistralConfig, MistralForCausalLM,
     dict(num_attention_heads=4, num_key_value_heads=2, sliding_window=3),
     dict(num_heads=4, num_kv_heads=2, sliding_window=3)),
    ("qwen3_qk_norm", Qwen3Config, Qwen3ForCausalLM,
     dict(num_attention_heads=4, num_key_value_heads=2, head_dim=4),
     dict(num_heads=4, num_kv_heads=2, head_dim=4, qk_norm="true")),
]

if __name__ == "__main__":
    main(CASES)
