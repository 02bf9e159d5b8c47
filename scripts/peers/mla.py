"""The layer of archs/mla in plain PyTorch, as DeepSeek's own model code trains
it: keys and values formed from their latent, one rotary key for all heads, fused
attention where torch has it. What it computes is checked against Tenon's loss
before it is timed.
"""
import torch
import torch.nn.functional as F
from torch import nn

from head import LanguageModel
from transformer import GatedMLP, rotary, rotate

EPS = 1e-5


class Attention(nn.Module):
    def __init__(self, shape):
        super().__init__()
        hidden, self.heads = shape["hidden"], shape["heads"]
        self.nope, self.rope, self.value, self.latent = shape["nope"], shape["rope"], shape["value"], shape["kv_rank"]
        self.q_a_proj = nn.Linear(hidden, shape["q_rank"], bias=False)
        self.q_a_layernorm = nn.RMSNorm(shape["q_rank"], EPS)
        self.q_b_proj = nn.Linear(shape["q_rank"], self.heads * (self.nope + self.rope), bias=False)
        self.kv_a_proj_with_mqa = nn.Linear(hidden, self.latent + self.rope, bias=False)
        self.kv_a_layernorm = nn.RMSNorm(self.latent, EPS)
        self.kv_b_proj = nn.Linear(self.latent, self.heads * (self.nope + self.value), bias=False)
        self.o_proj = nn.Linear(self.heads * self.value, hidden, bias=False)

    def of_heads(self, x):
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)

    def forward(self, x, cos, sin):
        B, T, _ = x.shape
        q = self.of_heads(self.q_b_proj(self.q_a_layernorm(self.q_a_proj(x))))
        q_nope, q_rope = q.split([self.nope, self.rope], dim=-1)
        latent, k_rope = self.kv_a_proj_with_mqa(x).split([self.latent, self.rope], dim=-1)
        k_nope, v = self.of_heads(self.kv_b_proj(self.kv_a_layernorm(latent))).split([self.nope, self.value], dim=-1)
        k_rope = rotate(k_rope.view(B, 1, T, self.rope), cos, sin).expand(B, self.heads, T, self.rope)
        q = torch.cat((q_nope, rotate(q_rope, cos, sin)), dim=-1)
        k = torch.cat((k_nope, k_rope), dim=-1)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o_proj(y.transpose(1, 2).reshape(B, T, -1))


class Layer(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.input_layernorm = nn.RMSNorm(shape["hidden"], EPS)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = nn.RMSNorm(shape["hidden"], EPS)
        self.mlp = GatedMLP(shape["hidden"], shape["intermediate"])

    def forward(self, x, cos, sin):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class Stack(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.embed_tokens = nn.Embedding(shape["vocab"], shape["hidden"])
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape["layers"]))
        self.norm = nn.RMSNorm(shape["hidden"], EPS)
        cos, sin = rotary(shape["length"], shape["rope"], 10000.0)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def forward(self, tokens):
        x = self.embed_tokens(tokens)
        for layer in self.layers:
            x = layer(x, self.cos, self.sin)
        return self.norm(x)


def Model(shape):
    return LanguageModel(Stack(shape), shape)


def tenon_layers(shape):
    """The same stack in a Tenon config."""
    return [{
        "arch": "mla",
        "repeat": shape["layers"],
        "num_heads": shape["heads"],
        "q_lora_rank": shape["q_rank"],
        "kv_lora_rank": shape["kv_rank"],
        "qk_nope_head_dim": shape["nope"],
        "qk_rope_head_dim": shape["rope"],
        "v_head_dim": shape["value"],
        "intermediate_size": shape["intermediate"],
    }]
