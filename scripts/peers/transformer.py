"""The Llama layer of archs/transformer in plain PyTorch, as its users write it:
fused attention, fused norms where torch has them, weights under Hugging Face's
names. What it computes is checked against Tenon's loss before it is timed.
"""
import torch
import torch.nn.functional as F
from torch import nn

from head import LanguageModel


def rotary(length, width, theta):
    angle = torch.outer(torch.arange(length).float(), theta ** (-torch.arange(0, width, 2).float() / width))
    return angle.cos(), angle.sin()


def rotate(x, cos, sin):
    """x (B, H, T, D), its two halves rotated against each other."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1).to(x.dtype)


class Attention(nn.Module):
    def __init__(self, hidden, heads):
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (nn.Linear(hidden, hidden, bias=False) for _ in range(4))

    def forward(self, x, cos, sin):
        B, T, C = x.shape
        q, k, v = (p(x).view(B, T, self.heads, -1).transpose(1, 2) for p in (self.q_proj, self.k_proj, self.v_proj))
        y = F.scaled_dot_product_attention(rotate(q, cos, sin), rotate(k, cos, sin), v, is_causal=True)
        return self.o_proj(y.transpose(1, 2).reshape(B, T, C))


class GatedMLP(nn.Module):
    def __init__(self, hidden, intermediate):
        super().__init__()
        self.gate_proj, self.up_proj = (nn.Linear(hidden, intermediate, bias=False) for _ in range(2))
        self.down_proj = nn.Linear(intermediate, hidden, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, hidden, heads, intermediate):
        super().__init__()
        self.input_layernorm = nn.RMSNorm(hidden, 1e-5)
        self.self_attn = Attention(hidden, heads)
        self.post_attention_layernorm = nn.RMSNorm(hidden, 1e-5)
        self.mlp = GatedMLP(hidden, intermediate)

    def forward(self, x, cos, sin):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class Stack(nn.Module):
    def __init__(self, shape):
        super().__init__()
        hidden, heads = shape["hidden"], shape["heads"]
        self.embed_tokens = nn.Embedding(shape["vocab"], hidden)
        self.layers = nn.ModuleList(Layer(hidden, heads, shape["intermediate"]) for _ in range(shape["layers"]))
        self.norm = nn.RMSNorm(hidden, 1e-5)
        cos, sin = rotary(shape["length"], hidden // heads, 10000.0)
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
        "arch": "transformer",
        "repeat": shape["layers"],
        "num_heads": shape["heads"],
        "intermediate_size": shape["intermediate"],
    }]
