"""GPT-2 and what came of it: learned positions or partial rotations, layer norms with biases, fused Q, K, V."""
from fidelity.faults import fill
from fidelity.spec import Spec, rope

GPT2 = dict(n_embd=28, n_layer=2, n_head=2, max_position_embeddings=72, vocab_size=67, layer_norm_epsilon=1e-2)
BIAS = {"no biases": fill("bias", 0.0)}
POSITIONS = {"no positions": fill("wpe", 0.0)}


def heads_interleaved(model):
    """Q, K, V split per head where they are three blocks, and the other way round."""
    for layer in model.transformer.h:
        for p in layer.attn.c_attn.parameters():
            p.copy_(p.view(3, layer.attn.num_heads, -1, *p.shape[1:]).transpose(0, 1).reshape(p.shape))


def neox_blocks(model):
    for layer in model.gpt_neox.layers:
        for p in layer.attention.query_key_value.parameters():
            p.copy_(p.view(3, 3, 12, *p.shape[1:]).transpose(0, 1).reshape(p.shape))


def scales(p, generator):
    return p.new_empty(p.shape).normal_(0.0, 1.3 / p.shape[0] ** 0.5, generator=generator)


CONV1D = {r"(c_attn|c_proj|c_fc)\.weight": scales}
NEOX = dict(hidden_size=36, num_attention_heads=3, num_hidden_layers=2, intermediate_size=60, vocab_size=83,
            layer_norm_eps=1e-2, rope_parameters=rope(10000.0, partial_rotary_factor=0.5), tie_word_embeddings=False)
NEOX_FAULTS = {**BIAS, "the whole head rotated": {"rope_parameters.partial_rotary_factor": 1.0},
               "Q, K, V taken as three blocks": neox_blocks}
NEOX_KEYS = {"rotary_pct": 0.5, "rotary_emb_base": 10000, "partial_rotary_factor": ..., "rope_theta": ..., "rope_scaling": ...}
OPT = dict(hidden_size=36, num_hidden_layers=2, num_attention_heads=3, ffn_dim=60, vocab_size=83, max_position_embeddings=72,
           tie_word_embeddings=True, word_embed_proj_dim=36)
NO_OPT = "llama.cpp has no OPT"


def opt_positions(model):
    """Positions from row 0 instead of row 2."""
    table = model.model.decoder.embed_positions
    table.offset = 0


OPT_FAULTS = {**BIAS, "activation gelu": {"activation_function": "gelu"}, "positions not offset by 2": opt_positions}
GPTJ = dict(GPT2, rotary_dim=8, tie_word_embeddings=False)
MODELS = {
    "gpt2": Spec("GPT2Config", GPT2, {**BIAS, **POSITIONS}, gains=CONV1D, published={"n_ctx": 72}),
    "gpt2_scales": Spec("GPT2Config", dict(GPT2, scale_attn_by_inverse_layer_idx=True), {
        **BIAS, **POSITIONS, "scores not scaled by the layer": {"scale_attn_by_inverse_layer_idx": False}}, "bfloat16",
        gains=CONV1D, gguf=None, gguf_note="the GGUF form cannot say scale_attn_by_inverse_layer_idx"),
    "gpt_bigcode": Spec("GPTBigCodeConfig", dict(GPT2, multi_query=True), {**BIAS, **POSITIONS}),
    "gpt_bigcode_mha": Spec("GPTBigCodeConfig", dict(GPT2, multi_query=False), {
        **BIAS, **POSITIONS, "Q, K, V taken as three blocks": heads_interleaved}, "bfloat16", gguf=None,
        gguf_note="the converter keeps the rows per head and writes one K/V head; llama.cpp reads three blocks"),
    "gpt_neox": Spec("GPTNeoXConfig", dict(NEOX, use_parallel_residual=True), {
        **NEOX_FAULTS, "residuals one after the other": {"use_parallel_residual": False}}, published=NEOX_KEYS, converter={"rotary_pct": 0.5}),
    "gpt_neox_sequential": Spec("GPTNeoXConfig", dict(NEOX, use_parallel_residual=False), {
        **NEOX_FAULTS, "residuals side by side": {"use_parallel_residual": True}}, "bfloat16", gguf="bf16", published=NEOX_KEYS, converter={"rotary_pct": 0.5}),
    "gptj": Spec("GPTJConfig", dict(GPTJ, n_inner=60), {"no biases": fill("bias", 0.0), "rope over 4 more": {"rotary_dim": 12}},
                 gguf=None, gguf_note="llama.cpp has no GPT-J"),
    "codegen": Spec("CodeGenConfig", dict(GPTJ, n_head=4, n_embd=32, rotary_dim=4, n_inner=60), {
        "no biases": fill("bias", 0.0), "rope over 4 more": {"rotary_dim": 8}}, "bfloat16",
                    gguf=None, gguf_note="llama.cpp has no CodeGen"),
    "opt": Spec("OPTConfig", dict(OPT, do_layer_norm_before=True), OPT_FAULTS, gguf=None, gguf_note=NO_OPT),
    "opt_350m": Spec("OPTConfig", dict(OPT, do_layer_norm_before=False, word_embed_proj_dim=20), {
        **OPT_FAULTS, "norms before": {"do_layer_norm_before": True}}, "bfloat16", gguf=None, gguf_note=NO_OPT),
}
