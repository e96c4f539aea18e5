"""Gemma, Gemma 2 and Gemma 3 (text)."""
from fidelity.faults import fill
from fidelity.spec import Spec, rope

SIZE = dict(hidden_size=36, intermediate_size=52, num_attention_heads=3, num_key_value_heads=1, head_dim=16, vocab_size=83,
            num_hidden_layers=2, rms_norm_eps=1e-2, tie_word_embeddings=True)


def embedding_unscaled(model):
    model.model.embed_tokens.embed_scale.fill_(1.0)


def norms_as_llama(model):
    """Gains taken as w instead of 1 + w."""
    for name, p in model.named_parameters():
        if "norm" in name:
            p.sub_(1.0)


def without_post_norms(model):
    """The norms after attention and after the FFN left out."""
    for layer in model.model.layers:
        layer.post_attention_layernorm.forward = lambda x: x
        layer.post_feedforward_layernorm.forward = lambda x: x


NORMS = {"norm gain w instead of 1 + w": norms_as_llama, "embedding not scaled": embedding_unscaled}
NO_SCALAR = "the GGUF form has no query_pre_attn_scalar: llama.cpp takes the head size (hidden / heads in the 27B models)"
GEMMA2 = dict(SIZE, num_hidden_layers=3, num_attention_heads=2, hidden_size=34, query_pre_attn_scalar=16, sliding_window=12,
              final_logit_softcapping=4.0, attn_logit_softcapping=3.0, rope_parameters=rope(10000.0))
FAULTS2 = {**NORMS, "post norms left out": without_post_norms, "no soft cap on scores": {"attn_logit_softcapping": None},
           "no soft cap on logits": {"final_logit_softcapping": None}}
GEMMA3 = dict(SIZE, num_hidden_layers=6, hidden_size=24, intermediate_size=32, num_attention_heads=2, head_dim=12,
              query_pre_attn_scalar=12, sliding_window=12, rope_parameters={
                  "full_attention": rope(1000000.0, "linear", factor=8.0), "sliding_attention": rope(10000.0)})
FAULTS3 = {**NORMS, "post norms left out": without_post_norms, "QK-norm gains left out": fill(("q_norm", "k_norm"), 0.0)}
PUBLISHED3 = {"rope_parameters": ..., "rope_theta": 1000000.0, "rope_local_base_freq": 10000.0,
              "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "layer_types": ...}
MODELS = {
    "gemma": Spec("GemmaConfig", dict(SIZE, rope_parameters=rope(10000.0)), NORMS, "bfloat16", zero_centred="norm",
                  gguf="bf16"),
    "gemma2": Spec("Gemma2Config", GEMMA2, FAULTS2, "bfloat16", zero_centred="norm", gguf="bf16"),
    "gemma2_scalar": Spec("Gemma2Config", dict(GEMMA2, num_hidden_layers=2, query_pre_attn_scalar=24),
                          {**FAULTS2, "scores scaled by the head size": {"query_pre_attn_scalar": 16}}, zero_centred="norm", gguf=None, gguf_note=NO_SCALAR),
    "gemma3_text": Spec("Gemma3TextConfig", GEMMA3, FAULTS3, "bfloat16", zero_centred="norm", gguf="bf16",
                        published=dict(PUBLISHED3, sliding_window_pattern=6)),
    "gemma3_text_scalar": Spec("Gemma3TextConfig", dict(
        GEMMA3, num_hidden_layers=3, query_pre_attn_scalar=24, layer_types=[
            "sliding_attention", "sliding_attention", "full_attention"]), {**FAULTS3, "scores scaled by the head size": {"query_pre_attn_scalar": 12}}, zero_centred="norm",
        gguf=None, gguf_note=NO_SCALAR, published=dict(PUBLISHED3, sliding_window_pattern=3)),
}
