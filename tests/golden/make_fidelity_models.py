#!/usr/bin/env python3
"""Makes tests/data/fidelity/<name>/: tiny random-weight models of each family and what `transformers` says of them.

    python tests/golden/make_fidelity_models.py            (all, or the names given)

Each folder is a Hugging Face directory plus golden.json (token ids, logits' shape and deviation, greedy ids with their
margins, and how far each planted fault moves the logits) and golden.logits.f32: float32, little-endian, [64][vocab],
teacher-forced, computed by eager attention from the saved file widened to float32. The weights are scaled so that the
logits' standard deviation is at least 1 and every planted fault is seen; this script fails where one is not.
"""
import copy
import json
import pathlib
import re
import sys

import torch
import transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config

OUT = pathlib.Path(__file__).resolve().parents[1] / "data" / "fidelity"
POSITIONS = 64
PROMPT, GREEDY = 8, 32
VISIBLE = 1e-2   # a planted fault moves some logit by more than this
BASE = dict(num_hidden_layers=2, rms_norm_eps=1e-2, max_position_embeddings=256, bos_token_id=1, eos_token_id=2,
            pad_token_id=None, tie_word_embeddings=False)
SHAPE = dict(hidden_size=64, intermediate_size=96, num_attention_heads=4, num_key_value_heads=2, head_dim=32)


def rope(theta, **scaling):
    return dict(rope_theta=theta, rope_type=scaling.pop("rope_type", "default"), **scaling)


# name: (config class, its fields, type on disk, tokenizer, shard size)
MODELS = {
    # Sizes that no vector width divides, so that every kernel's tail runs.
    "llama_gqa": (LlamaConfig, dict(hidden_size=54, intermediate_size=76, num_attention_heads=6, num_key_value_heads=2,
                                    head_dim=20, vocab_size=149, rope_parameters=rope(10000.0)), "float32", None, None),
    "llama_mha_bias": (LlamaConfig, dict(hidden_size=60, intermediate_size=84, num_attention_heads=5,
                                         num_key_value_heads=5, head_dim=12, vocab_size=163, attention_bias=True,
                                         mlp_bias=True, rope_parameters=rope(10000.0)), "float16", None, None),
    "llama_linear_mqa": (LlamaConfig, dict(SHAPE, num_key_value_heads=1, num_hidden_layers=3, vocab_size=160,
                                           tie_word_embeddings=True,
                                           rope_parameters=rope(10000.0, rope_type="linear", factor=4.0)),
                         "bfloat16", None, None),
    # The original context is far below 64 positions, so that all three bands of the llama3 rule are in use.
    "llama3_rope": (LlamaConfig, dict(SHAPE, vocab_size=288, rope_parameters=rope(
        500.0, rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
        original_max_position_embeddings=32)), "float32", "llama3", "150KB"),
    "llama_yarn": (LlamaConfig, dict(SHAPE, vocab_size=160, rope_parameters=rope(
        10000.0, rope_type="yarn", factor=8.0, original_max_position_embeddings=32)), "bfloat16", None, None),
    "qwen2_tied": (Qwen2Config, dict(SHAPE, head_dim=None, num_attention_heads=2, num_key_value_heads=1, vocab_size=160,
                                     tie_word_embeddings=True, use_sliding_window=False,
                                     rope_parameters=rope(1000000.0)), "bfloat16", None, None),
    "qwen2_untied": (Qwen2Config, dict(SHAPE, head_dim=None, num_attention_heads=2, num_key_value_heads=2, vocab_size=288,
                                       num_hidden_layers=2, use_sliding_window=False,
                                       rope_parameters=rope(1000000.0)), "float16", "chatml", None),
    "qwen3": (Qwen3Config, dict(SHAPE, num_attention_heads=3, num_key_value_heads=1, head_dim=32, num_hidden_layers=3,
                                vocab_size=160, tie_word_embeddings=True, use_sliding_window=False, attention_bias=False,
                                rope_parameters=rope(1000000.0)), "bfloat16", None, None),
    "mistral": (MistralConfig, dict(SHAPE, num_attention_heads=3, num_key_value_heads=1, vocab_size=160,
                                    sliding_window=None, rope_parameters=rope(10000.0)), "float16", None, None),
    "mistral_window": (MistralConfig, dict(SHAPE, num_key_value_heads=2, vocab_size=160, num_hidden_layers=3,
                                           sliding_window=16, rope_parameters=rope(10000.0)), "bfloat16", None, None),
}

TEXT = """Shall I compare thee to a summer's day? Thou art more lovely and more temperate:
Rough winds do shake the darling buds of May, And summer's lease hath all too short a date:
Sometime too hot the eye of heaven shines, And often is his gold complexion dimm'd;
And every fair from fair sometime declines, By chance, or nature's changing course, untrimm'd;
But thy eternal summer shall not fade, Nor lose possession of that fair thou owest;
Nor shall Death brag thou wander'st in his shade, When in eternal lines to time thou growest:
So long as men can breathe or eyes can see, So long lives this, and this gives life to thee.
"""  # William Shakespeare, Sonnet 18; public domain
LLAMA3_SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
                r"|\s*[\r\n]+|\s+(?!\S)|\s+")
TEMPLATES = {  # ours; only the control tokens' shapes are those of the families
    "llama3": ("{{- bos_token }}{%- for message in messages %}<|{{ message['role'] }}|>{{ message['content'] | trim }}"
               "<|end|>{%- endfor %}{%- if add_generation_prompt %}<|assistant|>{%- endif %}"),
    "chatml": ("{%- for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
               "{%- endfor %}{%- if add_generation_prompt %}<|im_start|>assistant\n{%- endif %}"),
}
SPECIALS = {"llama3": ["<|pad|>", "<|begin|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"],
            "chatml": ["<|pad|>", "<|begin|>", "<|im_end|>", "<|im_start|>"]}


def write_tokenizer(folder, kind):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(LLAMA3_SPLIT), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    specials = [AddedToken(t, special=True, normalized=False) for t in SPECIALS[kind]]
    tokenizer.train_from_iterator([TEXT], trainers.BpeTrainer(
        vocab_size=288, special_tokens=specials, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    assert tokenizer.get_vocab_size() == 288
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": SPECIALS[kind][1], "eos_token": SPECIALS[kind][2],
              "pad_token": SPECIALS[kind][0], "add_bos_token": kind == "llama3", "add_eos_token": False,
              "clean_up_tokenization_spaces": False, "model_max_length": 256, "chat_template": TEMPLATES[kind]}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


@torch.no_grad()
def randomise(model, generator):
    """Weights that make every part of the model matter: sharp attention, large logits, uneven gains and biases."""
    for name, p in model.named_parameters():
        if p.dim() == 1 and name.endswith("bias"):
            p.normal_(0.0, 0.4, generator=generator)
        elif p.dim() == 1:
            p.uniform_(0.5, 1.5, generator=generator)
        elif "embed_tokens" in name:
            p.normal_(0.0, 0.3, generator=generator)
        else:
            gain = 1.6 if "q_proj" in name or "k_proj" in name else 1.3
            p.normal_(0.0, gain / p.shape[1] ** 0.5, generator=generator)


@torch.no_grad()
def logits_of(model, ids):
    return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]


def load(folder, dtype=torch.float32, **changes):
    config = transformers.AutoConfig.from_pretrained(folder)
    for key, value in changes.items():
        setattr(config, key, value)
    return AutoModelForCausalLM.from_pretrained(folder, config=config, dtype=dtype, attn_implementation="eager").eval()


def faults(folder, config):
    """Name and wrongly built model of each planted fault."""
    parameters = copy.deepcopy(dict(config.rope_parameters))
    yield "rope base x1.2", load(folder, rope_parameters=dict(parameters, rope_theta=parameters["rope_theta"] * 1.2))
    yield "norm epsilon x10", load(folder, rms_norm_eps=config.rms_norm_eps * 10)
    yield "norm epsilon 1e-5", load(folder, rms_norm_eps=1e-5)
    yield "activation gelu", load(folder, hidden_act="gelu")
    if parameters["rope_type"] != "default":
        yield "no rope scaling", load(folder, rope_parameters=rope(parameters["rope_theta"]))
    if config.model_type == "mistral" and config.sliding_window:
        yield "no sliding window", load(folder, sliding_window=None)
        yield "sliding window + 1", load(folder, sliding_window=config.sliding_window + 1)
    without = load(folder)
    for what, part in (("no biases", "bias"), ("no QK-norm gains", "q_norm")):
        touched = [p for n, p in without.named_parameters() if part in n]
        if touched:
            for p in touched:
                p.data.fill_(0.0 if part == "bias" else 1.0)
            yield what, without


def old_style_config(folder):
    """Most published files have rope_theta and rope_scaling, and torch_dtype; the newest have rope_parameters and dtype."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    parameters = config.pop("rope_parameters")
    config["rope_theta"] = parameters.pop("rope_theta")
    config["rope_scaling"] = None if parameters["rope_type"] == "default" else parameters
    config["torch_dtype"] = config.pop("dtype")
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def make(name, seed):
    config_class, fields, dtype, tokenizer, shard = MODELS[name]
    folder = OUT / name
    for path in folder.glob("*") if folder.exists() else []:
        if path.suffix != ".gguf":
            path.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    fields = {k: v for k, v in dict(BASE, **fields).items() if not (k == "head_dim" and v is None)}
    config = config_class(**fields)
    config.dtype = dtype
    model = AutoModelForCausalLM.from_config(config)
    generator = torch.Generator().manual_seed(seed)
    randomise(model, generator)
    options = {"max_shard_size": shard} if shard else {}
    model.to(getattr(torch, dtype)).save_pretrained(folder, **options)
    for path in folder.glob("*.safetensors"):
        path.chmod(0o644)
    if name not in ("llama_linear_mqa", "qwen2_untied"):
        old_style_config(folder)
    if tokenizer:
        write_tokenizer(folder, tokenizer)
    generation = {"bos_token_id": 1, "eos_token_id": 2, "do_sample": False}
    (folder / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n")

    ids = torch.randint(3, config.vocab_size, (POSITIONS,), generator=generator).tolist()
    model = load(folder)
    logits = logits_of(model, ids)
    deviation = logits.std().item()
    rounding = (logits - logits_of(load(folder, torch.float64), ids)).abs().max().item()
    assert deviation >= 1.0, f"{name}: the logits' deviation is {deviation}"
    assert rounding < 3e-5, f"{name}: float32 rounding alone moves a logit by {rounding}; 1e-4 would prove nothing"
    moved = {}
    for fault, wrong in faults(folder, model.config):
        moved[fault] = round((logits_of(wrong, ids) - logits).abs().max().item(), 6)
        assert moved[fault] > VISIBLE, f"{name}: the fault '{fault}' moves the logits by {moved[fault]} only"

    produced, margins = ids[:PROMPT], []
    for _ in range(GREEDY):
        last = logits_of(model, produced)[-1]
        top = last.topk(2).values
        margins.append(round((top[0] - top[1]).item(), 6))
        produced = produced + [int(last.argmax())]
    golden = {"transformers": transformers.__version__, "torch": torch.__version__, "seed": seed, "weights": dtype,
              "ids": ids, "logits": "golden.logits.f32", "shape": list(logits.shape),
              "logits_std": round(deviation, 6), "float64_difference": float(f"{rounding:.2g}"),
              "fault_moves_logits_by": moved,
              "greedy": {"prompt_ids": ids[:PROMPT], "ids": produced[PROMPT:], "margins": margins}}
    logits.numpy().astype("<f4").tofile(folder / "golden.logits.f32")
    text = re.sub(r"\[\s+([-\d.,\s]+?)\s+\]", lambda m: "[" + re.sub(r"\s+", " ", m.group(1)) + "]",
                  json.dumps(golden, indent=1))
    (folder / "golden.json").write_text(text + "\n")
    size = sum(p.stat().st_size for p in folder.glob("*") if p.suffix != ".gguf")
    print(f"{name}: {size} bytes, std {deviation:.2f}, float64 {rounding:.1e}, min margin {min(margins):.4f}, {moved}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    for index, each in enumerate(MODELS):
        if len(sys.argv) == 1 or each in sys.argv[1:]:
            make(each, 100 + index)
