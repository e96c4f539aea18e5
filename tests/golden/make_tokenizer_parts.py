#!/usr/bin/env python3
"""What the package tokenizers makes of text with each kind of part of a tokenizer.json, alone and in sequences.

Needs the Python package tokenizers. Writes tests/data/tokenizers/parts.json: the inputs once, and lists of descriptions with
what comes out of each input; decoders have lists of tokens as inputs.
"""
import json
import random
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders as D, models as M, normalizers as N, pre_tokenizers as P

HERE = Path(__file__).resolve().parent


def inputs():
    rng = random.Random(11)
    texts = ["", " ", "Hello, World!  How's it?", "  leading and trailing \n", "naïve Ünïcödé É e\u0301 ẞ İI", "中文 and 日本語カナー",
             "а́ Ж 12 ½ ² ⅷ 3.14", "a_b-c...d!!", "x\u00a0y\u2028z\u3000w\u200bv\ufeff", "\x00\x01\x7f\u00ad ctl", "ﬁ ① ㎏ ｆｕｌｌ Å", "▁a ▁▁b",
             "🇩🇪👍🏽 e\u0323\u0301", "१२३ ١٢٣ 1234567", "1234567abc 1234567 12", "Ａ１ ア イ", "tab\tnl\r\n", "ⓐ x‍y", "\u1112\u1161\u11ab 한국어", " a  \n\n  b   \n \n", "\n \n", "q\u0307\u0323 \u1e9b\u0323"]
    parts = list("  \n.,!?'-_aAbBzZ019") + ["é", "e\u0301", "中", "カ", "Ж", "٣", "👍", "\u0323", "½", "▁", "\u200d", "'s", "..."]
    for _ in range(25):
        texts.append("".join(rng.choice(parts) for _ in range(rng.randint(1, 25))))
    texts.append("x㊧中ー々〆ゝ한㌀ｱ々、")  # characters that scripts share
    return texts


def described(part):
    return json.loads(part.__getstate__())


def normalizers():
    yield from (N.NFC(), N.NFD(), N.NFKC(), N.NFKD(), N.Nmt(), N.Lowercase(), N.StripAccents(), N.Strip(), N.Strip(left=False),
                N.Prepend("▁"), N.Replace(" ", "▁"), N.Replace(Regex(r"\s+|[a-b]*"), "+"), N.Replace(Regex(" {2,}"), " "), N.ByteLevel(),
                N.BertNormalizer(), N.BertNormalizer(lowercase=False), N.BertNormalizer(clean_text=False, strip_accents=False),
                N.BertNormalizer(handle_chinese_chars=False, strip_accents=True, lowercase=False),
                N.Sequence([N.NFD(), N.StripAccents(), N.Lowercase(), N.Strip()]), N.Sequence([]))


def pre_tokenizers():
    behaviors = ("isolated", "removed", "merged_with_previous", "merged_with_next", "contiguous")
    yield from (P.BertPreTokenizer(), P.ByteLevel(), P.ByteLevel(add_prefix_space=False), P.ByteLevel(use_regex=False),
                P.CharDelimiterSplit("a"), P.Digits(), P.Digits(individual_digits=True), P.FixedLength(length=3), P.Metaspace(),
                P.Metaspace(prepend_scheme="first"), P.Metaspace(prepend_scheme="never", split=False), P.UnicodeScripts(),
                P.Whitespace(), P.WhitespaceSplit())
    yield from (P.Punctuation(b) for b in behaviors)
    for pattern in (Regex(r"\d+|[a-b]"), "a", Regex(r"\w+"), Regex(r"\b"), Regex(r"(?=(\d{3})+(?!\d))"), Regex(r"[\p{L}&&[^\p{Han}]]+"),
                    Regex(r"\d{1,3}(?=(?:\d{3})*\b)"), Regex(r"[^\s\p{L}\p{N}]+|\s+(?!\S)|\h"), Regex(r"\s+$"),
                    Regex(r"[\p{Lu}\p{Lo}\p{M}&&[^\p{Han}]]+")):
        for behavior in behaviors:
            yield P.Split(pattern, behavior)
        yield P.Split(pattern, "removed", invert=True)
    for pattern in (r"\p{Han}+", r"[\p{Han}ab]+", r"\P{Han}", r"\p{^Han}+", r"[^\p{Hiragana}\p{Katakana}]+", r"\p{Latin}+|\p{Hangul}"):
        yield P.Split(Regex(pattern), "isolated")
    sizes = "|".join(fr"\s{{{n}}}(?!\S)" for n in (512, 256, 128, 64, 32, 16, 8, 4))
    yield P.Split(Regex(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
                        + sizes + r"|\s{1,2}(?!\S)|\s{1}"), "isolated")
    yield P.Sequence([P.WhitespaceSplit(), P.Metaspace(prepend_scheme="first"), P.Digits(individual_digits=True)])
    yield P.Sequence([P.WhitespaceSplit(), P.Punctuation("merged_with_next"), P.Metaspace()])
    yield P.Sequence([P.ByteLevel(use_regex=False), P.Digits(individual_digits=True)])
    yield P.Sequence([P.Split(Regex(r"\p{N}"), "isolated"), P.ByteLevel(add_prefix_space=False)])


def decoders():
    yield from (D.BPEDecoder(), D.BPEDecoder(suffix="@@"), D.ByteLevel(), D.WordPiece(), D.WordPiece(prefix="@@", cleanup=False),
                D.Metaspace(), D.Metaspace(prepend_scheme="never"), D.CTC(), D.CTC(cleanup=False), D.Replace("▁", " "), D.Replace(Regex("a+"), "b"),
                D.Strip(" ", 1, 0), D.Strip("a", 2, 1), D.Fuse(), D.ByteFallback(),
                D.Sequence([D.Replace("▁", " "), D.ByteFallback(), D.Fuse(), D.Strip(" ", 1, 0)]),
                D.Sequence([D.Replace("▁", " "), D.Fuse(), D.Strip(" ", 2, 1)]), D.Sequence([D.ByteLevel(), D.Strip("a", 1, 1)]))


def random_bpe(rng, prefix="", suffix=""):
    """A vocabulary and merges over a few characters; some are in no token alone."""
    symbols = []
    for c in "abcdé中 ":
        symbols += [(c, c)] + ([(prefix + c, c)] if prefix else []) + ([(c + suffix, c + suffix)] if suffix else [])
        if prefix and suffix:
            symbols.append((prefix + c + suffix, c + suffix))
    vocab, merges = {}, []
    for spelled, _ in symbols:
        vocab.setdefault(spelled, len(vocab))
    names = list(vocab)
    while len(merges) < 40:
        left, right = rng.choice(names), rng.choice(names)
        if (suffix and left.endswith(suffix)) or (prefix and not right.startswith(prefix)) or (left, right) in merges:
            continue
        merged = left + right[len(prefix):]
        if len(merged) > 12:
            continue
        merges.append((left, right))
        if merged not in vocab:
            vocab[merged] = len(vocab)
            names.append(merged)
    return vocab, merges


def tokenizers_of_models():
    rng = random.Random(13)
    byte_tokens = [f"<0x{b:02X}>" for b in range(256)]

    def bpe(splitter=None, bytes_too=(), unk=None, **options):
        vocab, merges = random_bpe(rng, options.get("continuing_subword_prefix", ""), options.get("end_of_word_suffix", ""))
        for token in (*bytes_too, *([unk] if unk else [])):
            vocab.setdefault(token, len(vocab))
        tokenizer = Tokenizer(M.BPE(vocab, merges, **({"unk_token": unk} if unk else {}), **options))
        tokenizer.pre_tokenizer = splitter
        return tokenizer

    words = P.WhitespaceSplit()
    yield from (bpe(), bpe(unk="<unk>"), bpe(unk="<unk>", fuse_unk=True), bpe(words, unk="<unk>", end_of_word_suffix="</w>"),
                bpe(words, unk="<unk>", continuing_subword_prefix="##"), bpe(words, continuing_subword_prefix="##", end_of_word_suffix="</w>"),
                bpe(byte_fallback=True, bytes_too=byte_tokens), bpe(unk="<unk>", byte_fallback=True, bytes_too=byte_tokens),
                bpe(words, ignore_merges=True, unk="<unk>"), bpe(P.Metaspace(), unk="<unk>"), bpe(P.ByteLevel(), unk="<unk>"))
    pieces = ["a", "b", "ab", "abc", "##a", "##b", "##bc", "##c", "##é", "中", "[UNK]", ".", "##.", "1", "##1"]
    for options in ({}, {"max_input_chars_per_word": 3}, {"continuing_subword_prefix": "@@"}):
        spelled = [w.replace("##", options.get("continuing_subword_prefix", "##")) for w in pieces]
        tokenizer = Tokenizer(M.WordPiece({w: i for i, w in enumerate(spelled)}, unk_token="[UNK]", **options))
        tokenizer.pre_tokenizer = P.BertPreTokenizer()
        yield tokenizer
    tokenizer = Tokenizer(M.WordLevel({"a": 0, "Hello": 1, ",": 2, "<unk>": 3, "中": 4}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = P.Whitespace()
    yield tokenizer
    for byte_fallback in (False, True):
        texts = {"<unk>"} | {"".join(rng.choice("abcdé中▁ ") for _ in range(rng.randint(1, 4))) for _ in range(60)}
        vocab = [(t, -rng.randint(0, 40) / 4) for t in sorted(texts)] + ([(b, -10.0) for b in byte_tokens] if byte_fallback else [])
        tokenizer = Tokenizer(M.Unigram(vocab, [t for t, _ in vocab].index("<unk>"), byte_fallback))
        yield tokenizer


def model_texts():
    rng = random.Random(14)
    return ["".join(rng.choice("aaabbbccdé中  zü.1") for _ in range(rng.randint(1, 40))) for _ in range(60)]


def token_lists():
    rng = random.Random(12)
    # No invalid bytes: of those the package makes one U+FFFD each, a stream one for each broken character.
    parts = ["▁Hello", "▁", "▁▁", "world", "a", "aa", "##ing", "##", "</w>", "the</w>", "@@", "in@@", "Ġthe", "Ċ", "Ã©", "<pad>", "|", ".", "n't",
             "'s", "do", "not", " a", "a ", "<0x41>", "<0x0A>", "é", "!", ","]
    lists = [[p] for p in parts]
    for _ in range(60):
        lists.append([rng.choice(parts) for _ in range(rng.randint(1, 10))])
    return lists


def main():
    texts, tokens = inputs(), token_lists()
    out = {"inputs": texts, "tokens": tokens, "normalizers": [], "pre_tokenizers": [], "decoders": []}
    for part in normalizers():
        out["normalizers"].append({"part": described(part), "outputs": [part.normalize_str(t) for t in texts]})
    for part in pre_tokenizers():
        entry = {"part": described(part)}
        if "{512}" in json.dumps(entry):
            entry["inputs"] = ["x" + " " * 711 + "y  " + " " * 514, " " * 1000 + "\n" + " " * 7 + "1"]
        out["pre_tokenizers"].append({**entry, "outputs": [[p for p, _ in part.pre_tokenize_str(t)] for t in entry.get("inputs", texts)]})
    for part in decoders():
        outputs = []
        for each in tokens:
            try:
                outputs.append(part.decode(each))
            except BaseException:  # Strip panics on short tokens
                outputs.append(None)
        out["decoders"].append({"part": described(part), "outputs": outputs})
    out["model_texts"] = model_texts()
    out["models"] = [{"document": json.loads(t.to_str()), "ids": [t.encode(text).ids for text in out["model_texts"]]}
                     for t in tokenizers_of_models()]
    with open(HERE.parent / "data/tokenizers/parts.json", "w") as f:
        f.write(json.dumps({k: out[k] for k in ("inputs", "tokens", "model_texts")})[:-1])
        for kind in ("normalizers", "pre_tokenizers", "decoders", "models"):
            f.write(f',\n"{kind}": [\n' + ",\n".join(json.dumps(e, separators=(",", ":")) for e in out[kind]) + "]")
        f.write("}\n")


if __name__ == "__main__":
    main()
