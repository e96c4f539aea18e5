#!/usr/bin/env python3
"""Trains models/sluice-tiny-2m: a Llama of 1.84M parameters on public-domain prose and key-value retrieval.

    python tools/train_tiny_llama.py --text war-and-peace.txt.gz tinyshakespeare.txt --out models/sluice-tiny-2m

and from it models/sluice-tiny-2m-32k, stretched to 32,768 positions by YaRN (Peng et al. 2023) and 120 more steps:

    python tools/train_tiny_llama.py --text war-and-peace.txt.gz tinyshakespeare.txt --stretch models/sluice-tiny-2m

The first text's last 5 % is the validation slice (`held-out.txt` beside the stretched model). Needs tests/golden/requirements.txt; one CPU thread, fixed seeds.
The model exists so that K-quants (every row is divisible by 256), perplexity and long-context checks have a subject
that means something. A retrieval document is prose in which lines such as " key 48 73;" are strewn; each key keeps its
value through the whole document, so that a repeated key is an answerable question at any distance up to the context.
"""
import argparse
import gzip
import json
import math
import pathlib
import random
import re
import tempfile
import time

import numpy as np
import sentencepiece
import torch
from transformers import LlamaConfig, LlamaForCausalLM

CONTEXT, STRETCHED = 2048, 32768
VOCAB = 1024
FIRST_STAGE = 0.1  # share of the steps
BOS, EOS = 1, 2
PROMPTS = ["The prince", "I do not", "First Citizen:", "Natasha was", "In the evening the",
           "key 48 73; key 15 62; key 48"]


def read_text(path):
    raw = gzip.open(path).read() if str(path).endswith(".gz") else pathlib.Path(path).read_bytes()
    text = raw.decode("utf-8").replace("\r\n", "\n")
    paragraphs = re.split(r"\n{2,}", text)
    average = len(text) / max(1, text.count("\n"))
    if average > 40:  # hard-wrapped prose: a line break inside a paragraph means nothing
        paragraphs = [" ".join(p.split()) for p in paragraphs]
    return "\n".join(p.strip() for p in paragraphs) + "\n"


def train_tokenizer(texts, out):
    """Sentencepiece BPE with byte fallback, as Llama 2 has; two-digit numbers are made common enough to be pieces."""
    rng = random.Random(1)
    with tempfile.TemporaryDirectory() as folder:
        corpus = pathlib.Path(folder) / "corpus.txt"
        lines = [line for text in texts for line in text.split("\n") if line]
        numbers = [f"{n:02d}" for n in range(100)] * 1000
        rng.shuffle(numbers)
        lines += [f"key {a} {b} ;" for a, b in zip(numbers[::2], numbers[1::2])]
        corpus.write_text("\n".join(line[i:i + 2000] for line in lines for i in range(0, len(line), 2000)))
        sentencepiece.SentencePieceTrainer.train(
            input=str(corpus), model_prefix=str(out / "tokenizer"), vocab_size=VOCAB, model_type="bpe",
            byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
            character_coverage=0.9995, num_threads=1, minloglevel=2, max_sentence_length=8192)
    (out / "tokenizer.vocab").unlink()
    return sentencepiece.SentencePieceProcessor(model_file=str(out / "tokenizer.model"))


class Documents:
    """Token documents of an exact length with a weight per token: 0 for what nobody could predict."""

    def __init__(self, tokenizer, prose, seed):
        self.prose, self.rng = prose, random.Random(seed)
        piece = tokenizer.piece_to_id
        self.numbers = [piece(f"▁{n:02d}") for n in range(100)]
        self.key, self.end = piece("▁key"), piece(";")
        assert tokenizer.unk_id() not in self.numbers + [self.key, self.end], "a two-digit number is no piece"

    def prose_run(self, length):
        start = self.rng.randrange(len(self.prose) - length)
        return self.prose[start:start + length].tolist()

    def text(self, length):
        return [BOS] + self.prose_run(length - 1), [1.0] * length

    def retrieval(self, length, dense):
        """`dense` is the share of retrieval lines; the rest is prose. A known key's value weighs 5, a new one's 0."""
        rng = self.rng
        tokens, weights, values = [BOS], [1.0], {}
        fresh = rng.sample(range(100), min(100, max(4, int(length * dense / 12))))
        while len(tokens) < length:
            if rng.random() > dense:
                run = self.prose_run(rng.randrange(5, 40))
                tokens += run
                weights += [0.0] + [0.5] * (len(run) - 1)
                continue
            if fresh and (not values or rng.random() < 0.4):
                key = fresh.pop()
                values[key] = rng.randrange(100)
                weight = 0.0
            else:
                key, weight = rng.choice(list(values)), 5.0
            tokens += [self.key, self.numbers[key], self.numbers[values[key]], self.end]
            weights += [0.1, 0.0, weight, 0.1]
        return tokens[:length], weights[:length]

    def far(self, length):
        """Prose in which up to 40 keys are told, each once, and up to 20 of them asked for at the end."""
        rng = self.rng
        lines = [(k, rng.randrange(100)) for k in rng.sample(range(100), rng.randrange(1, 41))]
        asked = rng.sample(lines, min(20, len(lines)))
        gaps = length - 1 - 4 * (len(lines) + len(asked))
        prose, at = self.prose_run(gaps), 0
        tokens, weights = [BOS], [1.0]
        for cut, (key, value) in zip(sorted(rng.randrange(gaps + 1) for _ in lines), lines):
            tokens += prose[at:cut] + [self.key, self.numbers[key], self.numbers[value], self.end]
            weights += [0.5] * (cut - at) + [0.1, 0.0, 0.0, 0.1]
            at = cut
        tokens += prose[at:]
        weights += [0.5] * (gaps - at)
        for key, value in asked:
            tokens += [self.key, self.numbers[key], self.numbers[value], self.end]
            weights += [0.1, 0.0, 5.0, 0.1]
        return tokens, weights

    def repeats(self, length):
        """A few random tokens over and over: what teaches a model soonest to look back for what it has seen before."""
        period = self.rng.randrange(8, 33)
        segment = [self.rng.randrange(3, VOCAB) for _ in range(period)]
        tokens = [BOS] + segment * (length // period + 1)
        return tokens[:length], ([0.0] * (period + 2) + [1.0] * length)[:length]

    def mixed(self, length, index, first_stage):
        """A third each of prose, dense retrieval and repeats at first; then half prose, half retrieval."""
        if first_stage:
            kinds = (self.text, lambda n: self.retrieval(n, 0.9), self.repeats)
        else:
            kinds = (self.text, lambda n: self.retrieval(n, self.rng.choice([0.15, 0.5, 0.9])))
        return kinds[index % len(kinds)](length)

    def question(self, length, pairs):
        """A prompt of exactly `length` tokens that ends in " key K", and the token that answers it."""
        rng = self.rng
        keys = rng.sample(range(100), pairs)
        lines = [(k, rng.randrange(100)) for k in keys]
        gaps = length - 3 - 4 * pairs
        cuts = sorted(rng.randrange(gaps + 1) for _ in lines)
        tokens, prose, at = [BOS], self.prose_run(gaps), 0
        for cut, (key, value) in zip(cuts, lines):
            tokens += prose[at:cut] + [self.key, self.numbers[key], self.numbers[value], self.end]
            at = cut
        asked, answer = rng.choice(lines)
        tokens += prose[at:] + [self.key, self.numbers[asked]]
        assert len(tokens) == length
        return tokens, self.numbers[answer]


def length_at(rng, done):
    """Short documents first, then a growing share of long ones."""
    if done < FIRST_STAGE:
        return 128
    if done < 0.45:
        return rng.choice([256, 512])
    return rng.choice([512, 1024, 2048])


@torch.no_grad()
def start_with_induction(model):
    """Starts one pair of heads as an induction circuit (Olsson et al. 2022), which so short a run would not find alone.

    The first layer's head 0 attends to the token before and writes what it was; the second layer's head 0 looks for a
    place whose written token is the present one, and copies what stands there. All embeddings share an offset (which
    a tied head cannot see), so that the first head's query and key have a part that is the same for every token; the
    query's is turned back by one position, which rope rewards at a distance of one. The match uses the slow half of
    the rope pairs, which distance hardly turns.
    """
    config = model.config
    first, second = (layer.self_attn for layer in model.model.layers)
    width, size = config.hidden_size, config.head_dim
    half = size // 2
    model.model.embed_tokens.weight.mul_(2.5).add_(0.075)
    angle = config.rope_parameters["rope_theta"] ** (-torch.arange(half) / half)
    fast = (torch.arange(half) < 10).float()
    same = torch.full((width,), 1.2 / width ** 0.5)
    first.q_proj.weight[:size] = torch.outer(torch.cat([fast * torch.cos(angle), -fast * torch.sin(angle)]), same)
    first.k_proj.weight[:size] = torch.outer(torch.cat([fast, 0 * fast]), same)
    rows = torch.randn(3 * size, width)
    rows -= rows.mean(dim=1, keepdim=True)  # blind to the shared offset
    read, written, copied = torch.linalg.qr(rows.T).Q.T.contiguous().split(size)
    first.v_proj.weight[:size] = 0.5 * read
    first.o_proj.weight[:, :size] = 0.5 * written.T
    slow = (torch.arange(size) % half >= half // 2).float()[:, None]
    second.q_proj.weight[:size] = 3.0 * slow * read
    second.k_proj.weight[:size] = 3.0 * slow * written
    second.v_proj.weight[:size] = 0.5 * copied
    second.o_proj.weight[:, :size] = 0.5 * copied.T


class Muon(torch.optim.Optimizer):
    """Momentum whose matrices are made orthogonal by five Newton-Schulz steps (Jordan et al. 2024), scaled to an AdamW
    step's size (Liu et al. 2025). torch's own runs in bfloat16, which is slow on a CPU."""

    def __init__(self, matrices, rate):
        super().__init__(matrices, {"lr": rate})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                momentum = self.state[p].setdefault("momentum", torch.zeros_like(p)).lerp_(p.grad, 0.05)
                x = p.grad.lerp(momentum, 0.95)
                x = x.T if p.shape[0] > p.shape[1] else x
                x = x / (x.norm() + 1e-7)
                for _ in range(5):
                    gram = x @ x.T
                    x = 3.4445 * x + (2.0315 * gram @ gram - 4.775 * gram) @ x
                x = x.T if p.shape[0] > p.shape[1] else x
                p.mul_(1 - 0.1 * group["lr"]).add_(x, alpha=-0.2 * group["lr"] * max(p.shape) ** 0.5)


def optimizers_of(model, peak):
    matrices = [p for n, p in model.named_parameters() if p.dim() == 2 and "embed_tokens" not in n]
    others = [p for n, p in model.named_parameters() if p.dim() != 2 or "embed_tokens" in n]
    return [Muon(matrices, peak), torch.optim.AdamW(others, lr=peak, betas=(0.9, 0.95), weight_decay=0.0)]


def descend(model, optimizers, loss):
    model.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer in optimizers:
        optimizer.step()


def train(model, documents, steps, tokens_per_step, peak):
    optimizers = optimizers_of(model, peak)
    rng, start, seen = random.Random(3), time.time(), 0
    for step in range(steps):
        done = step / steps
        rate = peak * min(1.0, (step + 1) / 60) * (1.0 if done < 0.6 else max(0.02, 2.5 * (1 - done)))
        for optimizer, share in zip(optimizers, (1.0, 0.25)):
            optimizer.param_groups[0]["lr"] = rate * share
        length = length_at(rng, done)
        count = tokens_per_step // length
        batch = [documents.mixed(length, i + step, done < FIRST_STAGE) for i in range(count)]
        tokens = torch.tensor([b[0] for b in batch])
        weights = torch.tensor([b[1] for b in batch])[:, 1:].reshape(-1)
        logits = model(input_ids=tokens).logits[:, :-1].reshape(-1, VOCAB)
        losses = torch.nn.functional.cross_entropy(logits, tokens[:, 1:].reshape(-1), reduction="none")
        loss = (losses * weights).sum() / weights.sum()
        descend(model, optimizers, loss)
        seen += tokens.numel()
        if step % 25 == 0 or step == steps - 1:
            answers = losses[weights == 5.0].mean().item()
            prose = losses[weights == 1.0].mean().item()
            print(f"step {step} length {length} loss {loss.item():.3f} prose {prose:.3f} answers {answers:.3f} "
                  f"tokens {seen} seconds {time.time() - start:.0f}", flush=True)


def skipped_positions(rng, length):
    """Positions up to STRETCHED of a document that is shorter: those behind one place are moved on (PoSE, Zhu et al. 2024)."""
    positions = torch.arange(length) + rng.randrange(STRETCHED - length + 1)
    cut = rng.randrange(length // 4, length)
    positions[:cut] -= rng.randrange(int(positions[0]) + 1)
    return positions


def stretch(model, documents, steps, peak):
    """Half of the documents have the positions of a long one, and some are long: the first teaches distances, the others how to
    find one place among so many."""
    optimizers = optimizers_of(model, peak)
    rng, start = random.Random(4), time.time()
    for step in range(steps):
        rate = peak * min(1.0, (step + 1) / 10) * max(0.02, 1 - step / steps)
        for optimizer, share in zip(optimizers, (1.0, 0.25)):
            optimizer.param_groups[0]["lr"] = rate * share
        length = 16384 if step % 20 == 10 else rng.choice([2048, 2048, 4096, 8192])
        batch = [documents.far(length) if i % 4 != 3 else documents.text(length) for i in range(step, step + max(1, 4096 // length))]
        tokens = torch.tensor([b[0] for b in batch])
        weights = torch.tensor([b[1] for b in batch])[:, 1:].reshape(-1)
        places = torch.stack([skipped_positions(rng, length) if rng.random() < 0.5 else torch.arange(length) for _ in batch])
        # The mask says that these are whole documents; by their positions alone transformers would take them apart.
        logits = model(input_ids=tokens, position_ids=places, attention_mask=torch.ones_like(tokens)).logits[:, :-1].reshape(-1, VOCAB)
        losses = torch.nn.functional.cross_entropy(logits, tokens[:, 1:].reshape(-1), reduction="none")
        loss = (losses * weights).sum() / weights.sum()
        descend(model, optimizers, loss)
        print(f"step {step} length {length} loss {loss.item():.3f} prose {losses[weights == 1.0].mean().item():.3f} "
              f"answers {losses[weights == 5.0].mean().item():.3f} seconds {time.time() - start:.0f}", flush=True)


@torch.no_grad()
def retrieval_accuracy(model, documents, length, pairs, count):
    right = 0
    for _ in range(count):
        tokens, answer = documents.question(length, pairs)
        right += int(model(input_ids=torch.tensor([tokens]), logits_to_keep=1).logits[0, -1].argmax().item() == answer)
    return right / count


@torch.no_grad()
def negative_log_likelihood(model, ids):
    logits = model(input_ids=torch.tensor([ids])).logits[0, :-1].double()
    return torch.nn.functional.cross_entropy(logits, torch.tensor(ids[1:]), reduction="none")


@torch.no_grad()
def greedy(model, ids, count):
    """Greedy continuation without a cache, and the gap between the two best logits at each step."""
    ids, margins = list(ids), []
    for _ in range(count):
        logits = model(input_ids=torch.tensor([ids]), logits_to_keep=1).logits[0, -1]
        top = logits.topk(2).values
        margins.append(round((top[0] - top[1]).item(), 6))
        ids.append(int(logits.argmax()))
    return ids[-count:], margins


def write_golden(out, golden_out, tokenizer, validation, held_out_prose):
    """Everything below is measured on the saved file, read back and widened to float32."""
    import transformers
    model = LlamaForCausalLM.from_pretrained(out, dtype=torch.float32).eval()
    golden = {"transformers": transformers.__version__, "torch": torch.__version__,
              "weights": "bfloat16 widened to float32"}

    windows, nll = [], []
    for i in range(8):  # eight windows of 511 tokens behind a BOS
        ids = [BOS] + validation[i * 511:(i + 1) * 511].tolist()
        losses = negative_log_likelihood(model, ids)
        windows.append({"ids": ids, "nll": round(losses.sum().item(), 6)})
        nll.append(losses)
    golden["perplexity"] = {"per_token": round(math.exp(torch.cat(nll).mean().item()), 6),
                            "predictions": sum(len(n) for n in nll), "windows": windows}

    ids = windows[0]["ids"][:64]
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids])).logits[0].float().numpy()
    logits.astype("<f4").tofile(golden_out / "golden.logits.f32")
    golden["teacher_forced"] = {"ids": ids, "shape": list(logits.shape), "logits_std": round(float(logits.std()), 6),
                                "logits": "golden.logits.f32"}

    golden["greedy"] = []
    for prompt in PROMPTS:
        ids = [BOS] + tokenizer.encode(prompt)
        produced, margins = greedy(model, ids, 64)
        golden["greedy"].append({"prompt": prompt, "prompt_ids": ids, "ids": produced, "margins": margins,
                                 "text": tokenizer.decode(ids[1:] + produced)[len(prompt):]})

    documents = Documents(tokenizer, held_out_prose, seed=11)
    accuracy = {}
    for length, pairs in ((256, 10), (1024, 20), (2000, 20), (2000, 60)):
        accuracy[f"{length} tokens, {pairs} pairs"] = retrieval_accuracy(model, documents, length, pairs, 100)
    golden["retrieval"] = {"accuracy": accuracy, "questions": []}
    for length, pairs in ((256, 10), (1024, 20), (2000, 20)):
        for _ in range(4):
            tokens, answer = documents.question(length, pairs)
            top = model(input_ids=torch.tensor([tokens]), logits_to_keep=1).logits[0, -1].topk(2)
            golden["retrieval"]["questions"].append(
                {"ids": tokens, "answer": answer, "predicted": int(top.indices[0]),
                 "margin": round((top.values[0] - top.values[1]).item(), 6)})
    dump(golden, golden_out / "golden.json")
    print("perplexity per token", golden["perplexity"]["per_token"])
    print("retrieval", accuracy)
    for sample in golden["greedy"]:
        print(repr(sample["prompt"]), "->", repr(sample["text"]))


def dump(golden, path):
    text = json.dumps(golden, indent=1, ensure_ascii=False)
    text = re.sub(r"\[\s+([-\d.,\s]+?)\s+\]", lambda m: "[" + re.sub(r"\s+", " ", m.group(1)) + "]", text)
    path.write_text(text + "\n")


def write_stretched_golden(out, golden_out, tokenizer, held_out_prose):
    """Of the saved file, as in write_golden(): two long prompts, what they are answered, and how well they are predicted."""
    import transformers
    model = LlamaForCausalLM.from_pretrained(out, dtype=torch.float32).eval()
    documents = Documents(tokenizer, held_out_prose, seed=11)
    golden = {"transformers": transformers.__version__, "torch": torch.__version__,
              "weights": "bfloat16 widened to float32", "questions": []}
    for length in (4096, 16384):
        tokens, answer = documents.question(length, 20)
        with torch.no_grad():
            top = model(input_ids=torch.tensor([tokens]), logits_to_keep=1).logits[0, -1].topk(2)
        golden["questions"].append({"ids": tokens, "answer": answer, "predicted": int(top.indices[0]),
                                    "margin": round((top.values[0] - top.values[1]).item(), 6),
                                    "nll": round(negative_log_likelihood(model, tokens).sum().item(), 6)})
    dump(golden, golden_out / "golden.json")


def write_tokenizer_json(out):
    """tokenizer.json and its config, converted from tokenizer.model and compared with it on the validation text."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers
    sp = sentencepiece.SentencePieceProcessor(model_file=str(out / "tokenizer.model"))
    pieces = [sp.id_to_piece(i) for i in range(sp.vocab_size())]
    rank = {p: i for i, p in enumerate(pieces)}
    merges = []
    for piece, i in rank.items():  # a piece of higher rank is made from any split into two known pieces, earliest first
        splits = [(piece[:k], piece[k:]) for k in range(1, len(piece)) if piece[:k] in rank and piece[k:] in rank]
        splits = [s for s in splits if not any(sp.is_byte(rank[x]) or sp.is_control(rank[x]) for x in s)]
        merges += [(sp.get_score(i), *s) for s in sorted(splits, key=lambda s: (rank[s[0]], rank[s[1]]))]
    merges.sort(key=lambda m: -m[0])
    tokenizer = Tokenizer(models.BPE(vocab=rank, merges=[(a, b) for _, a, b in merges], unk_token="<unk>",
                                     fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                           decoders.Strip(" ", 1, 0)])
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in ("<unk>", "<s>", "</s>")])
    from tokenizers.processors import TemplateProcessing
    tokenizer.post_processor = TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", BOS)])
    tokenizer.save(str(out / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>",
              "unk_token": "<unk>", "add_bos_token": True, "add_eos_token": False,
              "clean_up_tokenization_spaces": False, "model_max_length": CONTEXT}
    (out / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    return sp, tokenizer


def stretch_model(args, texts, held_out):
    """The model in args.stretch, stretched, beside it. `texts` are those that it was trained on."""
    out, golden_out = (pathlib.Path(f"{folder}-32k") for folder in (args.stretch, args.golden))
    out.mkdir(parents=True, exist_ok=True)
    golden_out.mkdir(parents=True, exist_ok=True)
    for name in ("tokenizer.model", "tokenizer.json", "tokenizer_config.json"):
        (out / name).write_bytes((args.stretch / name).read_bytes().replace(b'"model_max_length": 2048', b'"model_max_length": 32768'))
    (out / "held-out.txt").write_text(held_out)
    tokenizer = sentencepiece.SentencePieceProcessor(model_file=str(out / "tokenizer.model"))
    prose, validation = (np.array(sum((tokenizer.encode(t) for t in of), []), dtype=np.int32) for of in (texts, [held_out]))
    config = LlamaConfig.from_pretrained(args.stretch)
    config.max_position_embeddings = STRETCHED
    config.rope_parameters = {"rope_type": "yarn", "factor": STRETCHED / CONTEXT, "rope_theta": 10000.0,
                              "original_max_position_embeddings": CONTEXT}
    model = LlamaForCausalLM.from_pretrained(args.stretch, config=config, dtype=torch.float32)
    stretch(model, Documents(tokenizer, prose, seed=6), steps=120, peak=5e-4)
    model.to(torch.bfloat16).save_pretrained(out)
    write_stretched_golden(out, golden_out, tokenizer, validation)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", nargs="+", type=pathlib.Path, required=True, help="text, .txt or .txt.gz")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("models/sluice-tiny-2m"))
    parser.add_argument("--golden", type=pathlib.Path, default=pathlib.Path("tests/data/sluice-tiny-2m"))
    parser.add_argument("--steps", type=int, default=1600)
    parser.add_argument("--tokens-per-step", type=int, default=2048)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--stretch", type=pathlib.Path, metavar="MODEL", help="train nothing new: stretch this one to 32,768 positions")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(7)

    texts = [read_text(path) for path in args.text]
    cut = int(len(texts[0]) * 0.95)
    cut = texts[0].index("\n", cut) + 1
    held_out = texts[0][cut:]
    texts[0] = texts[0][:cut]
    if args.stretch is not None:
        return stretch_model(args, texts, held_out)
    args.out.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer(texts, args.out)
    encode = lambda text: np.array(tokenizer.encode(text), dtype=np.int32)
    prose, validation = np.concatenate([encode(t) for t in texts]), encode(held_out)
    print(f"{len(prose)} training tokens, {len(validation)} held out", flush=True)

    _, fast = write_tokenizer_json(args.out)
    for line in held_out.split("\n")[:400] + PROMPTS:
        same = fast.encode(line, add_special_tokens=False).ids == tokenizer.encode(line)
        assert same, f"the tokenizers differ on {line!r}"

    config = LlamaConfig(vocab_size=VOCAB, hidden_size=256, intermediate_size=768, num_hidden_layers=2,
                         num_attention_heads=4, num_key_value_heads=2, head_dim=64, max_position_embeddings=CONTEXT,
                         rms_norm_eps=1e-5, rope_theta=10000.0, tie_word_embeddings=True, bos_token_id=BOS,
                         eos_token_id=EOS, pad_token_id=None, attn_implementation="sdpa")
    model = LlamaForCausalLM(config)
    start_with_induction(model)
    print(f"{sum(p.numel() for p in model.parameters())} parameters", flush=True)
    train(model, Documents(tokenizer, prose, seed=5), args.steps, args.tokens_per_step, args.rate)
    model.to(torch.bfloat16).save_pretrained(args.out)
    size = (args.out / "model.safetensors").stat().st_size
    assert size <= 4_000_000, f"model.safetensors has {size} bytes, more than 4,000,000"
    args.golden.mkdir(parents=True, exist_ok=True)
    write_golden(args.out, args.golden, tokenizer, validation, validation)


if __name__ == "__main__":
    main()
