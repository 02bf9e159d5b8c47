#!/usr/bin/env python3
"""Golden renderings of conversations, by the chat templates of transformers.

    python3 make_chat.py        writes chat/renderings.jsonl

Each line: {"template", "conversation", "rendered"}. In `rendered`, special
tokens stand as <name> and what is trained on, which is what a template's
{% generation %} blocks say, in [brackets]. tests/plugins/datasets/sft replays
them. The tokenizer has one token for each byte and the special tokens, as
there. Made with transformers 5.23 and tokenizers 0.23.
"""
import json
import pathlib
import random

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

HERE = pathlib.Path(__file__).resolve().parent

NANOCHAT = (
    "<|bos|>"
    "{%- set ns = namespace(system='') -%}"
    "{%- for m in messages -%}"
    "{%- if m.role == 'system' -%}{%- set ns.system = m.content + '\n\n' -%}"
    "{%- elif m.role == 'user' -%}"
    "{{- '<|user_start|>' + ns.system + m.content + '<|user_end|>' -}}{%- set ns.system = '' -%}"
    "{%- else -%}{{- '<|assistant_start|>' -}}"
    "{%- generation -%}{{- m.content + '<|assistant_end|>' -}}{%- endgeneration -%}"
    "{%- endif -%}{%- endfor -%}")
CHATML = (
    "{%- for m in messages -%}{{- '<|im_start|>' + m.role + '\n' -}}"
    "{%- if m.role == 'assistant' -%}"
    "{%- generation -%}{{- m.content + '<|im_end|>' -}}{%- endgeneration -%}"
    "{%- else -%}{{- m.content + '<|im_end|>' -}}{%- endif -%}"
    "{{- '\n' -}}{%- endfor -%}")
# the marker that follows ends an answer, and is learned with it
NANO_START = (
    "{%- set ns = namespace(said=false) -%}"
    "{%- for m in messages -%}"
    "{%- if not ns.said -%}{{- '<|' + m.role + '|>' -}}{%- endif -%}{%- set ns.said = false -%}"
    "{%- if m.role == 'assistant' -%}"
    "{%- generation -%}{{- m.content + ('<|endoftext|>' if loop.last else '<|' + messages[loop.index0 + 1].role + '|>') -}}"
    "{%- endgeneration -%}{%- set ns.said = true -%}"
    "{%- else -%}{{- m.content -}}{%- endif -%}"
    "{%- endfor -%}")

TEMPLATES = {
    "nanochat": (NANOCHAT, ["<|bos|>", "<|user_start|>", "<|user_end|>", "<|assistant_start|>", "<|assistant_end|>"]),
    "chatml": (CHATML, ["<|im_start|>", "<|im_end|>"]),
    "nano_start": (NANO_START, ["<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>"]),
}
WORDS = ["Who", "are you?", "I am", "\n", "  two spaces", "\t", "naïve", "日本語", "🙂", "e\u0301", '"quoted"', "a\\b", "1,000",
         "<b>", "{{x}}", "'s", "\r\n", "end."]


def tokenizer(template, specials):
    vocabulary = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    t = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens(specials)
    return PreTrainedTokenizerFast(tokenizer_object=t, chat_template=template)


def draw(rng):
    def text():
        return " ".join(rng.choices(WORDS, k=rng.randint(1, 6)))
    messages = [{"role": "system", "content": text()}] if rng.random() < 0.4 else []
    for _ in range(rng.randint(1, 3)):
        messages.append({"role": "user", "content": text()})
        messages.append({"role": "assistant", "content": text()})
    return messages


def rendered(t, conversation):
    made = t.apply_chat_template(conversation, return_dict=True, return_assistant_tokens_mask=True)
    special = {t.convert_tokens_to_ids(s): s for s in t.get_added_vocab()}
    out, ids, learned = b"", [], False
    for token, mask in [*zip(made["input_ids"], made["assistant_masks"]), (None, 0)]:
        if token in special or mask != learned or token is None:
            out += t.decode(ids, clean_up_tokenization_spaces=False).encode()
            ids = []
        if mask != learned:
            out += b"[" if mask else b"]"
            learned = mask
        if token in special:
            out += special[token].replace("|", "").encode()
        elif token is not None:
            ids.append(token)
    return out.decode()


def upto_last_answer(text):
    """Nothing is learned behind it, and rows are cut there."""
    return text[:text.rindex("]") + 1]


rng = random.Random(7)
with open(HERE / "chat/renderings.jsonl", "w") as f:
    for name, (template, specials) in TEMPLATES.items():
        t = tokenizer(template, specials)
        for _ in range(20):
            conversation = draw(rng)
            f.write(json.dumps({"template": name, "conversation": conversation,
                                "rendered": upto_last_answer(rendered(t, conversation))}) + "\n")
