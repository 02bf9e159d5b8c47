"""frame.py - golden cases from PyTorch and transformers: what they share.

Each case is one small model of transformers, in float32 on the CPU:

    NAME/model.yaml           the same model as Tenon's `model:`
    NAME/model.safetensors    weights, under their Hugging Face names
    NAME/expected.safetensors
        tokens, targets    (B, T)          targets: -1 is ignored
        logits             (B, T, V)
        loss               (1)             mean over targets that count
        grad.<weight>                      of that loss
        batches            (20, B, T+1)
        curve.adamw        (20)            the loss before each step
        curve.lion         (20)
        curve.muon         (20)            AdamW where a weight is no matrix

Weights are drawn larger than models start with, and gains away from 1, so that
a wrong scale, axis or pairing shows in the logits. Made with torch 2.15 and
transformers 5.23.
"""
import copy
import os
import sys

import torch
from safetensors.torch import save_file

from optimizers import Lion, orthogonalise_in

VOCAB, HIDDEN, LAYERS, MLP, LENGTH = 32, 16, 2, 24, 64
BATCH, TIME, STEPS = 2, 11, 20
ADAMW = dict(lr=1e-2, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
LION = dict(lr=1e-3, weight_decay=0.1)
MUON = dict(lr=2e-2, weight_decay=0.1)

COMMON = dict(vocab_size=VOCAB, hidden_size=HIDDEN, intermediate_size=MLP,
              num_hidden_layers=LAYERS, max_position_embeddings=LENGTH,
              rms_norm_eps=1e-5, bos_token_id=None, eos_token_id=None,
              pad_token_id=None, attn_implementation="eager")


def as_it_is(name, tensor):
    """The tensors that one of theirs is in a checkpoint: itself."""
    yield name, tensor


def draw_weights(model, generator):
    for name, p in model.named_parameters():
        noise = torch.randn(p.shape, generator=generator)
        is_gain = "norm" in name
        p.data = 1.0 + 0.2 * noise if is_gain else 0.25 * noise


def yaml_of(theirs, ours, arch):
    if not {"mlp", "intermediate_size"} & set(ours):
        ours = ours | {"intermediate_size": MLP}  # None says: no mlp
    layer = ", ".join(f"{k}: {v}" for k, v in ours.items() if v is not None)
    tied = "true" if theirs.get("tie_word_embeddings") else "false"
    return (f"vocab_size: {VOCAB}\n"
            f"hidden_size: {HIDDEN}\n"
            f"max_seq_len: {LENGTH}\n"
            f"tie_embeddings: {tied}\n"
            f"norm_eps: 1.0e-5\n"
            f"layers:\n"
            f"  - {{arch: {arch}, repeat: {LAYERS}, {layer}}}\n")


def loss_of(model, tokens, targets):
    """Their output, and the mean cross-entropy."""
    out = model(input_ids=tokens.long())
    loss = torch.nn.functional.cross_entropy(
        out.logits.reshape(-1, VOCAB), targets.long().reshape(-1),
        ignore_index=-1)
    return out, loss


def stored(tensors, stored_as):
    return {n: t.detach().clone().contiguous() for name, tensor in tensors
            for n, t in stored_as(name, tensor)}


def one_step(model, generator, stored_as):
    tokens = torch.randint(VOCAB, (BATCH, TIME), generator=generator,
                           dtype=torch.int32)
    targets = torch.randint(VOCAB, (BATCH, TIME), generator=generator,
                            dtype=torch.int32)
    targets[0, 0] = targets[1, 7] = -1
    theirs, loss = loss_of(model, tokens, targets)
    loss.backward()
    out = dict(tokens=tokens, targets=targets,
               logits=theirs.logits.detach().clone(),
               loss=loss.detach().reshape(1))
    gradients = ((n, p.grad) for n, p in model.named_parameters())
    for n, gradient in stored(gradients, stored_as).items():
        out["grad." + n] = gradient
    return out


def is_hidden_matrix(name, p):
    apart = ("norm", "embed", "lm_head", ".experts.")
    return p.ndim == 2 and not any(word in name for word in apart)


def with_muon(model):
    named = list(model.named_parameters())
    hidden = [p for n, p in named if is_hidden_matrix(n, p)]
    rest = [p for n, p in named if not is_hidden_matrix(n, p)]
    return [torch.optim.Muon(hidden, **MUON), torch.optim.AdamW(rest, **ADAMW)]


OPTIMIZERS = {
    "adamw": lambda model: [torch.optim.AdamW(model.parameters(), **ADAMW)],
    "lion": lambda model: [Lion(model.parameters(), **LION)],
    "muon": with_muon,
}


def curve(model, optimizers, batches, auxiliary):
    """The loss before each step. What auxiliary(output) gives is trained on,
    too, but is not in the curve."""
    losses = []
    for batch in batches:
        model.zero_grad()
        out, loss = loss_of(model, batch[:, :-1], batch[:, 1:])
        (loss + auxiliary(out)).backward()
        for optimizer in optimizers:
            optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses)


def curves(model, generator, auxiliary):
    """Of each optimizer from the same weights, on sequences with a pattern."""
    start = torch.randint(VOCAB, (STEPS, BATCH, 1), generator=generator)
    stride = torch.randint(1, 4, (STEPS, BATCH, 1), generator=generator)
    batches = ((start + stride * torch.arange(TIME + 1)) % VOCAB).int()
    out = dict(batches=batches)
    for name, of in OPTIMIZERS.items():
        trained = copy.deepcopy(model)
        out["curve." + name] = curve(trained, of(trained), batches, auxiliary)
    return out


def make(folder, name, config_class, model_class, theirs, ours,
         arch="transformer", stored_as=as_it_is, auxiliary=lambda out: 0):
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(len(name) + 7 * len(theirs))
    model = model_class(config_class(**COMMON | theirs))
    draw_weights(model, generator)
    path = os.path.join(folder, name)
    os.makedirs(path, exist_ok=True)
    with open(os.path.join(path, "model.yaml"), "w") as f:
        f.write(yaml_of(theirs, ours, arch))
    save_file(stored(model.named_parameters(), stored_as),
              os.path.join(path, "model.safetensors"))
    expected = one_step(model, generator, stored_as)
    expected.update(curves(model, generator, auxiliary))
    expected = {n: t.float() for n, t in expected.items()}  # tokens, too
    save_file(expected, os.path.join(path, "expected.safetensors"))
    ends = ", ".join(f"{o} {expected['curve.' + o][-1].item():.4f}"
                     for o in OPTIMIZERS)
    print(f"{name}: loss {expected['loss'].item():.4f}, curves from "
          f"{expected['curve.adamw'][0].item():.4f} to {ends}")


def main(cases):
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(
        os.path.abspath(__file__))
    torch.set_num_threads(1)
    orthogonalise_in(torch.float32)
    for case in cases:
        make(folder, *case)
