"""Tokenizers and texts on which Sluice is held against the packages that defined them (compare_tokenizers.py, and
tests/golden/make_tokenizer_golden.py). Needs the Python packages tokenizers, tiktoken and sentencepiece, and the directory of
test data that SLUICE_TEST_DATA names.

A case is a model directory as Sluice reads it and a function from text to ids as the reference has it.
"""
import base64
import gzip
import json
import os
import random
import unicodedata
from pathlib import Path

import sentencepiece
import tiktoken
import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

DATA = Path(os.environ.get("SLUICE_TEST_DATA", ""))
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
          r"\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace("{1,3}", "")


class Case:
    def __init__(self, name, directory, tokenizer=None, encode=None, decode=None, flag=False, package="tokenizers"):
        """`encode(text, special)` gives ids; a Hugging Face tokenizer brings its own. `flag`: not to be copied."""
        self.name, self.directory, self.tokenizer, self.flag, self.package = name, Path(directory), tokenizer, flag, package
        self.encode = encode or self.encode_hf
        # What text from users never becomes for Sluice, though the model could make it.
        self.control = set() if tokenizer is None else {
            i for i, t in tokenizer.get_added_tokens_decoder().items() if t.special or t.content[0] + t.content[-1] in ("<>", "[]")}
        self.decode = decode or (lambda ids: tokenizer.decode(ids, skip_special_tokens=True)) if tokenizer or decode else None

    def encode_hf(self, text, special):
        self.tokenizer.encode_special_tokens = not special
        return self.tokenizer.encode(text, add_special_tokens=special).ids


def case_of(name, folder, tokenizer, flag=False):
    """A case whose tokenizer.json the package writes."""
    path = Path(folder) / name
    path.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(path / "tokenizer.json"))
    return Case(name, path, tokenizer, flag=flag)


def linked(name, folder, files):
    path = Path(folder) / name
    path.mkdir(parents=True, exist_ok=True)
    for target, source in files.items():
        link = path / target
        link.unlink(missing_ok=True)
        link.symlink_to(source)
    return path


def byte_level(vocab, merges, pattern, special=(), ignore_merges=False, normalizer=None, template=None):
    tokenizer = Tokenizer(models.BPE(vocab, merges, ignore_merges=ignore_merges))
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in special])
    if template:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=template, special_tokens=[(t, tokenizer.token_to_id(t)) for t in template.split() if t != "$A"])
    return tokenizer


def merges_of(path):
    lines = path.read_text().split("\n")
    return [tuple(line.split(" ")) for line in lines if line and not line.startswith("#version")]


def huggingface_cases(folder):
    t = DATA / "tokenizers"
    yield case_of("gpt-neox", folder, Tokenizer.from_file(str(t / "gpt-neox/20B_tokenizer.json")))
    yield case_of("t5", folder, Tokenizer.from_file(str(t / "t5/tokenizer.json")))
    qwen = byte_level(json.loads((t / "qwen2/vocab.json").read_text()), merges_of(t / "qwen2/merges.txt"), QWEN2,
                      normalizer=normalizers.NFC())
    added = json.loads((t / "qwen2/tokenizer_config.qwen2.5.json").read_text())["added_tokens_decoder"]
    for _, entry in sorted(added.items(), key=lambda item: int(item[0])):
        flags = {k: entry[k] for k in ("lstrip", "rstrip", "single_word", "normalized", "special")}
        qwen.add_tokens([AddedToken(entry["content"], **flags)])
    yield case_of("qwen2", folder, qwen)
    llama = byte_level(json.loads((t / "llama3/encoder.json").read_text()), merges_of(t / "llama3/vocab.bpe"), LLAMA3,
                       ["<|begin_of_text|>", "<|end_of_text|>"], ignore_merges=True, template="<|begin_of_text|> $A")
    yield case_of("llama3", folder, llama, flag=True)
    words = {w: i for i, w in enumerate((t / "bert/bert-vocab.txt").read_text().split("\n")[:-1])}
    for lower in (True, False):
        bert = Tokenizer(models.WordPiece(words, unk_token="[UNK]"))
        bert.normalizer = normalizers.BertNormalizer(lowercase=lower)
        bert.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        bert.decoder = decoders.WordPiece(cleanup=lower)
        bert.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
        bert.post_processor = processors.BertProcessing(("[SEP]", words["[SEP]"]), ("[CLS]", words["[CLS]"]))
        yield case_of("bert" if lower else "bert-as-written", folder, bert)


def repair_llama2(document):
    """The copy that there is lost its no-break spaces to plain ones: tokens hold no plain space otherwise, and in a merge with
    several the one in the middle is the separator."""
    model = document["model"]
    model["vocab"] = {k.replace(" ", "\u00a0"): v for k, v in model["vocab"].items()}
    merges = []
    for merge in model["merges"]:
        middle = merge.index(" ") if merge.count(" ") == 1 else len(merge) // 2
        merges.append([merge[:middle].replace(" ", "\u00a0"), merge[middle + 1:].replace(" ", "\u00a0")])
    model["merges"] = merges
    return document


def character_bpe_cases(folder):
    document = repair_llama2(json.loads((DATA / "tokenizers/llama2/tokenizer.json").read_text()))
    for token in document["added_tokens"]:  # control tokens are found in text as it stands, as in later files
        token["normalized"] = False
    yield case_of("llama2", folder, Tokenizer.from_str(json.dumps(document)), flag=True)
    # As Gemma has it: no space before the text, and a pre-tokenizer that finds none either.
    document["normalizer"] = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
    document["pre_tokenizer"] = {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False}
    document["decoder"] = {"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]}
    yield case_of("llama2-as-gemma", folder, Tokenizer.from_str(json.dumps(document)), flag=True)


def sentencepiece_cases(folder):
    for name, path, flag in (("mistral-v1", "tokenizers/mistral/tokenizer.model.v1", False),
                             ("mistral-v3", "tokenizers/mistral/mistral_instruct_tokenizer_240323.model.v3", False),
                             ("llama2-model", "tokenizers/llama2/tokenizer.model", True),
                             ("tok512", "stories260K/tok512.model", False), ("tok105", "babyllama105/tok105.model", False)):
        processor = sentencepiece.SentencePieceProcessor(model_file=str(DATA / path))
        directory = linked(name, folder, {"tokenizer.model": DATA / path})
        encode = lambda text, special, p=processor: None if special else p.encode(text)
        yield Case(name, directory, encode=encode, flag=flag, package="sentencepiece")


def texts():
    """(name, documents): the corpora of the test data cut into documents, and made-up odd text."""
    def cut(text, size):
        return [text[i:i + size] for i in range(0, len(text), size)]

    shakespeare = (DATA / "text/tinyshakespeare.txt").read_text()
    war = gzip.open(DATA / "text/war-and-peace.txt.gz", "rt").read()
    yield "shakespeare", cut(shakespeare, 4000), False
    yield "war-and-peace", cut(war, 20000), False
    yield "code", [p.read_text() for p in sorted((Path(__file__).parent.parent / "bench").glob("*.py"))], False
    for path in sorted(DATA.glob("**/*")):
        name = str(path.relative_to(DATA))
        if path.suffix in {".json", ".jsonl", ".jinja", ".txt", ".md", ".raw", ".tokens", ".csv", ".py"} and path.is_file() \
                and not name.startswith(("text/tinyshakespeare", "tokenizers/", "traces/")):
            text = path.read_bytes().decode("utf-8", "replace")
            flag = name.startswith(("wikitext", "chat-templates", "text/tinystories"))
            yield name, cut(text[:400_000], 8000), flag
    yield "odd", odd(), False
    yield "long", long_lines(), False


def odd():
    rng = random.Random(7)
    assigned = [c for c in map(chr, range(0x20, 0x30000)) if unicodedata.category(c) not in ("Cn", "Cs", "Co")]
    common = list("    \n\n\t'`.,;:!?-_()[]{}<>|/\\0123456789abcdefghijklmnopqrstuvwxyzABCDEFGH") + [
        "'s", "'LL", "\r\n", "\u00e9", "\u4e2d", "\U0001f44d", "\u0301", "\u0323", "\u2581", "\u0120"]
    scripts = ["Größe Straße naïve façade Łódź İstanbul ıI", "Быстрая коричневая лиса", "Η γρήγορη καφέ αλεπού", "الثعلب البني ١٢٣",
               "תֵל־אָבִיב", "तेज़ भूरी लोमड़ी १२३", "เร็วจิ้งจอกสีน้ำตาล", "敏捷的棕色狐狸跳过了懒狗2024年", "素早い茶色のｶﾀｶﾅー", "빠른 갈색 여우가", "ﬁ ½ ² Ⅷ ㎏ ｆｕｌｌ",
               "👍🏽👨‍👩‍👧‍👦🏳️‍🌈🇩🇪 1️⃣", "Z̸̢͓̅a̴͎̔l̷̻̄g̶͈̈́o̵̝͗", "e\u0301 A\u030a \u1112\u1161\u11ab q\u0307\u0323", "def f(x):\n\treturn {k: v for k in x}\n",
               "#include <vector>\nint main(){return !v.empty();}", "<s> </s> <unk> <|endoftext|> [CLS] [SEP] <0x0A>", "a.b,c d . , ! ' n't 's"]
    out = list(scripts)
    for _ in range(400):
        out.append("".join(rng.choice(common if rng.random() < 0.8 else assigned) for _ in range(rng.randint(1, 80))))
    for _ in range(200):
        out.append("".join(rng.choice(assigned) for _ in range(rng.randint(1, 30))))
    for _ in range(200):
        out.append(rng.choice([" ", "", "\n"]).join(rng.choice(scripts) for _ in range(rng.randint(1, 4))))
    for _ in range(100):  # invalid UTF-8, which every reference reads as U+FFFD
        out.append(bytes(rng.choice([rng.randrange(256), 0x20, 0xe4, 0xb8, 0xad, 0x41]) for _ in range(rng.randint(1, 60)))
                   .decode("utf-8", "replace"))
    return out


def pseudo_random(count, below, seed=1):
    """Numbers that a test can make again in any language."""
    for _ in range(count):
        seed = (seed * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        yield (seed >> 33) % below


LONG_UNITS = ["a", " ", "7", "ab", "\n", "\u00e9", "A", "!", "\u0301\u0323", "\u4e2d", " a", "aA", "'", "\t\r\n"]


def long_lines(size=1 << 20):
    """A megabyte of one thing each, and of letters and words in no order."""
    words = ["the ", "quick", " fox", "\u03a9mega", "\u6570\u636e", "x1", "...", "na\u00efve "]
    return [unit * (size // len(unit.encode())) for unit in LONG_UNITS] + [
        "".join("abcdefgh"[i] for i in pseudo_random(size, 8)), "".join(words[i] for i in pseudo_random(size // 4, 8))]


def tiktoken_cases(folder):
    import tiktoken_ext.openai_public as public
    for name, sizes in (("r50k_base", public.gpt2), ("p50k_base", public.p50k_base), ("cl100k_base", public.cl100k_base),
                        ("o200k_base", public.o200k_base), ("o200k_harmony", public.o200k_harmony)):
        path = DATA / "tokenizers/tiktoken" / (name.replace("harmony", "base") + ".tiktoken")
        ranks = {base64.b64decode(t): int(r) for t, r in (line.split() for line in path.open())}
        # The package's own description, with ranks from the test data instead of the network.
        public.load_tiktoken_bpe = lambda *args, r=ranks, **kwargs: r
        public.data_gym_to_mergeable_bpe_ranks = lambda *args, r=ranks, **kwargs: r
        described = getattr(public, name)()
        described.pop("explicit_n_vocab", None)
        reference = tiktoken.Encoding(**described)
        directory = linked("tiktoken-" + name, folder, {name + ".tiktoken": path})
        encode = lambda text, special, e=reference: e.encode(text, allowed_special="all") if special else e.encode(text, disallowed_special=())
        yield Case("tiktoken-" + name, directory, encode=encode, package="tiktoken")


def tekken_cases(folder):
    """The vocabulary comes with the package mistral-common; without it there is no case."""
    try:
        import mistral_common
    except ImportError:
        return
    path = Path(mistral_common.__file__).parent / "data/tekken_240911.json"
    document = json.loads(path.read_text())
    count = document["config"]["default_num_special_tokens"]
    size = document["config"]["default_vocab_size"] - count
    ranks = {base64.b64decode(t["token_bytes"]): t["rank"] for t in document["vocab"] if t["rank"] < size}
    reference = tiktoken.Encoding("tekken", pat_str=document["config"]["pattern"], mergeable_ranks=ranks, special_tokens={})
    directory = linked("tekken", folder, {"tekken.json": path})
    encode = lambda text, special: None if special else [i + count for i in reference.encode(text, disallowed_special=())]
    yield Case("tekken", directory, encode=encode, package="tiktoken")


class LongestMatch:
    """The definition of RWKV World's tokenizer."""

    def __init__(self, path):
        import ast
        self.ids, self.longest = {}, 0
        for line in path.read_text().split("\n"):
            if not line:
                continue
            number, token = line[:line.index(" ")], ast.literal_eval(line[line.index(" ") + 1:line.rindex(" ")])
            token = token.encode() if isinstance(token, str) else token
            self.ids[token] = int(number)
            self.longest = max(self.longest, len(token))

    def encode(self, text):
        data, out, at = text.encode(), [], 0
        while at < len(data):
            n = next(n for n in range(min(self.longest, len(data) - at), 0, -1) if data[at:at + n] in self.ids)
            out.append(self.ids[data[at:at + n]])
            at += n
        return out


def other_cases(folder):
    path = DATA / "tokenizers/rwkv-world/rwkv_vocab_v20230424.txt"
    reference = LongestMatch(path)
    yield Case("rwkv-world", linked("rwkv-world", folder, {path.name: path}),
               encode=lambda text, special: None if special else reference.encode(text), package="its definition")
    bert = next(c for c in huggingface_cases(folder) if c.name == "bert")
    directory = linked("bert-vocab", folder, {"vocab.txt": DATA / "tokenizers/bert/bert-vocab.txt"})
    yield Case("bert-vocab", directory, bert.tokenizer)


def unigram_cases(folder):
    """A Unigram model of sentencepiece, trained here: the test data have none. And the same with byte fallback."""
    import io
    for name, options in (("unigram-sp", {}), ("unigram-sp-bytes", {"byte_fallback": True, "character_coverage": 0.99})):
        directory = Path(folder) / name
        directory.mkdir(parents=True, exist_ok=True)
        lines = (DATA / "text/tinyshakespeare.txt").read_text().split("\n")[:6000] + odd()[:200]
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines), model_writer=model, vocab_size=2000, model_type="unigram", num_threads=1,
            hard_vocab_limit=False, minloglevel=2, **options)
        (directory / "tokenizer.model").write_bytes(model.getvalue())
        processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
        yield Case(name, directory, encode=lambda text, special, p=processor: None if special else p.encode(text),
                   package="sentencepiece")


ALL = (huggingface_cases, character_bpe_cases, sentencepiece_cases, tiktoken_cases, tekken_cases, other_cases, unigram_cases)
