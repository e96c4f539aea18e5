#!/usr/bin/env python3
"""Makes the GGUF twins of tests/data/fidelity/<name>/ with the `gguf` package's writer; shares no code with src/weights.

    python tests/golden/make_gguf_twins.py             (after make_fidelity_models.py)

Each folder gets model.<type>.gguf and gguf.json, which names the reference logits of each file. A twin in the type of
the safetensors file has the same weights, and so the same logits. A quantized twin has its own: transformers runs the
dequantized weights in float32. The folders gguf_q4_k and gguf_q6_k have no Hugging Face side: their weights are random
bytes that are valid blocks (which reaches every value of the packed scales), in sizes that a block of 256 divides.

GGUF's "llama" rotates neighbouring pairs where transformers rotates halves, so the rows of Q and K (weights and biases)
are interleaved per head; "qwen2" and "qwen3" keep transformers' order. llama3's rope scaling is the tensor rope_freqs.
"""
import json
import math
import pathlib
import re

import gguf
import numpy as np
import torch
import transformers
from safetensors import safe_open
from transformers import AutoModelForCausalLM, LlamaConfig

from make_fidelity_models import OUT, POSITIONS, logits_of

Type = gguf.GGMLQuantizationType
TWINS = {  # the first is the type of the safetensors file
    "llama_gqa": ["f32", "f16"], "llama_mha_bias": ["f16"], "llama_linear_mqa": ["bf16", "q8_0", "q4_0"],
    "llama3_rope": ["f32"], "llama_yarn": ["bf16"], "qwen2_tied": ["bf16"], "qwen2_untied": ["f16", "q8_0", "q4_0"],
    "qwen3": ["bf16", "q8_0", "q4_0"], "mistral": ["f16"], "mistral_window": ["bf16"],
}
LAYER_NAMES = {
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}
ARCH = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}


def gguf_name(name):
    whole = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
             "lm_head.weight": "output.weight"}
    if name in whole:
        return whole[name]
    layer, part, kind = re.fullmatch(r"model\.layers\.(\d+)\.(.+)\.(weight|bias)", name).groups()
    return f"blk.{layer}.{LAYER_NAMES[part]}.{kind}"


def head_dim(config):
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def heads_of(name, config):
    """Number of heads whose rows are interleaved in this tensor; 0 for none."""
    if ARCH[config.model_type] != "llama":
        return 0
    if re.search(r"q_proj", name):
        return config.num_attention_heads
    return config.num_key_value_heads if re.search(r"k_proj", name) else 0


def halves_to_pairs(rows, heads):
    half = rows.shape[0] // heads // 2
    return rows.reshape(heads, 2, half, -1).swapaxes(1, 2).reshape(rows.shape)


def pairs_to_halves(rows, heads):
    half = rows.shape[0] // heads // 2
    return rows.reshape(heads, half, 2, -1).swapaxes(1, 2).reshape(rows.shape)


def read_safetensors(folder):
    tensors = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():
                tensors[name] = file.get_tensor(name).float().numpy()
    return tensors


def encode(values, kind):
    if values.ndim == 1 or kind == "f32":
        return np.ascontiguousarray(values, dtype=np.float32), None
    if kind == "f16":
        return np.ascontiguousarray(values).astype(np.float16), None
    return gguf.quantize(np.ascontiguousarray(values), Type[kind.upper()]), Type[kind.upper()]


def rope_freqs(config, parameters):
    """Divisor of each rope frequency under the llama3 rule: 1 for short waves, `factor` for long, a blend between."""
    pairs = head_dim(config) // 2
    out = []
    for i in range(pairs):
        turns = parameters["original_max_position_embeddings"] * parameters["rope_theta"] ** (-i / pairs) / (2 * math.pi)
        share = (turns - parameters["low_freq_factor"]) / (parameters["high_freq_factor"] - parameters["low_freq_factor"])
        share = min(1.0, max(0.0, share))
        out.append(1.0 / ((1.0 - share) / parameters["factor"] + share))
    return np.array(out, dtype=np.float32)


def add_keys(writer, config, name, kind):
    writer.add_name(f"sluice fidelity {name}")
    writer.add_file_type(int({"f32": 0, "f16": 1, "bf16": 32, "q8_0": 7, "q4_0": 2, "q4_k": 14, "q6_k": 18}[kind]))
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head_dim(config))
    writer.add_value_length(head_dim(config))
    writer.add_rope_dimension_count(head_dim(config))
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    parameters = config.rope_parameters
    writer.add_rope_freq_base(parameters["rope_theta"])
    if parameters["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(parameters["factor"])
    if parameters["rope_type"] == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(parameters["factor"])
        writer.add_rope_scaling_orig_ctx_len(parameters["original_max_position_embeddings"])
    if config.model_type == "mistral" and config.sliding_window:
        writer.add_sliding_window(config.sliding_window)


def add_tokenizer(writer, folder):
    path = folder / "tokenizer.json"
    if not path.exists():
        writer.add_tokenizer_model("no_vocab")
        return
    tokenizer, config = json.loads(path.read_text()), json.loads((folder / "tokenizer_config.json").read_text())
    special = {t["content"] for t in tokenizer["added_tokens"] if t["special"]}
    tokens = [t for t, _ in sorted(tokenizer["model"]["vocab"].items(), key=lambda item: item[1])]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe")  # both tokenizers split as Llama 3 does
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL if t in special else gguf.TokenType.NORMAL for t in tokens])
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in tokenizer["model"]["merges"]])
    writer.add_bos_token_id(tokens.index(config["bos_token"]))
    writer.add_eos_token_id(tokens.index(config["eos_token"]))
    writer.add_pad_token_id(tokens.index(config["pad_token"]))
    writer.add_add_bos_token(config["add_bos_token"])
    writer.add_chat_template(config["chat_template"])


def write(path, name, kind, config, tensors, folder):
    """`tensors`: GGUF name to (encoded array, its type where the array's dtype does not say it)."""
    writer = gguf.GGUFWriter(path, ARCH[config.model_type])
    add_keys(writer, config, name, kind)
    add_tokenizer(writer, folder)
    if config.rope_parameters["rope_type"] == "llama3":
        writer.add_tensor("rope_freqs.weight", rope_freqs(config, config.rope_parameters))
    for each, (data, data_type) in tensors.items():
        writer.add_tensor(each, data, raw_dtype=data_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@torch.no_grad()
def logits_from_file(path, config, ids):
    """Reads the file back, dequantizes it, and runs transformers on it in float32."""
    config.dtype = "float32"
    config._attn_implementation = "eager"
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    stored = {t.name: gguf.dequantize(t.data, t.tensor_type).astype(np.float32).reshape(tuple(int(n) for n in t.shape[::-1]))
              for t in gguf.GGUFReader(path).tensors}
    for name, p in model.named_parameters():
        values = stored.pop(gguf_name(name))
        heads = heads_of(name, config)
        p.copy_(torch.from_numpy(pairs_to_halves(values, heads).copy() if heads else values.copy()))
    assert set(stored) <= {"rope_freqs.weight"}, f"{path} has tensors of no use: {sorted(stored)}"
    return logits_of(model, ids)


def make_twins(name, kinds):
    folder = OUT / name
    config = transformers.AutoConfig.from_pretrained(folder)
    golden = json.loads((folder / "golden.json").read_text())
    reference = torch.from_numpy(np.fromfile(folder / golden["logits"], "<f4").reshape(golden["shape"]))
    files = {}
    for kind in kinds:
        tensors = {}
        for each, values in read_safetensors(folder).items():
            heads = heads_of(each, config)
            tensors[gguf_name(each)] = encode(halves_to_pairs(values, heads) if heads else values, kind)
        path = folder / f"model.{kind}.gguf"
        write(path, name, kind, config, tensors, folder)
        logits = logits_from_file(path, config, golden["ids"])
        difference = (logits - reference).abs().max().item()
        same = kind == kinds[0]
        if same:
            assert difference < 1e-6, f"{path}: the twin's logits differ by {difference}"
        else:
            logits.numpy().astype("<f4").tofile(folder / f"golden.{kind}.logits.f32")
        files[path.name] = {"logits": golden["logits"] if same else f"golden.{kind}.logits.f32",
                            "differs_from_safetensors_by": float(f"{difference:.3g}")}
        print(name, kind, path.stat().st_size, f"{difference:.3g}")
    (folder / "gguf.json").write_text(json.dumps({"gguf": gguf_version(), "files": files}, indent=1) + "\n")


def gguf_version():
    import importlib.metadata
    return importlib.metadata.version("gguf")


def random_blocks(rng, rows, columns, kind, deviation):
    """Blocks of random bytes whose float16 scales are set so that the values have this standard deviation."""
    block_elems, block_bytes = gguf.GGML_QUANT_SIZES[Type[kind.upper()]]
    assert columns % block_elems == 0
    count = columns // block_elems
    data = rng.integers(0, 256, (rows, count, block_bytes), dtype=np.uint8)

    def set_scales(d):
        d = (d * rng.uniform(0.7, 1.3, (rows, count, 1))).astype(np.float16)
        if kind == "q4_k":  # d, dmin: the minimum takes away what the mean code adds
            data[..., 0:2] = d.view(np.uint8)
            data[..., 2:4] = (d.astype(np.float32) * 7.5).astype(np.float16).view(np.uint8)
        else:
            data[..., 208:210] = d.view(np.uint8)
        return gguf.dequantize(data.reshape(rows, -1), Type[kind.upper()])

    unit = set_scales(1e-2).std() / 1e-2
    set_scales(deviation / unit)
    return data.reshape(rows, -1), Type[kind.upper()]


def make_k_quant(kind, seed):
    name = f"gguf_{kind}"
    folder = OUT / name
    folder.mkdir(parents=True, exist_ok=True)
    config = LlamaConfig(hidden_size=256, intermediate_size=256, num_attention_heads=4, num_key_value_heads=1, head_dim=64,
                         num_hidden_layers=1, vocab_size=160, max_position_embeddings=256, rms_norm_eps=1e-2,
                         tie_word_embeddings=False, bos_token_id=1, eos_token_id=2, pad_token_id=None,
                         rope_parameters={"rope_type": "default", "rope_theta": 10000.0})
    rng = np.random.default_rng(seed)
    tensors = {}
    for each, p in AutoModelForCausalLM.from_config(config).named_parameters():
        if p.dim() == 1:
            tensors[gguf_name(each)] = rng.uniform(0.5, 1.5, p.shape[0]).astype(np.float32), None
            continue
        wide = 0.3 if "embed" in each else (1.6 if re.search("[qk]_proj", each) else 1.3) / p.shape[1] ** 0.5
        tensors[gguf_name(each)] = random_blocks(rng, *p.shape, kind, wide)
    path = folder / f"model.{kind}.gguf"
    write(path, name, kind, config, tensors, folder)
    ids = [int(i) for i in rng.integers(3, config.vocab_size, POSITIONS)]
    logits = logits_from_file(path, config, ids)
    assert logits.std() >= 1.0
    logits.numpy().astype("<f4").tofile(folder / "golden.logits.f32")
    golden = {"transformers": transformers.__version__, "torch": torch.__version__, "seed": seed, "weights": kind,
              "ids": ids, "logits": "golden.logits.f32", "shape": list(logits.shape),
              "logits_std": round(logits.std().item(), 6)}
    text = re.sub(r"\[\s+([-\d.,\s]+?)\s+\]", lambda m: "[" + re.sub(r"\s+", " ", m.group(1)) + "]",
                  json.dumps(golden, indent=1))
    (folder / "golden.json").write_text(text + "\n")
    files = {path.name: {"logits": "golden.logits.f32"}}
    (folder / "gguf.json").write_text(json.dumps({"gguf": gguf_version(), "files": files}, indent=1) + "\n")
    print(name, path.stat().st_size, f"std {logits.std():.2f}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    for each, types in TWINS.items():
        make_twins(each, types)
    make_k_quant("q4_k", 201)
    make_k_quant("q6_k", 202)
