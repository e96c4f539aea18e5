"""Attention and recurrence in one model: Qwen3-Next, Jamba, Nemotron-H, Falcon-H1, Granite 4, Bamba."""
from fidelity.faults import fill, on_modules
from fidelity.moe import shared_expert_ungated, without_shared_expert
from fidelity.recurrent import SSM_FAULTS, STATE, gate_after_the_norm
from fidelity.spec import Spec, rope

ATTENTION = dict(num_attention_heads=2, num_key_value_heads=1, vocab_size=83, tie_word_embeddings=False)
GAINS = {**STATE, r"gate\.weight|router": 1.6}


def plain_gain(model):
    for name, p in model.named_parameters():
        if name.endswith("norm.weight") and "linear_attn" not in name:
            p.sub_(1.0)


def attention_ungated(model):
    """The gate's half of the query projection put so high that the sigmoid is 1."""
    for layer in model.model.layers:
        if hasattr(layer, "self_attn"):
            attention = layer.self_attn
            right = attention.q_proj.forward

            def wrong(x, right=right, size=attention.head_dim):
                out = right(x).view(*x.shape[:-1], -1, 2 * size).clone()
                out[..., size:] = 50.0
                return out.flatten(-2)
            attention.q_proj.forward = wrong


def without_qk_l2_norm(model):
    import transformers.models.qwen3_next.modeling_qwen3_next as module
    for layer in model.model.layers:
        if hasattr(layer, "linear_attn"):
            net = layer.linear_attn
            right = net.forward

            def wrong(*args, right=right, **kwargs):
                real, module.l2norm = module.l2norm, lambda x, dim=-1, eps=1e-6: x * 0.3
                try:
                    return right(*args, **kwargs)
                finally:
                    module.l2norm = real
            net.forward = wrong


QWEN3_NEXT = dict(ATTENTION, hidden_size=24, num_hidden_layers=2, head_dim=12, intermediate_size=30, rms_norm_eps=1e-6,
                  linear_conv_kernel_dim=4, linear_key_head_dim=8, linear_value_head_dim=8, linear_num_key_heads=2,
                  linear_num_value_heads=4, decoder_sparse_step=1, moe_intermediate_size=12,
                  shared_expert_intermediate_size=14, num_experts=4, num_experts_per_tok=2, norm_topk_prob=True,
                  layer_types=["linear_attention", "full_attention"],
                  rope_parameters=rope(10000.0, partial_rotary_factor=0.5))
SCALES = dict(embedding_multiplier=3.0, logits_scaling=2.0, residual_multiplier=0.6, attention_multiplier=0.4)
SCALE_FAULTS = {"no residual multiplier": {"residual_multiplier": 1.0}, "no embedding multiplier": {"embedding_multiplier": 1.0},
                "no logits scaling": {"logits_scaling": 1.0}}
MAMBA2 = dict(mamba_n_heads=6, mamba_d_head=8, mamba_n_groups=2, mamba_d_state=8, mamba_d_conv=4, mamba_expand=2,
              mamba_chunk_size=16)
NEMOTRON = dict(ATTENTION, hidden_size=24, head_dim=12, intermediate_size=32, ssm_state_size=8, mamba_num_heads=6,
                mamba_head_dim=8, n_groups=2, conv_kernel=4, expand=2, chunk_size=16, layer_norm_epsilon=1e-2,
                n_routed_experts=4, num_experts_per_tok=2, n_shared_experts=1, moe_intermediate_size=12,
                moe_shared_expert_intermediate_size=14, n_group=1, topk_group=1, routed_scaling_factor=2.0,
                norm_topk_prob=True)
NEMOTRON_FAULTS = {**SSM_FAULTS, "gate after the norm": gate_after_the_norm}


def nemotron_keys(pattern):
    return {"hybrid_override_pattern": pattern, "layers_block_type": ..., "num_hidden_layers": len(pattern)}


def bias_ignored(model):
    for name, buffer in model.named_buffers():
        if name.endswith("e_score_correction_bias"):
            buffer.zero_()


# Powers of two: the converter multiplies the weights by them, and in BF16 too that is exact.
FALCON_H1 = dict(ATTENTION, hidden_size=24, num_hidden_layers=2, head_dim=12, intermediate_size=32, rms_norm_eps=1e-2,
                 mamba_d_ssm=48, **MAMBA2, rope_parameters=rope(10000.0), lm_head_multiplier=0.5, embedding_multiplier=4.0,
                 mlp_multipliers=[0.5, 2.0], key_multiplier=0.5, attention_out_multiplier=2.0, attention_in_multiplier=0.5,
                 ssm_multipliers=[0.5, 2.0, 0.5, 2.0, 0.25], ssm_in_multiplier=2.0, ssm_out_multiplier=0.5)
FOLDED = "the multipliers are in the weights"
H1_FAULTS = {f"no {name}": {name: 1.0} for name in (
    "lm_head_multiplier", "embedding_multiplier", "key_multiplier", "attention_out_multiplier", "attention_in_multiplier",
    "ssm_in_multiplier", "ssm_out_multiplier")}
def rows_permuted_over_the_head(model):
    """Halves made pairs over the whole head, of which the first half then turns: rows 0, 1, 2 with 6, 7, 8 of 12."""
    for layer in model.model.layers:
        if hasattr(layer, "self_attn"):
            for projection in (layer.self_attn.q_proj, layer.self_attn.k_proj):
                heads = projection.weight.view(-1, 12, projection.weight.shape[1])
                heads.copy_(heads[:, [0, 1, 2, 6, 7, 8, 3, 4, 5, 9, 10, 11]].clone())


MODELS = {
    "qwen3_next": Spec("Qwen3NextConfig", QWEN3_NEXT, {
        "norm gain w instead of 1 + w": plain_gain, "attention not gated": attention_ungated,
        "bias of dt left out": fill("dt_bias", 0.0), "Q and K of the delta rule not normed": without_qk_l2_norm,
        "the whole head rotated": {"rope_parameters.partial_rotary_factor": 1.0},
        "shared expert left out": without_shared_expert, "shared expert not gated": shared_expert_ungated,
        "weights of the chosen not normalized": on_modules("TopKRouter", norm_topk_prob=False)}, "bfloat16", gains=GAINS,
        zero_centred=r"layernorm|q_norm|k_norm|model\.norm", gguf="bf16", embed=0.003, published={
            "full_attention_interval": 2, "partial_rotary_factor": 0.5}, converter={"full_attention_interval": 2},
        converter_flags=("--no-nextn",)),
    "jamba": Spec("JambaConfig", dict(
        ATTENTION, hidden_size=24, num_hidden_layers=3, intermediate_size=20, rms_norm_eps=1e-2, num_experts=3,
        num_experts_per_tok=2, expert_layer_period=2, expert_layer_offset=1, attn_layer_period=3, attn_layer_offset=1,
        mamba_d_state=6, mamba_d_conv=4, mamba_expand=2, mamba_dt_rank=3), {
            **SSM_FAULTS, "norms of B, C, dt left out": fill(("dt_layernorm", "b_layernorm", "c_layernorm"), 1.0)}, "bfloat16",
        gains=GAINS, gguf="bf16"),
    "nemotron_h": Spec("NemotronHConfig", dict(
        NEMOTRON, layers_block_type=["linear_attention", "mlp", "full_attention", "mlp"]), NEMOTRON_FAULTS, "bfloat16",
        gains=GAINS, gguf="bf16", published=nemotron_keys("M-*-"), converter={
            "hybrid_override_pattern": "M-*-", "mamba_d_head": 8, "num_experts_per_tok": None,
            "n_routed_experts": None, "n_group": None, "topk_group": None}),
    "nemotron_h_moe": Spec("NemotronHConfig", dict(
        NEMOTRON, layers_block_type=["linear_attention", "moe", "full_attention", "moe"]), {
            **NEMOTRON_FAULTS, "correction bias ignored": bias_ignored,
            "routed scaling left out": on_modules("TopkRouter", routed_scaling_factor=1.0)}, "bfloat16", gains=GAINS,
        gguf="bf16", published=nemotron_keys("ME*E"), converter={
            "hybrid_override_pattern": "ME*E", "mamba_d_head": 8}),
    "falcon_h1": Spec("FalconH1Config", dict(FALCON_H1, mamba_rms_norm=False), {
        **SSM_FAULTS, **H1_FAULTS, "no mlp_multipliers": {"mlp_multipliers": [1.0, 1.0]},
        "no ssm_multipliers": {"ssm_multipliers": [1.0] * 5}}, "bfloat16", gains=GAINS, gguf="bf16", gguf_note=FOLDED),
    "falcon_h1_norm": Spec("FalconH1Config", dict(FALCON_H1, mamba_rms_norm=True, mamba_norm_before_gate=False), {
        **SSM_FAULTS, **H1_FAULTS, "gate after the norm": {"mamba_norm_before_gate": True}}, "bfloat16", gains=GAINS,
        gguf="bf16", gguf_note=FOLDED),
    "granitemoehybrid": Spec("GraniteMoeHybridConfig", dict(
        ATTENTION, hidden_size=24, num_hidden_layers=2, intermediate_size=12, rms_norm_eps=1e-2, num_local_experts=4,
        num_experts_per_tok=2, shared_intermediate_size=14, layer_types=["linear_attention", "full_attention"],
        position_embedding_type=None, rope_parameters=rope(10000.0), **SCALES, **MAMBA2), {
            **SSM_FAULTS, **SCALE_FAULTS, "gate after the norm": gate_after_the_norm}, "bfloat16", gains=GAINS, gguf="bf16",
        without=("rope base x1.2",), published={"layer_types": ["mamba", "attention"], "position_embedding_type": "nope"}),
    "bamba": Spec("BambaConfig", dict(
        ATTENTION, hidden_size=24, num_hidden_layers=2, intermediate_size=32, rms_norm_eps=1e-2, attn_layer_indices=[1],
        rope_parameters=rope(10000.0, partial_rotary_factor=0.5), **MAMBA2), {
            **SSM_FAULTS, "gate after the norm": gate_after_the_norm,
            "the whole head rotated": {"rope_parameters.partial_rotary_factor": 1.0},
            "rows permuted over the whole head": rows_permuted_over_the_head}, "bfloat16", gains=GAINS, gguf="bf16",
        published={"attn_rotary_emb": 6}, llama_cpp_fault="rows permuted over the whole head",
        gguf_note="the converter makes pairs of halves over the whole head, though half of it turns: undone, the rows are right"),
}
