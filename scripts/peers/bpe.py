"""
Tenon's tokenizer and the two others, opened on the same vocabulary, for
check-tokenizers and bench-tokenizers. Needs tiktoken and tokenizers.
"""
import base64
import os
import pathlib
import struct
import subprocess

import tiktoken
import tiktoken_ext.openai_public as public
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

NANOCHAT = (r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,2}"
            r"| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+")
GPT2 = (r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+"
        r"|\s+(?!\S)|\s+")
# As tiktoken has them, in words that Oniguruma understands the same way.
CL100K = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
          r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+\z|\s*[\r\n]+|\s+(?!\S)|\s+")
HEAD, TAIL = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
O200K = (rf"[^\r\n\p{{L}}\p{{N}}]?{HEAD}*{TAIL}+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         rf"|[^\r\n\p{{L}}\p{{N}}]?{HEAD}+{TAIL}*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")


class Tenon:
    """An opened tokenizer of the plugin bpe, in a process of its own."""

    def __init__(self, build, options):
        build = pathlib.Path(build).resolve()
        plugins = {"TENON_PLUGIN_PATH": str(build / "lib/tenon/plugins-1")}
        self.process = subprocess.Popen(
            [build / "bin/tokenizer_server", options], env=os.environ | plugins,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def _read(self, layout):
        data = self.process.stdout.read(struct.calcsize(layout))
        return struct.unpack(layout, data)

    def ask(self, text, special=False, times=1):
        """Ids, least seconds, whether they stand for the text; or a refusal."""
        self.process.stdin.write(struct.pack("IIQ", special, times, len(text)))
        self.process.stdin.write(text)
        self.process.stdin.flush()
        count, same, seconds = self._read("qQd")
        if count < 0:
            (length,) = self._read("Q")
            return self.process.stdout.read(length).decode(), 0.0, False
        return list(self._read(f"{count}i")), seconds, bool(same)

    def ids(self, text):
        return self.ask(text)[0]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def read_ranks(path):
    with open(path, "rb") as lines:
        return {base64.b64decode(a): int(b) for a, b in map(bytes.split, lines)}


def openai_facts(name):
    """tiktoken's own expression and special tokens, without its download."""
    load = public.load_tiktoken_bpe
    public.load_tiktoken_bpe = lambda *a, **k: {}
    facts = getattr(public, name)()
    public.load_tiktoken_bpe = load
    return facts["pat_str"], facts["special_tokens"]


def alphabet():
    """GPT-2's: byte to character."""
    seen = [b for b in range(256)
            if 33 <= b <= 126 or 161 <= b <= 172 or b >= 174]
    hidden = [b for b in range(256) if b not in seen]
    return {b: chr(b) for b in seen} | {
        b: chr(256 + i) for i, b in enumerate(hidden)}


def sides(ranks, token, rank):
    """The two tokens that rank's merge joins."""
    parts = [token[i:i + 1] for i in range(len(token))]
    while len(parts) > 2:
        at = min(range(len(parts) - 1),
                 key=lambda i: ranks.get(parts[i] + parts[i + 1], rank))
        assert ranks.get(parts[at] + parts[at + 1], rank) < rank
        parts[at:at + 2] = [parts[at] + parts[at + 1]]
    return parts


def tokenizers_of(ranks, pattern, special):
    """Hugging Face's tokenizer of a rank file."""
    to = alphabet()
    write = lambda token: "".join(to[b] for b in token)
    merges = [tuple(map(write, sides(ranks, token, rank)))
              for token, rank in sorted(ranks.items(), key=lambda x: x[1])
              if len(token) > 1]
    vocab = {write(t): r for t, r in ranks.items()} | special
    made = Tokenizer(models.BPE(vocab, merges, ignore_merges=True))
    made.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in special])
    return made


class Vocabulary:
    """The same vocabulary three times. Hugging Face's tokenizers take special
    tokens for what they are in any text."""

    def __init__(self, name, tenon, facts, ranks, hf):
        self.name, self.tenon, self.hf = name, tenon, hf
        self.tik = tiktoken.Encoding(name, pat_str=facts[0], mergeable_ranks=ranks,
                                     special_tokens=facts[1])

    def tiktoken(self, text, special=False):
        if special:
            return self.tik.encode(text, allowed_special="all")
        return self.tik.encode_ordinary(text)

    def tokenizers(self, text):
        return self.hf.encode(text, add_special_tokens=False).ids


def of_ranks(build, name, path, facts, pattern, options=""):
    ranks = read_ranks(path)
    return Vocabulary(name, Tenon(build, f"{{path: '{path}'{options}}}"), facts, ranks,
                      tokenizers_of(ranks, pattern, facts[1]))


def vocabularies(build, shared, o200k, trained):
    """r50k, cl100k, o200k, GPT-2's tokenizer.json, and one trained here."""
    files = pathlib.Path(shared) / "tokenizers"
    r50k, cl100k = files / "r50k_base.tiktoken", files / "cl100k_base.tiktoken"
    yield of_ranks(build, "r50k", r50k, openai_facts("r50k_base"), GPT2)
    yield of_ranks(build, "cl100k", cl100k, openai_facts("cl100k_base"), CL100K)
    if o200k:
        yield of_ranks(build, "o200k", o200k, openai_facts("o200k_base"), O200K)
    else:
        facts = openai_facts("o200k_base")[0], openai_facts("cl100k_base")[1]
        yield of_ranks(build, "cl100k split as o200k", cl100k, facts, O200K, ", pattern: o200k")
    json = files / "gpt2_tokenizer.json"
    yield Vocabulary("GPT-2's tokenizer.json", Tenon(build, f"{{path: '{json}'}}"),
                     openai_facts("r50k_base"), read_ranks(r50k), Tokenizer.from_file(str(json)))
    hf = Tokenizer.from_file(str(pathlib.Path(trained) / "tokenizer.json"))
    special = {t.content: i for i, t in hf.get_added_tokens_decoder().items()}
    yield Vocabulary("one trained here", Tenon(build, f"{{path: '{trained}'}}"),
                     (NANOCHAT, special),
                     read_ranks(pathlib.Path(trained) / "tokenizer.tiktoken"), hf)
