#!/usr/bin/env python3
"""Writes tests/data/checkpoints/<name>/: checkpoints of one matrix as the tools that publish quantized models lay them out (config.json,
model.safetensors), and golden.f32, the matrix that they stand for; `gptq_model` is a whole model of one layer, without a golden file.

compressed-tensors, bitsandbytes and transformers (MXFP4, BitNet) make their own files, and give the values; GPTQ and AWQ are laid out by hand as
AutoGPTQ and AutoAWQ pack them, with values by their formula. (pip install torch transformers compressed-tensors==0.20.0
bitsandbytes==0.50.2 safetensors)"""
import json
import pathlib

import bitsandbytes.functional as bnb
import numpy as np
import torch
from compressed_tensors.compressors.naive_quantized.base import NaiveQuantizationCompressor
from compressed_tensors.compressors.pack_quantized.base import PackedQuantizationCompressor
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from safetensors.torch import save_file
from transformers.integrations.bitnet import pack_weights as pack_ternary
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

OUT = pathlib.Path(__file__).parent.parent / "data" / "checkpoints"
NAME = "model.layers.0.mlp.up_proj"
rng = np.random.default_rng(16)
torch.manual_seed(16)


def write(name, quantization, tensors, golden=None, config=None):
    folder = OUT / name
    folder.mkdir(parents=True, exist_ok=True)
    text = {"architectures": ["LlamaForCausalLM"], **(config or {}), "quantization_config": quantization}
    (folder / "config.json").write_text(json.dumps(text, indent=1) + "\n")
    if config is None:
        tensors["model.norm.weight"] = torch.linspace(0, 1, 8)
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "model.safetensors")
    if golden is not None:
        (folder / "golden.f32").write_bytes(np.ascontiguousarray(np.asarray(golden, dtype=np.float32)).tobytes())


# --- GPTQ -----------------------------------------------------------------------------------------------------------


def pack_rows(q, bits):
    """[k, n] to [k * bits / 32, n]: a word holds values that follow each other in k, the first lowest."""
    per = 32 // bits
    words = np.zeros((q.shape[0] // per, q.shape[1]), dtype=np.uint32)
    for i in range(per):
        words |= q[i::per].astype(np.uint32) << np.uint32(bits * i)
    return torch.from_numpy(words.view(np.int32))


def gptq_matrix(prefix, n, k, bits, group, act_order, sym, v2, scale_size=0.02):
    groups = k // group
    scales = (rng.uniform(0.5, 1.5, (groups, n)) * scale_size).astype(np.float16)
    zeros = np.full((groups, n), 1 << (bits - 1)) if sym else rng.integers(0, 1 << bits, (groups, n))
    if not sym:
        zeros[0, 0] = 0  # less 1 is stored as all ones
    q = rng.integers(0, 1 << bits, (k, n))
    g_idx = np.arange(k) // group
    if act_order:
        g_idx = g_idx[rng.permutation(k)]
    stored = zeros if v2 else (zeros - 1) & ((1 << bits) - 1)
    tensors = {f"{prefix}.qweight": pack_rows(q, bits), f"{prefix}.qzeros": pack_rows(stored.T, bits).T, f"{prefix}.scales": torch.from_numpy(scales),
               f"{prefix}.g_idx": torch.from_numpy(g_idx.astype(np.int32))}
    values = scales[g_idx].astype(np.float32) * (q - zeros[g_idx]).astype(np.float32)
    return tensors, values.T


def gptq_config(bits, group, act_order, sym, v2):
    return {"quant_method": "gptq", "bits": bits, "group_size": group, "desc_act": act_order, "sym": sym, "lm_head": False,
            "checkpoint_format": "gptq_v2" if v2 else "gptq", "pack_dtype": "int32", "damp_percent": 0.1}


for name, bits, group, act_order, sym, v2 in [("gptq4", 4, 128, False, False, False), ("gptq4_act_order", 4, 32, True, True, False),
                                              ("gptq4_rows", 4, -1, False, True, True), ("gptq8", 8, 64, False, False, True),
                                              ("gptq8_act_order", 8, 128, True, False, False)]:
    tensors, values = gptq_matrix(NAME, 24, 256, bits, group if group > 0 else 256, act_order, sym, v2)
    write(name, gptq_config(bits, group, act_order, sym, v2), tensors, values)

# --- AWQ ------------------------------------------------------------------------------------------------------------


def pack_awq(q):
    """[rows, n] to [rows, n / 8]: nibbles from the low one on are of columns 0, 2, 4, 6, 1, 3, 5, 7."""
    words = np.zeros((q.shape[0], q.shape[1] // 8), dtype=np.uint32)
    for i, column in enumerate([0, 2, 4, 6, 1, 3, 5, 7]):
        words |= q[:, column::8].astype(np.uint32) << np.uint32(4 * i)
    return torch.from_numpy(words.view(np.int32))


for name, group in [("awq", 128), ("awq_g64", 64)]:
    scales = (rng.uniform(0.5, 1.5, (256 // group, 24)) * 0.02).astype(np.float16)
    zeros, q = rng.integers(0, 16, scales.shape), rng.integers(0, 16, (256, 24))
    groups = np.arange(256) // group
    write(name, {"quant_method": "awq", "bits": 4, "group_size": group, "zero_point": True, "version": "gemm", "modules_to_not_convert": None},
          {f"{NAME}.qweight": pack_awq(q), f"{NAME}.qzeros": pack_awq(zeros), f"{NAME}.scales": torch.from_numpy(scales)},
          (scales[groups].astype(np.float32) * (q - zeros[groups])).T)

# --- compressed-tensors -----------------------------------------------------------------------------------------------


def compressed(name, form, compressor, args, scale, zero=None, shape=(24, 256), act_order=False):
    weights = QuantizationArgs(**args)
    scheme = QuantizationScheme(targets=["Linear"], weights=weights)
    state = {"weight": torch.randn(shape).to(scale.dtype) * 0.1, "weight_scale": scale}
    if zero is not None:
        state["weight_zero_point"] = zero
    state = compressor.compress(state, scheme)
    exact = compressor.decompress({**state, "weight_scale": scale.float()}, scheme)["weight"]
    if act_order:  # the columns as they were before they were sorted by their groups
        columns = np.arange(shape[1])
        rng.shuffle(columns)
        group_of = np.empty(shape[1], dtype=np.int32)
        group_of[columns] = np.arange(shape[1]) // args["group_size"]
        state["weight_g_idx"] = torch.from_numpy(group_of)
        # The values stay where they are; what changes is which scale they have.
        scale_of = scale.float()[:, group_of]
        grouped = scale.float().repeat_interleave(args["group_size"], dim=1)
        exact = torch.round(exact / grouped) * scale_of
    config = {"quant_method": "compressed-tensors", "format": form, "quantization_status": "compressed", "ignore": ["lm_head"],
              "kv_cache_scheme": None,
              "config_groups": {"group_0": {"targets": ["Linear"], "input_activations": None, "output_activations": None,
                                            "weights": json.loads(weights.model_dump_json())}}}
    write(name, config, {f"{NAME}.{k}": v for k, v in state.items()}, exact.float().numpy())


def some_scales(*shape):
    return torch.from_numpy(rng.uniform(0.5, 1.5, shape) * 0.02)


packed, naive = PackedQuantizationCompressor, NaiveQuantizationCompressor
four = {"num_bits": 4, "type": "int", "strategy": "group"}
compressed("w4a16", "pack-quantized", packed, {**four, "symmetric": True, "group_size": 128}, some_scales(24, 2).bfloat16())
compressed("w4a16_asym", "pack-quantized", packed, {**four, "symmetric": False, "group_size": 32}, some_scales(24, 8).half(),
           torch.from_numpy(rng.integers(-8, 8, (24, 8)).astype(np.int8)))
compressed("w4a16_act_order", "pack-quantized", packed, {**four, "symmetric": True, "group_size": 64}, some_scales(24, 4).half(), act_order=True)
compressed("w8a16", "pack-quantized", packed, {"num_bits": 8, "type": "int", "strategy": "channel", "symmetric": True}, some_scales(24, 1).half() / 16)
compressed("w8a8", "int-quantized", naive, {"num_bits": 8, "type": "int", "strategy": "channel", "symmetric": True}, some_scales(24, 1).bfloat16() / 16)
compressed("fp8_rows", "float-quantized", naive, {"num_bits": 8, "type": "float", "strategy": "channel", "symmetric": True},
           some_scales(24, 1).bfloat16() / 16, shape=(24, 96))
compressed("fp8_tensor", "float-quantized", naive, {"num_bits": 8, "type": "float", "strategy": "tensor", "symmetric": True}, some_scales(1).float() / 16)

# --- FP8 in blocks, as DeepSeek-V3 ------------------------------------------------------------------------------------

weight = (torch.randn(136, 256) * 40).to(torch.float8_e4m3fn)
scale = some_scales(2, 2).float()
exact = weight.float() * scale.repeat_interleave(128, 0)[:136].repeat_interleave(128, 1)
write("fp8_blocks", {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [128, 128]},
      {f"{NAME}.weight": weight, f"{NAME}.weight_scale_inv": scale}, exact.numpy())

# --- bitsandbytes -----------------------------------------------------------------------------------------------------

for name, double in [("nf4_double", True), ("nf4", False)]:
    codes, state = bnb.quantize_4bit(torch.randn(24, 256) * 0.1, quant_type="nf4", compress_statistics=double)
    parts = {f"{NAME}.weight.{k}": v for k, v in state.as_dict(packed=True).items()}
    write(name, {"quant_method": "bitsandbytes", "load_in_4bit": True, "load_in_8bit": False, "bnb_4bit_quant_type": "nf4",
                 "bnb_4bit_use_double_quant": double, "bnb_4bit_compute_dtype": "bfloat16", "llm_int8_skip_modules": None},
          {f"{NAME}.weight": codes, **parts}, bnb.dequantize_4bit(codes, state).numpy())

codes, scb, _ = bnb.int8_vectorwise_quant((torch.randn(24, 256) * 0.1).half())
exact = codes.float() * (scb / 127).reshape(-1, 1)
assert torch.allclose(exact, bnb.int8_vectorwise_dequant(codes, scb).float(), rtol=1e-6, atol=0)
write("bnb_int8", {"quant_method": "bitsandbytes", "load_in_8bit": True, "load_in_4bit": False, "bnb_4bit_quant_type": "fp4", "llm_int8_threshold": 6.0},
      {f"{NAME}.weight": codes, f"{NAME}.SCB": scb, f"{NAME}.weight_format": torch.tensor(0, dtype=torch.uint8)}, exact.numpy())

# --- MXFP4, as gpt-oss ------------------------------------------------------------------------------------------------

experts = "model.layers.0.mlp.experts.gate_up_proj"
blocks = torch.from_numpy(rng.integers(0, 256, (2, 16, 3, 16), dtype=np.uint8))
powers = torch.from_numpy(rng.integers(118, 124, (2, 16, 3), dtype=np.uint8))
exact = convert_moe_packed_tensors(blocks, powers, dtype=torch.float32).transpose(1, 2)  # [experts, outputs, inputs]
write("mxfp4", {"quant_method": "mxfp4", "modules_to_not_convert": []}, {f"{experts}_blocks": blocks, f"{experts}_scales": powers}, exact.numpy())

# --- a whole model, GPTQ in the order of activations ------------------------------------------------------------------

HIDDEN, FFN, VOCAB = 64, 128, 64
model = {"model.embed_tokens.weight": torch.randn(VOCAB, HIDDEN).half(), "lm_head.weight": (torch.randn(VOCAB, HIDDEN) / 8).half(),
         "model.norm.weight": torch.ones(HIDDEN).half()}
for layer in range(2):
    at = f"model.layers.{layer}."
    for norm in ("input_layernorm", "post_attention_layernorm"):
        model[f"{at}{norm}.weight"] = (1 + 0.1 * torch.randn(HIDDEN)).half()
    attention_order = None
    for part, n, k in [("self_attn.q_proj", 64, 64), ("self_attn.k_proj", 32, 64), ("self_attn.v_proj", 32, 64), ("self_attn.o_proj", 64, 64),
                       ("mlp.gate_proj", FFN, 64), ("mlp.up_proj", FFN, 64), ("mlp.down_proj", 64, FFN)]:
        tensors, _ = gptq_matrix(at + part, n, k, 4, 32, True, False, False, scale_size=1 / (6 * k ** 0.5))
        if part == "self_attn.q_proj":
            attention_order = tensors[f"{at}{part}.g_idx"]
        if part == "self_attn.k_proj":  # the same input, so the same order, as GPTQ has it; v_proj's is its own
            tensors[f"{at}{part}.g_idx"] = attention_order.clone()
        model.update(tensors)
write("gptq_model", gptq_config(4, 32, True, False, False), model,
      config={"model_type": "llama", "hidden_size": HIDDEN, "intermediate_size": FFN, "num_hidden_layers": 2, "num_attention_heads": 4,
              "num_key_value_heads": 2, "vocab_size": VOCAB, "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "hidden_act": "silu",
              "tie_word_embeddings": False, "rope_theta": 10000.0})

# --- BitNet b1.58: ternary, four rows to a byte; the scale stays beside it, and is no part of the golden values -----------

ternary = np.random.default_rng(158).integers(-1, 2, (24, 256))
write("bitnet", {"quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "offline", "modules_to_not_convert": None},
      {f"{NAME}.weight": pack_ternary(torch.from_numpy(ternary.copy())), f"{NAME}.weight_scale": torch.tensor([1.5]).bfloat16()}, ternary)
