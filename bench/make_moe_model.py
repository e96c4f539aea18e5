#!/usr/bin/env python3
"""Writes a Hugging Face directory of a Qwen3 mixture of experts with random weights, to compare engines on.

    bench/make_moe_model.py DIR [--hidden 1024 --layers 8 --experts 64 --per-token 8 --ffn 384]
    cp .../tokenizer.model DIR/                       # of 32,000 tokens: any; a GGUF needs one
    build/release/sluice convert DIR moe.gguf --type q8_0
    build/release/sluice bench latency moe.gguf -p 512 -n 48
    llama-bench -m moe.gguf -p 512 -n 48
"""
import argparse
import json
import pathlib
import struct

import numpy as np


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=pathlib.Path)
    for name, value in {"hidden": 1024, "layers": 8, "experts": 64, "per-token": 8, "ffn": 384, "heads": 16, "kv-heads": 4, "vocab": 32000}.items():
        parser.add_argument("--" + name, type=int, default=value)
    a = parser.parse_args()
    dim, rng = 64, np.random.default_rng(0)
    shapes = {"model.embed_tokens.weight": (a.vocab, a.hidden), "lm_head.weight": (a.vocab, a.hidden), "model.norm.weight": (a.hidden,)}
    for layer in range(a.layers):
        at = f"model.layers.{layer}."
        shapes |= {at + "self_attn.q_proj.weight": (a.heads * dim, a.hidden), at + "self_attn.k_proj.weight": (a.kv_heads * dim, a.hidden),
                   at + "self_attn.v_proj.weight": (a.kv_heads * dim, a.hidden), at + "self_attn.o_proj.weight": (a.hidden, a.heads * dim),
                   at + "self_attn.q_norm.weight": (dim,), at + "self_attn.k_norm.weight": (dim,), at + "mlp.gate.weight": (a.experts, a.hidden),
                   at + "input_layernorm.weight": (a.hidden,), at + "post_attention_layernorm.weight": (a.hidden,)}
        for expert in range(a.experts):
            to = f"{at}mlp.experts.{expert}."
            shapes |= {to + "gate_proj.weight": (a.ffn, a.hidden), to + "up_proj.weight": (a.ffn, a.hidden), to + "down_proj.weight": (a.hidden, a.ffn)}

    header, offset = {}, 0
    for name, shape in shapes.items():
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    a.directory.mkdir(parents=True, exist_ok=True)
    with open(a.directory / "model.safetensors", "wb") as out:
        text = json.dumps(header).encode()
        out.write(struct.pack("<Q", len(text)) + text)
        for shape in shapes.values():
            values = np.ones(shape) if len(shape) == 1 else rng.standard_normal(shape, dtype=np.float32) * 0.02
            out.write(values.astype("<f2").tobytes())
    config = {"architectures": ["Qwen3MoeForCausalLM"], "hidden_size": a.hidden, "num_hidden_layers": a.layers, "num_experts": a.experts,
              "num_experts_per_tok": a.per_token, "moe_intermediate_size": a.ffn, "intermediate_size": 3 * a.hidden, "head_dim": dim,
              "num_attention_heads": a.heads, "num_key_value_heads": a.kv_heads, "vocab_size": a.vocab, "max_position_embeddings": 4096,
              "rope_theta": 1e6, "rms_norm_eps": 1e-6, "norm_topk_prob": True, "decoder_sparse_step": 1, "mlp_only_layers": [],
              "tie_word_embeddings": False, "hidden_act": "silu", "torch_dtype": "float16"}
    (a.directory / "config.json").write_text(json.dumps(config, indent=1))


if __name__ == "__main__":
    main()
