#!/usr/bin/env python3
"""Golden token ids of PLaMo 2's tokenizer, by a plain implementation of its definition over random vocabularies.

Needs nothing but Python. Writes tests/data/tokenizers/plamo2.json: vocabularies as GGUF holds them, texts, and the ids of each
text. The definition (tokenization_plamo.py of the authors): the segmentation with the largest sum of round(score * 10,000); a
character in no piece counts -10,000,000 and becomes its bytes; of equal sums the one whose first piece is longest. With --gguf
DIR it also writes each vocabulary as a GGUF file, for comparing with llama.cpp.
"""
import json
import random
import sys
from pathlib import Path

OUT = Path(__file__).resolve().parent.parent / "data" / "tokenizers" / "plamo2.json"
NORMAL, UNKNOWN, CONTROL, UNUSED, BYTE = 1, 2, 3, 5, 6
ALPHABET = ["a", "b", "c", " ", "\n", "é", "中", "日", "👍", "1"]


def vocabulary(rng, pieces, scores):
    tokens = [("<|plamo:unk|>", 0.0, UNKNOWN), ("<|plamo:bos|>", 0.0, CONTROL), ("<|plamo:eos|>", 0.0, CONTROL),
              ("<|plamo:pad|>", 0.0, CONTROL), ("<|plamo:op|>", 0.0, CONTROL)]
    tokens += [(f"<0x{b:02X}>", 0.0, BYTE) for b in range(256)]
    texts = set()
    while len(texts) < pieces:
        texts.add("".join(rng.choice(ALPHABET) for _ in range(rng.choice((1, 1, 2, 2, 3, 4, 6)))))
    tokens += [(text, float(scores(rng)), NORMAL) for text in sorted(texts)]
    tokens.append(("aaaaaa", -2000.0, NORMAL))  # too unlikely to be used
    tokens.append(("[PAD1]", -1000.0, UNUSED))
    return tokens


def encode(text, tokens):
    ids = {text: i for i, (text, _, kind) in enumerate(tokens) if kind == NORMAL}
    byte_ids = {int(text[3:5], 16): i for i, (text, _, kind) in enumerate(tokens) if kind == BYTE}
    points = {text: round(tokens[i][1] * 10_000) for text, i in ids.items()}
    longest = max(map(len, ids))
    best = {len(text): (0, None)}  # of the text from each place on: its sum, and the end of its first piece
    for at in reversed(range(len(text))):
        choices = []
        for end in range(min(len(text), at + longest), at, -1):
            piece = text[at:end]
            if piece in points and points[piece] > -20_000_000:
                choices.append((points[piece] + best[end][0], end, True))
        choices.append((best[at + 1][0] - 10_000_000, at + 1, False))
        best[at] = max(choices, key=lambda choice: choice[0])  # max() takes the first of equals: the longest piece
    out, at = [], 0
    while at < len(text):
        _, end, known = best[at]
        out += [ids[text[at:end]]] if known else [byte_ids[b] for b in text[at:end].encode()]
        at = end
    return out


def main():
    rng = random.Random(7)
    kinds = {
        "logs": (120, lambda r: round(-r.uniform(2, 16), 4)),
        "ties": (120, lambda r: r.choice((-1, -2, -3))),
        "rewards": (60, lambda r: round(r.uniform(-5, 3), 4)),
        "sparse": (8, lambda r: round(-r.uniform(2, 900), 4)),
    }
    texts = ["", "a", "zzz", "abcabcabc", "aaaaaaaaaaaaaa", " a  b\n\n", "中日é👍", "\ufeffabc", "Ж𝒜\x00x", "<0x41> <|plamo:bos|> [PAD1]",
             "b" * 200 + "c", "é" * 60 + "e\u0301"]
    odd = ALPHABET * 4 + ["z", "Ж", "\u0301", "\t", "𝒜", "\ufeff", "<0x41>"]
    texts += ["".join(rng.choice(odd) for _ in range(rng.randint(1, 80))) for _ in range(60)]
    document = {"texts": texts, "vocabularies": {}}
    for name, (pieces, scores) in kinds.items():
        tokens = vocabulary(rng, pieces, scores)
        document["vocabularies"][name] = {"tokens": [t for t, _, _ in tokens], "scores": [s for _, s, _ in tokens],
                                          "types": [k for _, _, k in tokens], "ids": [encode(t, tokens) for t in texts]}
        if len(sys.argv) == 3 and sys.argv[1] == "--gguf":
            write_gguf(f"{sys.argv[2]}/{name}.gguf", tokens)
    OUT.write_text(json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n")


def write_gguf(path, tokens):
    import gguf
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model("plamo2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([t.encode() for t, _, _ in tokens])
    writer.add_token_scores([s for _, s, _ in tokens])
    writer.add_token_types([k for _, _, k in tokens])
    for add, token in ((writer.add_unk_token_id, 0), (writer.add_bos_token_id, 1), (writer.add_eos_token_id, 2), (writer.add_pad_token_id, 3)):
        add(token)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


if __name__ == "__main__":
    main()
