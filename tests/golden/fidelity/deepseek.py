"""DeepSeek V2 and V3: latent attention, grouped routing, shared experts, yarn with mscale.

The epsilon is the published 1e-6 (the norms of the latents have that one whatever the config says); the embedding is small,
so that it shows.
"""
import torch

from fidelity.faults import on_modules
from fidelity.spec import Spec, rope

SIZE = dict(hidden_size=33, num_attention_heads=3, num_key_value_heads=3, vocab_size=79, num_hidden_layers=2,
            rms_norm_eps=1e-6, kv_lora_rank=22, qk_nope_head_dim=10, qk_rope_head_dim=8, v_head_dim=12, intermediate_size=38,
            moe_intermediate_size=10, first_k_dense_replace=1, num_experts_per_tok=2)


def yarn(mscale):
    return rope(10000.0, "yarn", factor=8.0, beta_fast=32.0, beta_slow=1.0, mscale=mscale, mscale_all_dim=mscale,
                original_max_position_embeddings=24)


def without_shared_experts(model):
    for layer in model.model.layers:
        if hasattr(layer.mlp, "shared_experts"):
            layer.mlp.shared_experts.down_proj.weight.zero_()


def bias_ignored(model):
    for name, buffer in model.named_buffers():
        if name.endswith("e_score_correction_bias"):
            buffer.zero_()


def bias_in_the_weights(model):
    """The weights of the chosen taken from the biased scores instead of the scores."""
    for layer in model.model.layers:
        if not hasattr(layer.mlp, "gate"):
            continue
        gate, right = layer.mlp.gate, layer.mlp.gate.forward

        def wrong(hidden, gate=gate, right=right):
            logits, weights, chosen = right(hidden)
            biased = (logits.sigmoid() + gate.e_score_correction_bias).gather(1, chosen)
            return logits, biased / biased.sum(-1, keepdim=True) * gate.routed_scaling_factor, chosen
        gate.forward = wrong


def rope_in_halves(model):
    """The rotated parts taken in halves instead of neighbouring pairs, by reordering the rows that make them."""
    for layer in model.model.layers:
        attention = layer.self_attn
        width, rotated = attention.qk_head_dim, attention.qk_rope_head_dim
        order = list(range(0, rotated, 2)) + list(range(1, rotated, 2))
        queries = (attention.q_b_proj if attention.q_lora_rank else attention.q_proj).weight
        heads = queries.view(attention.num_heads, width, -1)
        back = [order.index(i) for i in range(rotated)]
        heads[:, -rotated:] = heads[:, -rotated:][:, back]
        keys = attention.kv_a_proj_with_mqa.weight
        keys[-rotated:] = keys[-rotated:][back]


def groups_by_best_two(model):
    """V2's groups scored as V3's are, by the sum of their two best experts."""
    gate = next(layer.mlp.gate for layer in model.model.layers if hasattr(layer.mlp, "gate"))

    def wrong(hidden):
        logits = hidden.view(-1, hidden.shape[-1]) @ gate.weight.T
        scores = logits.softmax(-1)
        groups = scores.view(len(scores), gate.num_group, -1)
        best = groups.topk(2).values.sum(-1).topk(gate.topk_group).indices
        kept = torch.zeros(groups.shape[:2]).scatter(1, best, 1)[..., None].expand(groups.shape).reshape(scores.shape)
        weights, chosen = (scores * kept).topk(gate.top_k)
        return logits, weights * gate.routed_scaling_factor, chosen
    gate.forward = wrong


COMMON = {"shared experts left out": without_shared_experts, "rope in halves": rope_in_halves,
          "routed scaling left out": on_modules("TopkRouter", routed_scaling_factor=1.0),
          "one expert fewer": on_modules("TopkRouter", top_k=1)}
YARN = {"mscale left out of the scores": on_modules("Attention", scaling=18 ** -0.5)}
GAINS = {r"gate\.weight": 1.6}
MODELS = {
    "deepseek_v2": Spec("DeepseekV2Config", dict(
        SIZE, q_lora_rank=18, n_routed_experts=6, n_group=2, topk_group=1, topk_method="group_limited_greedy",
        n_shared_experts=2, routed_scaling_factor=4.0, norm_topk_prob=False, rope_parameters=yarn(0.707)), {
            **COMMON, **YARN, "groups ignored": {"topk_method": "greedy"},
            "groups scored by their best two": groups_by_best_two},
        gains=GAINS, embed=0.003, published={"scoring_func": "softmax", "moe_layer_freq": 1, "aux_loss_alpha": 0.001},
        gguf_note="a group's score is its best expert's; llama.cpp sums the best two, as is right for V3 only",
        llama_cpp_fault="groups scored by their best two"),
    "deepseek_v2_lite": Spec("DeepseekV2Config", dict(
        SIZE, q_lora_rank=None, n_routed_experts=5, n_group=1, topk_group=1, topk_method="greedy", n_shared_experts=1,
        routed_scaling_factor=1.5, norm_topk_prob=False, rope_parameters=rope(10000.0)), COMMON, "bfloat16",
        gains=GAINS, embed=0.003, gguf="bf16",
        gguf_note="llama.cpp expects q_lora_rank but in models of 26 or 27 layers; the file lacks it, as those do",
        published={"scoring_func": "softmax", "moe_layer_freq": 1, "aux_loss_alpha": 0.001}),
    "deepseek_v3": Spec("DeepseekV3Config", dict(
        SIZE, q_lora_rank=18, n_routed_experts=6, n_group=3, topk_group=2, n_shared_experts=1, routed_scaling_factor=2.5,
        norm_topk_prob=True, num_nextn_predict_layers=0, rope_parameters=yarn(1.0)), {
            **COMMON, **YARN, "correction bias ignored": bias_ignored, "bias in the weights": bias_in_the_weights,
            "groups ignored": on_modules("TopkRouter", topk_group=3),
            "weights of the chosen not normalized": on_modules("TopkRouter", norm_topk_prob=False)},
        "bfloat16", gains=GAINS, embed=0.003, gguf="bf16", published={
            "scoring_func": "sigmoid", "topk_method": "noaux_tc", "moe_layer_freq": 1}),
}
