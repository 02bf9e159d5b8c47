"""The sizes of configs/nano-start.yaml in plain PyTorch: three Mamba-2 layers and
one of latent attention, below a vocabulary of 100,315 where the time goes. The
experts of its last layer are one dense network here, on both sides.
"""
from torch import nn

import mamba2
import mla
from head import LanguageModel
from transformer import rotary


class Stack(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.embed_tokens = nn.Embedding(shape["vocab"], shape["hidden"])
        scans = [mamba2.Layer(shape["mamba2"]) for _ in range(shape["mamba2"]["layers"])]
        self.layers = nn.ModuleList([*scans, mla.Layer(shape["mla"])])
        self.norm = nn.RMSNorm(shape["hidden"], mla.EPS)
        cos, sin = rotary(shape["length"], shape["mla"]["rope"], 10000.0)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def forward(self, tokens):
        x = self.embed_tokens(tokens)
        for layer in self.layers[:-1]:
            x = layer(x)
        return self.norm(self.layers[-1](x, self.cos, self.sin))


def Model(shape):
    return LanguageModel(Stack(shape), shape)


def tenon_layers(shape):
    """The same stack in a Tenon config."""
    return mamba2.tenon_layers(shape["mamba2"]) + mla.tenon_layers(shape["mla"])
