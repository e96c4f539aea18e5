"""Falcon (rope or ALiBi), MPT, BLOOM, Baichuan."""
import torch

from fidelity.authored.baichuan import Baichuan
from fidelity.faults import fill, on_modules
from fidelity.spec import Spec, rope

FALCON = dict(hidden_size=30, num_attention_heads=3, num_hidden_layers=2, ffn_hidden_size=120, vocab_size=83,
              layer_norm_epsilon=1e-2, bias=False, tie_word_embeddings=True, rope_parameters=rope(10000.0))


def alibi_off(model):
    right = model.transformer.build_mpt_alibi_tensor
    model.transformer.build_mpt_alibi_tensor = lambda *args, **kwargs: torch.zeros_like(right(*args, **kwargs))


def without_embedding_norm(model):
    model.transformer.word_embeddings_layernorm.forward = lambda x: x


def qkv_blocks(model):
    """Q, K, V taken as three blocks instead of per head."""
    for layer in model.transformer.h:
        for p in layer.self_attention.query_key_value.parameters():
            p.copy_(p.view(3, layer.self_attention.num_heads, -1, *p.shape[1:]).transpose(0, 1).reshape(p.shape))


def one_norm_for_both(model):
    for layer in model.transformer.h:
        layer.ln_mlp = layer.ln_attn


MPT = dict(d_model=30, n_heads=3, n_layers=2, expansion_ratio=2, max_seq_len=128, vocab_size=83, layer_norm_epsilon=1e-5,
           no_bias=True, learned_pos_emb=False)
BAICHUAN = dict(architectures=["BaichuanForCausalLM"], model_type="baichuan", hidden_size=36, intermediate_size=46,
                num_attention_heads=3, num_hidden_layers=2, vocab_size=83, rms_norm_eps=1e-2, hidden_act="silu",
                tie_word_embeddings=False, bos_token_id=1, eos_token_id=2, pad_token_id=0)
BAICHUAN_FAULTS = {"norm epsilon x10": {"rms_norm_eps": 0.1}, "activation gelu": {"hidden_act": "gelu"}}
MODELS = {
    "falcon_7b": Spec("FalconConfig", dict(FALCON, multi_query=True, parallel_attn=True, new_decoder_architecture=False),
                      published=dict(num_kv_heads=..., n_head_kv=1), converter={"num_kv_heads": 1}),
    "falcon_40b": Spec("FalconConfig", dict(
        FALCON, num_attention_heads=4, num_kv_heads=2, hidden_size=32, ffn_hidden_size=128,
        new_decoder_architecture=True, parallel_attn=True,
        multi_query=True), {"one norm for attention and FFN": one_norm_for_both}, "bfloat16", gguf="bf16"),
    "falcon_rw": Spec("FalconConfig", dict(
        FALCON, num_attention_heads=4, hidden_size=32, ffn_hidden_size=60, alibi=True, multi_query=False,
        parallel_attn=False, bias=True,
        new_decoder_architecture=False), {"rope instead of ALiBi": {"alibi": False}, "no biases": fill("bias", 0.0)},
        without=("rope base x1.2",), attention="sdpa",  # the eager form of transformers 5.24 adds ALiBi twice
        gguf=None, gguf_note="llama.cpp's Falcon has no ALiBi, and its FFN no norm of its own"),
    "mpt": Spec("MptConfig", dict(MPT, attn_config=dict(alibi=True, clip_qkv=1.2)), {
        "ALiBi off": alibi_off, "no clipping of Q, K, V": {"attn_config.clip_qkv": None},
        "norm epsilon x1000": {"layer_norm_epsilon": 1e-2}}, published=dict(architectures=["MPTForCausalLM"]),
        without=("norm epsilon x10",), gguf_note="the converter writes an epsilon of 1e-5 always"),
    "bloom": Spec("BloomConfig", dict(hidden_size=24, n_head=3, n_layer=2, vocab_size=83, layer_norm_epsilon=1e-2), {
        "ALiBi off": on_modules("Attention", beta=0.0), "embedding norm left out": without_embedding_norm,
        "no biases": fill("bias", 0.0),
        "Q, K, V taken as three blocks": qkv_blocks}, published=dict(n_embed=24, hidden_size=...)),
    "baichuan_7b": Spec("", dict(BAICHUAN, max_position_embeddings=256), {
        **BAICHUAN_FAULTS, "rope base x1.2": {"rope_theta": 12000.0}, "ALiBi instead of rope": {"model_max_length": 256}},
        authored=Baichuan, gguf=None, gguf_note="the converter does not get past its first tensor"),
    "baichuan2_13b": Spec("", dict(BAICHUAN, model_max_length=256), {
        **BAICHUAN_FAULTS, "ALiBi off": {"alibi": False}, "head not normalized": {"normalized_head": False}},
        "bfloat16", authored=Baichuan, gguf=None,
        gains={r"model\.norm": lambda p, generator: p.new_empty(p.shape).uniform_(0.9, 2.4, generator=generator)},
        gguf_note="llama.cpp knows the 13B form by its 40 layers, and its converter does not normalize the head"),
}
