"""What all peers end in: logits over the vocabulary, and their cross-entropy."""
import torch.nn.functional as F
from torch import nn


class LanguageModel(nn.Module):
    """tokens and targets (B, T) -> the mean cross-entropy."""

    def __init__(self, stack, shape):
        super().__init__()
        self.model = stack
        self.lm_head = nn.Linear(shape["hidden"], shape["vocab"], bias=False)

    def forward(self, tokens, targets):
        logits = self.lm_head(self.model(tokens))
        return F.cross_entropy(logits.view(-1, logits.shape[-1]).float(), targets.reshape(-1))
