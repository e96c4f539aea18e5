"""Llama 4 (text): layers without rope, attention in chunks, a temperature, a router that scales its expert's input."""
from fidelity.faults import on_modules
from fidelity.spec import Spec, rope

SIZE = dict(hidden_size=32, intermediate_size=14, intermediate_size_mlp=30, num_attention_heads=2, num_key_value_heads=1,
            head_dim=12, vocab_size=67, num_hidden_layers=4, num_local_experts=3, num_experts_per_tok=1, rms_norm_eps=1e-2,
            tie_word_embeddings=False, interleave_moe_layer_step=2, no_rope_layer_interval=4, use_qk_norm=True,
            attention_chunk_size=16, attn_temperature_tuning=True, floor_scale=6, attn_scale=0.4)


def expert(p, generator):
    return p.new_empty(p.shape).normal_(0.0, 1.3 / p.shape[1] ** 0.5, generator=generator)


def without_qk_norm(model):
    for layer in model.model.layers:
        if hasattr(layer.self_attn, "qk_norm"):
            layer.self_attn.qk_norm.forward = lambda x: x


def without_shared_expert(model):
    for layer in model.model.layers:
        if layer.is_moe_layer:
            layer.feed_forward.shared_expert.down_proj.weight.zero_()


def router_on_the_output(model):
    """The score applied to what the expert gives instead of what it is given."""
    for layer in model.model.layers:
        if not layer.is_moe_layer:
            continue
        moe = layer.feed_forward

        def wrong(hidden, moe=moe):
            flat = hidden.reshape(-1, moe.hidden_dim)
            scores, logits = moe.router(flat)
            routed = moe.experts(flat.repeat(scores.shape[1], 1)).reshape(scores.shape[1], *flat.shape)
            return moe.shared_expert(flat) + (routed * scores.T[..., None]).sum(0), logits
        moe.forward = wrong


def as_llama_cpp(model):
    """Chunks of 8192 and a floor of 8192 for the temperature: neither is read from the file."""
    model.config.attention_chunk_size = 8192
    on_modules("TextAttention", floor_scale=8192)(model)


FAULTS = {
    "no chunks": {"attention_chunk_size": 8192}, "chunk + 1": {"attention_chunk_size": 17},
    "no temperature": on_modules("TextAttention", attn_temperature_tuning=False), "L2 norm of Q and K left out": without_qk_norm,
    "rope on every layer": on_modules("TextAttention", use_rope=True), "shared expert left out": without_shared_expert,
    "router's score on the output": router_on_the_output, "two experts": on_modules("Router", top_k=2),
    "chunks and temperature of 8192": as_llama_cpp}
MODELS = {
    "llama4_text": Spec("Llama4TextConfig", dict(SIZE, rope_parameters=rope(10000.0)), FAULTS, gains={
        r"experts\.(gate_up|down)_proj$": expert, r"router\.weight": 1.6, r"lm_head": 1.3},
        llama_cpp_fault="chunks and temperature of 8192",
        gguf_note="the file has neither the chunk nor the temperature's numbers: llama.cpp has 8192 for both, and 0.1"),
}
