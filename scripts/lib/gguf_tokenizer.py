"""Makes the tokenizer of a model from its GGUF file: gguf_tokenizer.py MODEL.gguf TOKENIZER.json

Vocabulary, merges and special tokens are in the file's own metadata; the split before the merges is
named there and written down here for the families that are known. Without a known one nothing is
made (exit 3): calls whose engine does not say what they used are estimated then.
"""

import json
import mmap
import os
import struct
import sys

# How a text is split before its pieces are merged, by the name that GGUF files give it.
QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPLITS = {
    "qwen2": (QWEN2, {"type": "NFC"}),
    # As before, but digits in threes.
    "llama-bpe": (QWEN2.replace(r"|\p{N}|", r"|\p{N}{1,3}|"), None),
}
CONTROL, USER_DEFINED, UNUSED = 3, 4, 5
NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9


class Metadata:
    """The keys and values at the beginning of a GGUF file."""

    def __init__(self, data):
        self.data, self.at = data, 0
        magic, version = self.take("4sI")
        if magic != b"GGUF" or version not in (2, 3):
            sys.exit("this is no GGUF file of version 2 or 3")
        _tensors, keys = self.take("QQ")
        self.values = {}
        for _ in range(keys):
            key = self.string()
            [kind] = self.take("I")
            self.values[key] = self.value(kind)

    def take(self, form):
        form = "<" + form
        taken = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return taken

    def string(self):
        [length] = self.take("Q")
        self.at += length
        return self.data[self.at - length : self.at].decode("utf-8", "replace")

    def value(self, kind):
        if kind == STRING:
            return self.string()
        if kind == ARRAY:
            of, length = self.take("IQ")
            return [self.value(of) for _ in range(length)]
        return self.take(NUMBERS[kind])[0]


def tokenizer(values):
    prefix = "tokenizer.ggml."
    model, split = values.get(prefix + "model"), values.get(prefix + "pre")
    if model != "gpt2" or split not in SPLITS:
        print(f"no tokenizer is known for {model}/{split}")
        sys.exit(3)
    pattern, normalizer = SPLITS[split]
    tokens, kinds = values[prefix + "tokens"], values[prefix + "token_type"]
    special = [n for n, kind in enumerate(kinds) if kind in (CONTROL, USER_DEFINED)]
    left_out = set(special) | {n for n, kind in enumerate(kinds) if kind == UNUSED}
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": n, "content": tokens[n], "special": kinds[n] == CONTROL, **plain} for n in special
        ],
        "normalizer": normalizer,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False},
                {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
            ],
        },
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": split == "llama-bpe",
            "vocab": {token: n for n, token in enumerate(tokens) if n not in left_out},
            "merges": values[prefix + "merges"],
        },
    }


def main():
    source, target = sys.argv[1:3]
    with open(source, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        made = tokenizer(Metadata(data).values)
    fresh = target + ".fresh"
    with open(fresh, "w", encoding="utf-8") as out:
        json.dump(made, out, ensure_ascii=False)
    os.chmod(fresh, 0o644)
    os.rename(fresh, target)


main()
