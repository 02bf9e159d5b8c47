#!/usr/bin/env python3
"""make_experts.py - golden cases of mixtures of experts: Qwen3's and
DeepSeek-V2's.

    python make_experts.py [FOLDER]   (default: this folder; see frame.py)

transformers keeps all experts in two tensors; checkpoints have each apart.
"""
import torch
from transformers import (DeepseekV2Config, DeepseekV2ForCausalLM,
                          Qwen3MoeConfig, Qwen3MoeForCausalLM)

from frame import main

EXPERTS, WIDTH = 5, 9


def each_expert(name, tensor):
    for e in range(EXPERTS):
        part = name.replace("experts.", f"experts.{e}.")
        if name.endswith("experts.gate_up_proj"):
            gate, up = tensor[e].chunk(2)
            yield part.replace("gate_up_proj", "gate_proj.weight"), gate
            yield part.replace("gate_up_proj", "up_proj.weight"), up
        elif name.endswith("experts.down_proj"):
            yield part + ".weight", tensor[e]
    if ".mlp.experts." not in name:
        yield name, tensor


def balance(alpha, k):
    """alpha E sum_e f_e P_e in each layer."""
    def loss(out):
        total = 0
        for logits in out.router_logits:
            p = torch.softmax(logits, -1)
            sent = torch.zeros_like(p).scatter(1, p.topk(k).indices, 1.0)
            total += (sent.mean(0) / k * p.mean(0)).sum()
        return alpha * EXPERTS * total
    return loss


def qwen3(name, k, normed, alpha):
    theirs = dict(num_attention_heads=4, num_key_value_heads=2, head_dim=4,
                  num_experts=EXPERTS, num_experts_per_tok=k,
                  moe_intermediate_size=WIDTH, norm_topk_prob=normed,
                  output_router_logits=True,
                  experts_implementation="eager")
    ours = dict(num_heads=4, num_kv_heads=2, head_dim=4, qk_norm="true",
                mlp=f"{{type: moe, num_experts: {EXPERTS}, "
                    f"experts_per_token: {k}, intermediate_size: {WIDTH}, "
                    f"norm_topk_prob: {str(normed).lower()}, "
                    f"load_balance_alpha: {alpha}}}")
    return (name, Qwen3MoeConfig, Qwen3MoeForCausalLM, theirs, ours,
            "transformer", each_expert, balance(alpha, k))


def deepseek(name, k, alpha):
    sizes = dict(kv_lora_rank=6, qk_nope_head_dim=6, qk_rope_head_dim=4,
                 v_head_dim=3)
    theirs = sizes | dict(num_attention_heads=4, num_key_value_heads=4,
                          q_lora_rank=None, n_routed_experts=EXPERTS,
                          num_experts_per_tok=k, n_shared_experts=2,
                          moe_intermediate_size=WIDTH, first_k_dense_replace=0,
                          topk_method="greedy", output_router_logits=True,
                          experts_implementation="eager")
    ours = sizes | dict(num_heads=4, latent_norm_eps="1.0e-6",
                        rope_interleave="true",
                        mlp=f"{{type: moe, num_experts: {EXPERTS}, "
                            f"experts_per_token: {k}, shared_experts: 2, "
                            f"intermediate_size: {WIDTH}, "
                            f"load_balance_alpha: {alpha}}}")
    return (name, DeepseekV2Config, DeepseekV2ForCausalLM, theirs, ours,
            "mla", each_expert, balance(alpha, k))


CASES = [
    qwen3("experts_qwen3", k=2, normed=True, alpha=0),
    qwen3("experts_best_one", k=1, normed=False, alpha=0.3),
    deepseek("experts_deepseek", k=3, alpha=0.1),
]

if __name__ == "__main__":
    main(CASES)
