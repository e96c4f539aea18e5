"""Mixtures of experts whose attention is Llama's or Qwen's."""
from fidelity.faults import fill, no_biases, on_modules
from fidelity.spec import Spec, rope

SIZE = dict(hidden_size=30, num_attention_heads=3, num_key_value_heads=1, vocab_size=83, num_hidden_layers=3,
            rms_norm_eps=1e-2, tie_word_embeddings=False)
EXPERTS = {r"gate\.weight|router": 1.6}
QWEN3 = dict(SIZE, head_dim=14, intermediate_size=44, moe_intermediate_size=18, num_experts=5, num_experts_per_tok=2,
             norm_topk_prob=True, num_hidden_layers=2, rope_parameters=rope(1000000.0))
QWEN3_FAULTS = {"one expert fewer": {"num_experts_per_tok": 1}, "QK-norm gains left out": fill(("q_norm", "k_norm"), 1.0)}
NORMALIZED = {"weights of the chosen not normalized": {"norm_topk_prob": False}}
ALL_SPARSE = "the GGUF form has neither dense layers nor weights that are not normalized"
MODELS = {
    "qwen3_moe": Spec("Qwen3MoeConfig", QWEN3, {**QWEN3_FAULTS, **NORMALIZED}, gains=EXPERTS),
    "qwen3_moe_dense": Spec("Qwen3MoeConfig", dict(QWEN3, num_hidden_layers=3, mlp_only_layers=[1]),
                            {**QWEN3_FAULTS, **NORMALIZED}, gains=EXPERTS, gguf=None, gguf_note=ALL_SPARSE),
    "qwen3_moe_sparse_step": Spec("Qwen3MoeConfig", dict(
        QWEN3, num_hidden_layers=3, head_dim=12, num_key_value_heads=3, num_experts=6, num_experts_per_tok=3,
        norm_topk_prob=False, decoder_sparse_step=2, tie_word_embeddings=True, rope_parameters=rope(10000.0)), {
            "weights of the chosen normalized": {"norm_topk_prob": True}, "one expert fewer": {"num_experts_per_tok": 2}},
        "bfloat16", gains=EXPERTS, gguf=None, gguf_note=ALL_SPARSE),
}
MIXTRAL = dict(SIZE, head_dim=14, intermediate_size=18, num_local_experts=5, num_experts_per_tok=2, num_hidden_layers=2,
               rope_parameters=rope(10000.0))


def without_shared_expert(model):
    for layer in model.model.layers:
        layer.mlp.shared_expert.down_proj.weight.zero_()


def shared_expert_ungated(model):
    for layer in model.model.layers:
        layer.mlp.shared_expert_gate.forward = lambda x: x[..., :1] * 0 + 100.0


def normalized(on):
    return on_modules("TopKRouter", norm_topk_prob=on)


MODELS.update({
    "mixtral": Spec("MixtralConfig", MIXTRAL, {"one expert fewer": on_modules("TopKRouter", top_k=1)}, "bfloat16",
                    gains=EXPERTS, gguf="bf16"),
    "qwen2_moe": Spec("Qwen2MoeConfig", dict(
        SIZE, num_attention_heads=3, num_key_value_heads=3, intermediate_size=40, moe_intermediate_size=14, num_experts=4,
        num_experts_per_tok=2, shared_expert_intermediate_size=22, norm_topk_prob=False, num_hidden_layers=2,
        rope_parameters=rope(1000000.0)), {
            "shared expert left out": without_shared_expert, "shared expert not gated": shared_expert_ungated,
            "weights of the chosen normalized": normalized(True), "no biases": no_biases}, gains=EXPERTS),
    "olmoe": Spec("OlmoeConfig", dict(
        SIZE, num_key_value_heads=3, intermediate_size=16, num_experts=5, num_experts_per_tok=2, norm_topk_prob=False,
        num_hidden_layers=2, clip_qkv=0.9, rms_norm_eps=1e-5, rope_parameters=rope(10000.0)), {
            "QK-norm gains left out": fill(("q_norm", "k_norm"), 1.0), "no clipping of Q, K, V": {"clip_qkv": None},
            "weights of the chosen normalized": normalized(True)}, "bfloat16", gains=EXPERTS, gguf="bf16", embed=0.008,
        gguf_note="llama.cpp does not clip OLMoE's Q, K, V, nor does the file say where; its epsilon is 1e-5 always",
        llama_cpp_fault="no clipping of Q, K, V"),
})
