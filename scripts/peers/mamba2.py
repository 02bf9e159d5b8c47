"""The Mamba-2 layer of archs/mamba2 in plain PyTorch: the scan in chunks, as
section 6 of Dao and Gu's "Transformers are SSMs" (arXiv:2405.21060) derives it
and as people without the authors' GPU kernels run it. Groups are kept apart, so
that C B' is computed once for all heads of a group. What it computes is checked
against Tenon's loss before it is timed.
"""
import torch
import torch.nn.functional as F
from torch import nn

from head import LanguageModel

EPS = 1e-5


def decays(a):
    """a (..., L) -> (..., L, L): e^(a[j+1] + ... + a[t]) where j <= t, else 0."""
    s = a.cumsum(-1)
    below = torch.ones(a.shape[-1], a.shape[-1], dtype=torch.bool).tril()
    return (s[..., :, None] - s[..., None, :]).masked_fill(~below, -torch.inf).exp()


def scan(x, dt, A, B, C, chunk):
    """x (b, T, H, P), dt (b, T, H), A (H), B and C (b, T, G, N) -> (b, T, H, P)"""
    b, T, H, P = x.shape
    G, N = B.shape[2:]
    L = min(chunk, T)
    x = (x * dt[..., None]).view(b, -1, L, G, H // G, P)
    a = (dt * A).view(b, -1, L, G, H // G).permute(0, 3, 4, 1, 2)  # (b, G, R, Z, L)
    B, C = B.view(b, -1, L, G, N), C.view(b, -1, L, G, N)
    s = a.cumsum(-1)

    inside = torch.einsum("bztgn,bzjgn->bgztj", C, B)[:, :, None] * decays(a)
    y = torch.einsum("bgrztj,bzjgrp->bztgrp", inside, x)

    to_end = (s[..., -1:] - s).exp()
    added = torch.einsum("bzjgn,bgrzj,bzjgrp->bgrzpn", B, to_end, x)
    across = decays(F.pad(s[..., -1], (1, 0)))  # from the end of one chunk to the start of another
    before = torch.einsum("bgrzi,bgripn->bgrzpn", across[..., :-1, 1:], added)
    y = y + torch.einsum("bztgn,bgrzpn,bgrzt->bztgrp", C, before, s.exp())
    return y.reshape(b, T, H, P)


class Mixer(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.heads, self.width, self.states = shape["heads"], shape["head_dim"], shape["states"]
        self.chunk = shape["chunk"]
        inner = self.heads * self.width
        self.sizes = [inner, inner + 2 * self.states, self.heads]
        self.in_proj = nn.Linear(shape["hidden"], sum(self.sizes), bias=False)
        self.conv1d = nn.Conv1d(self.sizes[1], self.sizes[1], 4, groups=self.sizes[1], padding=3)
        self.dt_bias = nn.Parameter(torch.empty(self.heads).uniform_(0.001, 0.1).expm1().log())
        self.A_log = nn.Parameter(torch.empty(self.heads).uniform_(1, 16).log())
        self.D = nn.Parameter(torch.ones(self.heads))
        self.norm = nn.RMSNorm(inner, EPS)
        self.out_proj = nn.Linear(inner, shape["hidden"], bias=False)

    def forward(self, u):
        b, T, _ = u.shape
        z, xBC, dt = self.in_proj(u).split(self.sizes, dim=-1)
        xBC = F.silu(self.conv1d(xBC.transpose(1, 2))[..., :T]).transpose(1, 2)
        x, B, C = xBC.split([self.sizes[0], self.states, self.states], dim=-1)
        x = x.reshape(b, T, self.heads, self.width)
        dt = F.softplus(dt.float() + self.dt_bias)
        y = scan(x, dt, -self.A_log.exp(), B.reshape(b, T, 1, -1), C.reshape(b, T, 1, -1), self.chunk)
        y = (y + self.D[:, None] * x).reshape(b, T, -1)
        return self.out_proj(self.norm(y * F.silu(z)))


class Layer(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.input_layernorm = nn.RMSNorm(shape["hidden"], EPS)
        self.mamba = Mixer(shape)

    def forward(self, x):
        return x + self.mamba(self.input_layernorm(x))


class Stack(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.embed_tokens = nn.Embedding(shape["vocab"], shape["hidden"])
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape["layers"]))
        self.norm = nn.RMSNorm(shape["hidden"], EPS)

    def forward(self, tokens):
        x = self.embed_tokens(tokens)
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)


def Model(shape):
    return LanguageModel(Stack(shape), shape)


def tenon_layers(shape):
    """The same stack in a Tenon config."""
    return [{
        "arch": "mamba2",
        "repeat": shape["layers"],
        "num_heads": shape["heads"],
        "head_dim": shape["head_dim"],
        "state_size": shape["states"],
        "chunk_size": shape["chunk"],
    }]
