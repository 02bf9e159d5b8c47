#!/usr/bin/env python3
"""A checkpoint of Tenon opens in transformers with the same logits, and one of
transformers trains here.

    python3 check_transformers.py PATH_TO_TENON

Needs torch and transformers; exits 77 (skipped) where they are missing.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import torch
    from transformers import (
        AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, Mamba2Config, Mamba2ForCausalLM, Qwen3MoeConfig,
        Qwen3MoeForCausalLM,
    )
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

TENON = sys.argv[1] if len(sys.argv) > 1 else "tenon"
TOKENS = [3, 141, 59, 26, 53, 58, 97, 93, 23, 84]

CONFIG = """
name: exchange
seed: 7
backend: cpu
tokenizer: {{plugin: byte}}
model:
  vocab_size: 256
  hidden_size: 64
  max_seq_len: 64
  tie_embeddings: {tied}
  layers:
    - {{repeat: 2, {layer}}}
init: {{from: {init}}}
data: {{train: {{plugin: text_file, path: {text}}}}}
optimizer: {{plugin: adamw, lr: 1.0e-3}}
train: {{max_steps: {steps}, batch_size: 4, seq_len: 32, log_every: 5}}
checkpoint: {{dir: {out}, every: 1000, keep: 1}}
"""


def tenon(*arguments):
    done = subprocess.run([TENON, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"tenon {' '.join(map(str, arguments))}\n{done.stderr}")
    return done.stdout


DENSE = ", intermediate_size: 160"
EXPERTS = ", mlp: {type: moe, num_experts: 6, experts_per_token: 2, intermediate_size: 48, %s}"
LLAMA = "arch: transformer, num_heads: 4" + DENSE
GROUPED = LLAMA + ", num_kv_heads: 2"
QWEN3 = "arch: transformer, num_heads: 4, num_kv_heads: 2, qk_norm: true, head_dim: 32"
LATENT = (
    "arch: mla, num_heads: 4, kv_lora_rank: 24, qk_nope_head_dim: 12, qk_rope_head_dim: 8, v_head_dim: 16, "
    "latent_norm_eps: 1.0e-6"
)
DEEPSEEK = LATENT + DENSE
MAMBA2 = "arch: mamba2, num_heads: 8, state_size: 16"


def train(folder, steps, layer, tied=False, init="null"):
    text = pathlib.Path(__file__).parents[2] / "configs/demo/workshop.txt"
    config = folder / "run.yaml"
    config.write_text(
        CONFIG.format(tied=str(tied).lower(), layer=layer, init=init, text=text, steps=steps, out=folder / "run")
    )
    log = tenon("train", "-f", config, "--headless")
    losses = [json.loads(line)["loss"] for line in log.splitlines()]
    return sorted((folder / "run").glob("step-*"))[-1], losses


def logits_of_tenon(folder, *model):
    out = folder / "logits.npy"
    tenon("logits", *model, "--tokens", ",".join(map(str, TOKENS)), "-o", out)
    return np.load(out)


def logits_of_transformers(model):
    with torch.no_grad():
        return model(torch.tensor([TOKENS])).logits[0].float().numpy()


def ours_opens_there(name, layer, **options):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        checkpoint, _ = train(folder, steps=10, layer=layer, **options)
        model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
        error = np.abs(logits_of_tenon(folder, "-m", checkpoint) - logits_of_transformers(model)).max()
        print(f"{name:32} {type(model).__name__:22} largest logit difference {error:.2e}")
        assert error < 1e-4, name


def theirs_trains_here(theirs, layer, tied):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        theirs.save_pretrained(folder / "theirs")
        _, losses = train(folder, steps=30, layer=layer, tied=tied, init=folder / "theirs")
        name = type(theirs).__name__
        print(f"from {name}, tied={tied}: loss {losses[0]:.3f} -> {losses[-1]:.3f} in 30 steps")
        assert losses[-1] < losses[0] - 1.0
        ours = logits_of_tenon(folder, "-f", folder / "run.yaml", "--weights", folder / "theirs/model.safetensors")
        error = np.abs(ours - logits_of_transformers(theirs)).max()
        assert error < 1e-4, f"untrained logits differ by {error}"


def a_llama(tied):
    torch.manual_seed(1)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=256, hidden_size=64, intermediate_size=160, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=64, rms_norm_eps=1e-5, tie_word_embeddings=tied,
        )
    )


def a_mamba2(tied):
    torch.manual_seed(1)
    return Mamba2ForCausalLM(
        Mamba2Config(
            vocab_size=256, hidden_size=64, num_hidden_layers=2, num_heads=8, head_dim=16, state_size=16, n_groups=1,
            tie_word_embeddings=tied,
        )
    )


def a_qwen3_of_experts():
    torch.manual_seed(1)
    return Qwen3MoeForCausalLM(
        Qwen3MoeConfig(
            vocab_size=256, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
            head_dim=32, max_position_embeddings=64, rms_norm_eps=1e-5, num_experts=6, num_experts_per_tok=2,
            moe_intermediate_size=48, norm_topk_prob=True,
        )
    )


ours_opens_there("llama, multi-head", LLAMA)
ours_opens_there("llama, grouped queries", GROUPED)
ours_opens_there("llama, tied embeddings", LLAMA + ", num_kv_heads: 1", tied=True)
ours_opens_there("qwen3, norms of q and k", QWEN3 + DENSE)
ours_opens_there("mistral, sliding window", GROUPED + ", sliding_window: 8")
ours_opens_there("deepseek, latent keys and values", DEEPSEEK)
ours_opens_there("deepseek, latent queries", DEEPSEEK + ", q_lora_rank: 16, rope_interleave: true")
ours_opens_there("qwen3, experts", QWEN3 + EXPERTS % "norm_topk_prob: true")
ours_opens_there("deepseek, experts", LATENT + ", rope_interleave: true" + EXPERTS % "shared_experts: 2")
ours_opens_there("mamba2", MAMBA2)
ours_opens_there("mamba2, groups", MAMBA2 + ", n_groups: 2, norm_groups: 2, use_bias: true", tied=True)
ours_opens_there("mamba2, limits", MAMBA2 + ", use_conv_bias: false, time_step_limit: [0.01, 1]")
for are_tied in (False, True):
    theirs_trains_here(a_llama(are_tied), GROUPED, are_tied)
    theirs_trains_here(a_mamba2(are_tied), MAMBA2, are_tied)
theirs_trains_here(a_qwen3_of_experts(), QWEN3 + EXPERTS % "norm_topk_prob: true", tied=False)
