"""
Writes the fixtures of this folder.

    python make_golden.py SHARED_DATA      needs: tiktoken, tokenizers, rustbpe

golden.json           texts, and their ids as tiktoken has them: with the ranks
                      of r50k and cl100k, with those of cl100k split as o200k
                      splits, and with the small vocabulary below
shakespeare.tiktoken  the first 512 tokens that Hugging Face's trainer learns
                      from Tiny Shakespeare, split as GPT-2 splits
corpus.txt            an invented text
corpus_hf.tiktoken    what Hugging Face's trainer learns from it, to 700 tokens
corpus_rust.tiktoken  what rustbpe learns from it, to 700 tokens
"""
import base64
import json
import random
import sys

import rustbpe
import tiktoken
import tiktoken_ext.openai_public as public
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
NANOCHAT = (r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,2}"
            r"| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+")


def read_ranks(path):
    with open(path, "rb") as lines:
        return {base64.b64decode(a): int(b) for a, b in map(bytes.split, lines)}


def write_ranks(path, tokens):
    with open(path, "w") as out:
        for rank, token in enumerate(tokens):
            out.write("%s %d\n" % (base64.b64encode(token).decode(), rank))


def openai(function):
    """An encoding's facts without its download."""
    load, public.load_tiktoken_bpe = public.load_tiktoken_bpe, lambda *a, **k: {}
    facts = function()
    public.load_tiktoken_bpe = load
    return facts


def alphabet():
    """GPT-2's: character to byte."""
    seen = [b for b in range(256)
            if 33 <= b <= 126 or 161 <= b <= 172 or b >= 174]
    hidden = [b for b in range(256) if b not in seen]
    return {chr(b): b for b in seen} | {
        chr(256 + i): b for i, b in enumerate(hidden)}


def learn_hf(text, size, pattern):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.train_from_iterator([text], trainers.BpeTrainer(
        vocab_size=size, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    vocab, to_byte = tokenizer.get_vocab(), alphabet()
    return [bytes(to_byte[c] for c in token)
            for token in sorted(vocab, key=vocab.get)]


def learn_rust(text, size, pattern):
    tokenizer = rustbpe.Tokenizer()
    tokenizer.train_from_iterator(iter([text]), size, pattern=pattern)
    return [bytes(t) for t, _ in sorted(tokenizer.get_mergeable_ranks(),
                                        key=lambda pair: pair[1])]


def word(dice):
    letters = "".join(dice.choice("etaoinshrdlucmfwypvbgkjqxz")
                      for _ in range(min(dice.randrange(1, 9),
                                         dice.randrange(1, 9))))
    return dice.choice([letters] * 6 + [letters.title(), letters.upper()])


def corpus(dice):
    words = [word(dice) for _ in range(300)]
    out = []
    for _ in range(1500):
        kind = dice.randrange(40)
        if kind == 0:
            out.append(str(dice.randrange(10 ** dice.randrange(1, 6))))
        elif kind == 1:
            out.append(dice.choice(["na\u00efve", "\u0441\u043d\u0435\u0433",
                                    "\u6cb3\u8fb9", "\U0001f389", "aaaaaaa"]))
        elif kind == 2:
            out.append(dice.choice(["\n", "\n\n", "\t", "  ", "--", "...", "'s"]))
        else:
            out.append(words[min(dice.randrange(300), dice.randrange(300))])
    return " ".join(out) + "\n"


SPACE = " \t\n\r\u00a0\u3000\u2028\u180e\x85\x0b\x0c"
SINGLE = [0x1c5, 0x2b0, 0x4e00, 0xaa, 0x5d0, 0xb2, 0x660, 0x1f600, 0xbd, 0x300,
          0x903, 0x20d0, 0x17f, 0x212a, 0x31400, 0x2ebf0, 0x11f50, 0]


def scrap(dice):
    kind = dice.randrange(14)
    if kind == 0:
        return chr(dice.choice([dice.randrange(0xd800),
                                dice.randrange(0xe000, 0x110000)]))
    if kind == 1:
        return dice.choice(SPACE) * dice.randrange(1, 4)
    if kind == 2:
        return dice.choice(["'s", "'S", "'LL", "'ve", "'\u017f", "'Re", "'x", "'"])
    if kind == 3:
        return str(dice.randrange(10 ** dice.randrange(1, 9)))
    if kind == 4:
        return dice.choice("!?.,/;:\\()[]{}<>|#$%^&*-_=+`~\"") * dice.randrange(1, 5)
    if kind == 5:
        return chr(dice.choice(SINGLE))
    if kind == 6:
        return dice.choice(["\r\n", "\n\n", "\n ", "  \n", "\n/", "//\n"])
    return dice.choice([" ", "", " "]) + word(dice)


TEXTS = [
    "", "a", " ", "\n", "  ", " \n", "\n ", "\n  \n  ", "a ", "a  b", "a \n b\n\n",
    "Hello, world! It's 2024-03-17; we'll SEE, I'M sure they'RE fine.",
    "1 12 123 1234 12345 123456789", "x = f(a[0], \"s\");\t// done\r\n\r\n",
    "    def f(self):\n        return None\n\n\n", "<|endoftext|> and <|bos|>",
    "camelCase HTMLParser iPhone XMLHttpRequest's", "na\u00efve cafe\u0301 \u0130\u01c5",
    "\u0441\u043d\u0435\u0433 \u0448\u0451\u043b", "\uc624\ub298 \u6cb3\u8fb9\u3002\u3000\u67f3",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 \u2764\ufe0f\U0001f44d\U0001f3fd",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "http://a.b/c?d=e&f=%20#g", "\\frac{a_1}{\\sqrt{b^2}} \u2264 \u221e",
]


def main():
    data, dice = sys.argv[1], random.Random(2026)
    with open(data + "/tinyshakespeare.txt", newline="") as file:
        shakespeare = learn_hf(file.read(), 512, GPT2)
    write_ranks("shakespeare.tiktoken", shakespeare)
    text = corpus(dice)
    with open("corpus.txt", "w", newline="") as out:
        out.write(text)
    write_ranks("corpus_hf.tiktoken", learn_hf(text, 700, GPT2))
    write_ranks("corpus_rust.tiktoken", learn_rust(text, 700, NANOCHAT))

    r50k = read_ranks(data + "/tokenizers/r50k_base.tiktoken")
    cl100k = read_ranks(data + "/tokenizers/cl100k_base.tiktoken")
    small = {token: rank for rank, token in enumerate(shakespeare)}
    ways = {
        "r50k": (r50k, openai(public.r50k_base)["pat_str"]),
        "cl100k": (cl100k, openai(public.cl100k_base)["pat_str"]),
        "o200k": (cl100k, openai(public.o200k_base)["pat_str"]),
        "small": (small, GPT2),
    }
    texts = TEXTS + ["".join(scrap(dice) for _ in range(dice.randrange(1, 40)))
                     for _ in range(60)]
    cases = [{"text": t} for t in texts]
    for name, (ranks, pattern) in ways.items():
        encoding = tiktoken.Encoding(name, pat_str=pattern,
                                     mergeable_ranks=ranks, special_tokens={})
        for case in cases:
            case[name] = encoding.encode_ordinary(case["text"])
    with open("golden.json", "w") as out:
        out.write("[\n" + ",\n".join(
            json.dumps(case, separators=(",", ":")) for case in cases) + "\n]\n")


main()
