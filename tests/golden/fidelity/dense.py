"""Dense models that differ from Llama in their norms, rotations, windows or residuals."""
import torch

from fidelity.faults import fill, on_modules
from fidelity.spec import Spec, rope

SIZE = dict(hidden_size=36, intermediate_size=50, num_attention_heads=3, num_key_value_heads=1, vocab_size=83,
            num_hidden_layers=2, tie_word_embeddings=False, rope_parameters=rope(10000.0))
RMS, LAYER = dict(SIZE, rms_norm_eps=1e-2), dict(SIZE, layer_norm_eps=1e-2)
PARTIAL = {"the whole head rotated": {"rope_parameters.partial_rotary_factor": 1.0}}


def quarter(share=0.5):
    return rope(10000.0, partial_rotary_factor=share)


def rope_in_halves(model):
    """Halves turned instead of neighbouring pairs, by reordering the rows of queries and keys."""
    for layer in model.model.layers:
        for projection in (layer.self_attn.q_proj, layer.self_attn.k_proj):
            size = layer.self_attn.head_dim
            order = [i // 2 if i % 2 == 0 else size // 2 + i // 2 for i in range(size)]
            heads = projection.weight.view(-1, size, projection.weight.shape[1])
            heads.copy_(heads[:, order].clone())


def norms_before(model):
    """The norms before attention and FFN, as most models have them, instead of after."""
    for layer in model.model.layers:
        def forward(hidden, layer=layer, **kwargs):
            hidden = hidden + layer.self_attn(layer.post_attention_layernorm(hidden), **kwargs)[0]
            return hidden + layer.mlp(layer.post_feedforward_layernorm(hidden))
        layer.forward = forward


def sequential(model):
    for layer in model.model.layers:
        def forward(hidden, layer=layer, **kwargs):
            hidden = hidden + layer.self_attn(layer.input_layernorm(hidden), **kwargs)[0]
            return hidden + layer.mlp(layer.input_layernorm(hidden))
        layer.forward = forward


def qk_norm_per_head(model):
    """The norm of queries and keys over each head instead of the whole width."""
    for layer in model.model.layers:
        attention = layer.self_attn
        for norm in (attention.q_norm, attention.k_norm):
            def forward(x, norm=norm, size=attention.head_dim):
                heads = x.view(*x.shape[:-1], -1, size)
                heads = heads * torch.rsqrt(heads.pow(2).mean(-1, keepdim=True) + norm.variance_epsilon)
                return heads.flatten(-2) * norm.weight
            norm.forward = forward


def layer_norm_epsilon(model):
    for module in model.modules():
        if type(module).__name__ == "OlmoLayerNorm":
            module.forward = lambda x: torch.nn.functional.layer_norm(x, x.shape[-1:], eps=1e-4)


def plain_gain(model):
    """The gain taken as w instead of 1 + w."""
    for name, p in model.named_parameters():
        if "norm" in name and name.endswith("weight"):
            p.sub_(1.0)


def no_windows_rope_everywhere(model):
    model.config.sliding_window = 4096
    on_modules("Attention", sliding_window=None)(model)


QK = {"QK-norm gains left out": fill(("q_norm", "k_norm"), 1.0)}
OLMO = dict(SIZE, num_attention_heads=3, num_key_value_heads=3, clip_qkv=0.9)
MODELS = {
    "olmo": Spec("OlmoConfig", OLMO, {
        "no clipping of Q, K, V": {"clip_qkv": None},
        "norm epsilon x10": layer_norm_epsilon}, embed=0.01),
    "olmo2": Spec("Olmo2Config", dict(RMS, num_key_value_heads=3), {
        **QK, "norms before": norms_before, "QK-norm per head": qk_norm_per_head}, "bfloat16", gguf="bf16"),
    "olmo3": Spec("Olmo3Config", dict(
        RMS, hidden_size=28, num_attention_heads=2, intermediate_size=36, num_hidden_layers=4, sliding_window=12,
        rope_parameters={"sliding_attention": rope(500000.0), "full_attention": rope(
            500000.0, "yarn", factor=4.0, original_max_position_embeddings=32)}), {
            **QK, "norms before": norms_before, "QK-norm per head": qk_norm_per_head,
            # transformers takes a published rope_theta for the layers without a window alone: the default is the one that both can have.
            "no yarn": {"rope_parameters": {"sliding_attention": rope(500000.0), "full_attention": rope(500000.0)}}}, "bfloat16",
        gguf="bf16", published={"rope_parameters": ..., "rope_theta": 500000.0, "rope_scaling": {
            "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}},
        without=("the layer types' rope bases swapped",)),
    "smollm3": Spec("SmolLM3Config", dict(RMS, num_hidden_layers=4, hidden_size=28, num_attention_heads=2,
                                          intermediate_size=36, no_rope_layer_interval=4, tie_word_embeddings=True), {
        "rope on every layer": {"no_rope_layers": [1, 1, 1, 1]}}),
    "starcoder2": Spec("Starcoder2Config", dict(SIZE, hidden_act="gelu_pytorch_tanh", norm_epsilon=1e-2, use_bias=True,
                                                tie_word_embeddings=True, intermediate_size=60),
                       {}, "bfloat16", gguf="bf16"),
    "starcoder2_window": Spec("Starcoder2Config", dict(
        SIZE, hidden_act="gelu_pytorch_tanh", norm_epsilon=1e-2, use_bias=True, sliding_window=12, tie_word_embeddings=True),
        {}, gguf_note="llama.cpp does not apply StarCoder2's window, nor does the file name it", llama_cpp_fault="no window"),
    "stablelm": Spec("StableLmConfig", dict(LAYER, use_qkv_bias=True, rope_parameters=quarter(), num_key_value_heads=3),
                     PARTIAL),
    "stablelm2_12b": Spec("StableLmConfig", dict(
        LAYER, qk_layernorm=True, use_parallel_residual=True, rope_parameters=quarter()), {
            **PARTIAL, "QK-norm gains left out": fill(("q_layernorm", "k_layernorm"), 1.0),
            "residuals one after the other": sequential}, "bfloat16", gguf=None,
        gguf_note="the converter loses the norms of the heads' queries and keys, and so stops"),
    "cohere": Spec("CohereConfig", dict(LAYER, logit_scale=0.3, tie_word_embeddings=True), {
        "no logit scale": {"logit_scale": 1.0}, "residuals one after the other": sequential, "rope in halves": rope_in_halves}),
    "cohere_qk_norm": Spec("CohereConfig", dict(LAYER, logit_scale=0.3, use_qk_norm=True, tie_word_embeddings=True), {
        **QK, "no logit scale": {"logit_scale": 1.0}}, "bfloat16", gguf="bf16",
        gguf_note="llama.cpp expects these norms in models of 64 layers and more only"),
    "cohere2": Spec("Cohere2Config", dict(
        LAYER, hidden_size=28, num_attention_heads=2, intermediate_size=36, num_hidden_layers=4, logit_scale=0.3,
        sliding_window=12, tie_word_embeddings=True), {
            "no logit scale": {"logit_scale": 1.0}, "rope on every layer": on_modules(
                "Attention", sliding_window=lambda old: old or 4096), "rope in halves": rope_in_halves}, "bfloat16",
        gguf="bf16", published={"sliding_window_pattern": 4, "rotary_pct": 1.0}),
    "exaone4": Spec("Exaone4Config", dict(
        RMS, hidden_size=28, num_attention_heads=2, intermediate_size=36, head_dim=14, num_hidden_layers=4,
        sliding_window=12, sliding_window_pattern=4), {
            **QK, "rope on every layer": on_modules("Attention", sliding_window=lambda old: None), "norms before": norms_before,
            "no windows, and rope everywhere": no_windows_rope_everywhere}, "bfloat16", gguf="bf16",
        gguf_note="llama.cpp has windows in models of 64 layers only", llama_cpp_fault="no windows, and rope everywhere"),
    "exaone4_full": Spec("Exaone4Config", dict(
        RMS, head_dim=12, sliding_window=None, layer_types=["full_attention"] * 2, tie_word_embeddings=True), QK),
    "nemotron": Spec("NemotronConfig", dict(
        SIZE, norm_eps=1e-2, head_dim=12, hidden_act="relu2", intermediate_size=60, rope_parameters=quarter()), {
            **PARTIAL, "norm gain w instead of 1 + w": plain_gain}, "bfloat16",
        zero_centred="norm", gguf="bf16"),
}
