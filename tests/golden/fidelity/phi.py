"""Phi-2; Phi-3 with LongRoPE; Phi-4-mini with a partial rotation."""
from fidelity.faults import fill
from fidelity.spec import Spec, rope


def long_rope(pairs, original, **more):
    """Factors that no rule makes, so that a wrong choice or order shows."""
    return rope(10000.0, "longrope", short_factor=[round(1.0 + 0.13 * i, 2) for i in range(pairs)],
                long_factor=[round(1.5 + 0.9 * i * i, 2) for i in range(pairs)], original_max_position_embeddings=original,
                **more)


PHI3 = dict(hidden_size=32, intermediate_size=44, num_attention_heads=2, num_key_value_heads=1, vocab_size=83,
            num_hidden_layers=2, rms_norm_eps=1e-2)
SWAPPED = {"the other factors": {"rope_parameters": lambda old: dict(old, short_factor=old["long_factor"],
                                                                     long_factor=old["short_factor"])},
           "no attention factor": {"rope_parameters": lambda old: dict(old, attention_factor=1.0)}}


def published(original):
    """The file's form: rope_scaling holds the factors, the original context stands beside it."""
    def scaling(config):
        old = config["rope_scaling"]
        return {"type": "longrope", "long_factor": old["long_factor"], "short_factor": old["short_factor"]}
    return {"rope_scaling": scaling, "original_max_position_embeddings": original}


def gate_and_up_swapped(model):
    for layer in model.model.layers:
        rows = layer.mlp.gate_up_proj.weight
        rows.copy_(rows.roll(rows.shape[0] // 2, 0))


def sequential(model):
    """Attention first and the FFN on what it gave, as most models do, with the one norm."""
    for layer in model.model.layers:
        def forward(hidden, layer=layer, **kwargs):
            hidden = hidden + layer.self_attn(layer.input_layernorm(hidden), **kwargs)[0]
            return hidden + layer.mlp(layer.input_layernorm(hidden))
        layer.forward = forward


FUSED = {"gate and up swapped": gate_and_up_swapped}
MODELS = {
    "phi": Spec("PhiConfig", dict(
        hidden_size=32, intermediate_size=128, num_attention_heads=2, num_key_value_heads=2, vocab_size=67,
        num_hidden_layers=2, layer_norm_eps=1e-2, rope_parameters=rope(10000.0, partial_rotary_factor=0.5)), {
            "the whole head rotated": {"rope_parameters.partial_rotary_factor": 1.0}, "no biases": fill("bias", 0.0),
            "no bias of the head": fill("lm_head.bias", 0.0), "residuals one after the other": sequential}),
    "phi3": Spec("Phi3Config", dict(
        PHI3, max_position_embeddings=1024, original_max_position_embeddings=512, rope_parameters=long_rope(8, 512)),
        {**FUSED, **SWAPPED}, "bfloat16", gguf="bf16", published=published(512)),
    "phi3_beyond": Spec("Phi3Config", dict(
        PHI3, max_position_embeddings=256, original_max_position_embeddings=4, num_key_value_heads=2,
        rope_parameters=long_rope(8, 4)), {**FUSED, **SWAPPED}, published=published(4)),
    "phi3_window": Spec("Phi3Config", dict(
        dict(PHI3, hidden_size=36, num_attention_heads=3, num_key_value_heads=3), original_max_position_embeddings=256,
        sliding_window=20, rope_parameters=rope(10000.0)), FUSED, published={
            "original_max_position_embeddings": 256},
        gguf_note="llama.cpp does not apply Phi-3's window, though the file names it",
        llama_cpp_fault="no window"),
    "phi4_mini": Spec("Phi3Config", dict(
        PHI3, max_position_embeddings=1024, original_max_position_embeddings=512, tie_word_embeddings=True,
        rope_parameters=long_rope(6, 512, partial_rotary_factor=0.75)), {
            **FUSED, **SWAPPED}, "bfloat16", gguf="bf16", published=dict(published(512), partial_rotary_factor=0.75)),
}
