"""optimizers.py - what torch.optim lacks for golden cases: Lion, and Muon that
orthogonalises in the dtype of our graphs.
"""
import torch
import torch.optim._muon as muon_module


class Lion(torch.optim.Optimizer):
    """Algorithm 2 of arXiv:2302.06675, line by line."""

    def __init__(self, params, lr, betas=(0.9, 0.99), weight_decay=0.0):
        super().__init__(params, dict(lr=lr, betas=betas,
                                      weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for p in group["params"]:
                m = self.state[p].get("momentum", torch.zeros_like(p))
                c = beta1 * m + (1 - beta1) * p.grad
                p -= group["lr"] * (torch.sign(c) + group["weight_decay"] * p)
                self.state[p]["momentum"] = beta2 * m + (1 - beta2) * p.grad


class _Instead:
    """torch, with another dtype where it says bfloat16."""

    def __init__(self, dtype):
        self.dtype = dtype

    def __getattr__(self, name):
        return self.dtype if name == "bfloat16" else getattr(torch, name)


def orthogonalise_in(dtype):
    """torch.optim.Muon does it in bfloat16 whatever the parameters are: three
    digits would be all that can be compared."""
    muon_module.torch = _Instead(dtype)
