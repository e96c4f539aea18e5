#!/usr/bin/env python3
"""Golden token ids for odd input, made with the reference implementations.

Needs the Python packages tokenizers and sentencepiece (make a virtual environment for them) and the directory of test data
that SLUICE_TEST_DATA names. Writes tests/data/tokenizers/golden.json: the inputs once, and for every vocabulary the ids of
each input as plain text ("ids") and, where the reference can, with special tokens parsed ("parsed").
"""
import json
import os
import random
import sys
import unicodedata

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

DATA = os.environ.get("SLUICE_TEST_DATA") or sys.exit("set SLUICE_TEST_DATA")
OUT = os.path.join(os.path.dirname(__file__), "..", "data", "tokenizers", "golden.json")
QWEN2 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
         r"\s+(?!\S)|\s+")


def inputs():
    rng = random.Random(20240501)
    texts = [
        "", " ", "  ", "\n", "\t", "\r\n", "\n\n\n", " \n \n ", "a", " a", "a ", "Hello, world!", "Hello  world   !  ",
        "The quick brown fox jumps over the lazy dog. 1234567890 3.14159 1,000,000 0x1F4A9",
        "I'm you're he'll she'd we've it's DON'T CAN'T I'LL o'clock 'tis 'S 'ſ 'quoted'",
        "def f(x: int) -> str:\n    \"\"\"Doc.\"\"\"\n\treturn {k: v for k, v in x.items() if v != None}\n\n\n# end",
        "#include <vector>\nint main(){std::vector<int> v{1,2,3};for(auto&x:v)x<<=2;return !v.empty();}",
        "<html><body class=\"a b\">&nbsp;</body></html>", "https://example.org/a/b?c=d&e=%20f#g user@example.com",
        "{\"key\": [1, 2.5e-10, null, true], \"nested\": {\"a\\\\b\": \"\\u00e9\"}}",
        "Größe Straße ÄÖÜ äöü éèêë naïve façade Łódź Čeština İstanbul ıI",
        "Быстрая коричневая лиса перепрыгивает через ленивую собаку.", "Η γρήγορη καφέ αλεπού πηδάει.",
        "الثعلب البني السريع يقفز فوق الكلب الكسول. ١٢٣", "השועל החום המהיר קופץ מעל הכלב העצלן",
        "तेज़ भूरी लोमड़ी आलसी कुत्ते के ऊपर कूदती है। १२३", "เร็วจิ้งจอกสีน้ำตาลกระโดดข้ามสุนัขขี้เกียจ",
        "敏捷的棕色狐狸跳过了懒狗。我在2024年工作。", "素早い茶色の狐が怠け者の犬を飛び越える。カタカナ ｶﾀｶﾅ", "빠른 갈색 여우가 게으른 개를 뛰어넘습니다.",
        "👍🏽👨‍👩‍👧‍👦🏳️‍🌈🇩🇪🇫🇷 1️⃣ ☕️ ❤️‍🔥", "🤷🏾‍♀️ ends here", "e\u0301 vs \u00e9; A\u030a vs \u00c5; \u1112\u1161\u11ab vs \ud55c",
        "ﬁ ﬂ ½ ² Ⅷ ① ㎏ ｆｕｌｌ", "zero\u200bwidth\u200djoiner\ufeffbom\u00adsoft\u2060word", "nbsp\u00a0here\u00a0\u00a0and\u3000ideographic",
        "\u180e mongolian\u180evowel \u180e\u180e", "\u0085next\u2028line\u2029para\u001cfs", "nul\x00byte \x01\x02\x7f control",
        "\ufffd replacement \ufffd\ufffd", "𝒜𝓁𝓅𝒽𝒶 𐍈 𓀀 𠮷 \U0010ffff", "Z̸̢͓̅a̴͎̔l̷̻̄g̶͈̈́o̵̝͗", "▁already▁spelled ▁▁ Ġspace Ċ",
        "<|im_start|>user\nhi<|im_end|>", "<|endoftext|>", "a<|endoftext|>b<|endoftext|><|endoftext|>", "<s>hello</s>", " <s> [INST] x [/INST] </s>",
        "<unk> <0x0A> <|im_end| > <| im_end|> <|im_end", "<<|endoftext|>>", "<tool_call>{}</tool_call>", "<|padding|> <|fim_prefix|>",
        " " * 7, " " * 24, " " * 25, "x" + " " * 33 + "y", "\n" * 17, "\t" * 9 + "x", " \n" * 9, "   indented\n      more\n",
        "a" * 300, "ab" * 150, "=" * 100, "-" * 64 + "\n", "0" * 50, "!?" * 40, "한" * 40, "👍" * 20, "é" * 50, "supercalifragilistic" * 8,
        "''''''```````\"\"\"\"......!!!!!!??????", "a_b_c__d___e", "CamelCaseWordsAndSNAKE_CASE", "1.2.3.4", "$100 €50 £20 ¥1000 ₹5", "x²+y²=z² ∑∫√∞≠≤≥",
    ]
    assigned = [c for c in map(chr, range(0x20, 0x30000)) if unicodedata.category(c) not in ("Cn", "Cs", "Co")]
    common = list("    \n\n\t'`.,;:!?-_()[]{}<>|/\\0123456789abcdefghijklmnopqrstuvwxyzABCDEFGH") + ["'s", "'LL", "\r\n", "é", "中", "👍"]
    for _ in range(60):
        texts.append("".join(rng.choice(common if rng.random() < 0.85 else assigned) for _ in range(rng.randint(1, 60))))
    for _ in range(20):
        texts.append("".join(rng.choice(assigned) for _ in range(rng.randint(1, 25))))
    return texts


def qwen2(special):
    folder = os.path.join(DATA, "tokenizers/qwen2")
    tokenizer = Tokenizer(models.BPE.from_file(folder + "/vocab.json", folder + "/merges.txt"))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(QWEN2), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    if special:
        with open(folder + "/tokenizer_config.qwen2.5.json") as f:
            added = json.load(f)["added_tokens_decoder"]
        for i, (key, entry) in enumerate(sorted(added.items(), key=lambda item: int(item[0]))):
            flags = {k: entry[k] for k in ("lstrip", "rstrip", "single_word", "normalized", "special")}
            tokenizer.add_tokens([AddedToken(entry["content"], **flags)])
            assert tokenizer.token_to_id(entry["content"]) == int(key), (i, key)
    return tokenizer


def gpt2(special):
    """The ranks of tiktoken's r50k_base are the ids of GPT-2; a token's merge is what it splits into with lower ranks."""
    import base64
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    printable = [b for b in range(256) if 0x21 <= b <= 0x7e or 0xa1 <= b <= 0xac or b >= 0xae]
    spelled, extra = {b: chr(b) for b in printable}, 256
    for b in range(256):
        if b not in spelled:
            spelled[b], extra = chr(extra), extra + 1
    assert set(spelled.values()) == set(alphabet)
    with open(os.path.join(DATA, "tokenizers/tiktoken/r50k_base.tiktoken")) as f:
        ranks = {base64.b64decode(t): int(r) for t, r in (line.split() for line in f)}
    spell = lambda token: "".join(spelled[b] for b in token)
    merges = []
    for token, rank in sorted(ranks.items(), key=lambda item: item[1]):
        parts = [bytes([b]) for b in token]
        while len(parts) > 2:
            best = min(range(len(parts) - 1), key=lambda i: ranks.get(parts[i] + parts[i + 1], 1 << 30))
            assert ranks[parts[best] + parts[best + 1]] < rank
            parts[best:best + 2] = [parts[best] + parts[best + 1]]
        if len(parts) == 2:
            merges.append((spell(parts[0]), spell(parts[1])))
    tokenizer = Tokenizer(models.BPE({spell(t): r for t, r in ranks.items()}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if special:
        tokenizer.add_special_tokens(["<|endoftext|>"])
    return tokenizer


def neox(special):
    tokenizer = Tokenizer.from_file(os.path.join(DATA, "tokenizers/gpt-neox/20B_tokenizer.json"))
    tokenizer.encode_special_tokens = not special
    return tokenizer


def main():
    texts = inputs()
    golden = {"inputs": texts, "vocabularies": {}}
    for name, make in (("qwen2", qwen2), ("gpt2", gpt2), ("gpt-neox", neox)):
        plain, special = make(False), make(True)
        golden["vocabularies"][name] = {
            "ids": [plain.encode(t, add_special_tokens=False).ids for t in texts],
            "parsed": [special.encode(t, add_special_tokens=False).ids for t in texts]}
    for name, path in (("mistral-v1", "tokenizers/mistral/tokenizer.model.v1"),
                       ("mistral-v3", "tokenizers/mistral/mistral_instruct_tokenizer_240323.model.v3"),
                       ("tok512", "stories260K/tok512.model"), ("tok105", "babyllama105/tok105.model")):
        processor = sentencepiece.SentencePieceProcessor(model_file=os.path.join(DATA, path))
        golden["vocabularies"][name] = {"ids": [processor.encode(t) for t in texts]}
    with open(OUT, "w") as f:
        f.write("{\"inputs\":" + json.dumps(golden["inputs"]) + ",\n\"vocabularies\":{\n")
        f.write(",\n".join(json.dumps(k) + ":" + json.dumps(v, separators=(",", ":"))
                           for k, v in golden["vocabularies"].items()))
        f.write("}}\n")
    print(len(texts), "inputs,", os.path.getsize(OUT), "bytes")


main()
