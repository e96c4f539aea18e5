"""Granite: Llama with multipliers; its mixtures of experts hold gate and up in one stacked tensor."""
from fidelity.spec import Spec, rope

SIZE = dict(hidden_size=36, num_attention_heads=3, num_key_value_heads=1, vocab_size=83, num_hidden_layers=2, rms_norm_eps=1e-2,
            tie_word_embeddings=True, embedding_multiplier=5.0, logits_scaling=3.0, residual_multiplier=0.4,
            attention_multiplier=0.3, rope_parameters=rope(10000.0))
FAULTS = {"no residual multiplier": {"residual_multiplier": 1.0}, "no embedding multiplier": {"embedding_multiplier": 1.0},
          "no logits scaling": {"logits_scaling": 1.0}, "scores scaled by the head size": {"attention_multiplier": 12 ** -0.5}}
EXPERTS = dict(num_local_experts=4, num_experts_per_tok=2, intermediate_size=16)
GAINS = {r"router\.layer\.weight": 1.6}


def expert_halves_swapped(model):
    for name, p in model.named_parameters():
        if p.dim() == 3 and ("gate_up" in name or "input_linear" in name):
            p.copy_(p.roll(p.shape[1] // 2, 1))


def without_shared_expert(model):
    for layer in model.model.layers:
        layer.shared_mlp.output_linear.weight.zero_()


SPARSE = {**FAULTS, "gate and up swapped": expert_halves_swapped}
MODELS = {
    "granite": Spec("GraniteConfig", dict(SIZE, intermediate_size=46), FAULTS, embed=0.1),
    "granitemoe": Spec("GraniteMoeConfig", dict(SIZE, **EXPERTS), SPARSE, "bfloat16", gains=GAINS, gguf="bf16", embed=0.1),
    "granitemoeshared": Spec("GraniteMoeSharedConfig", dict(SIZE, **EXPERTS, shared_intermediate_size=20), {
        **SPARSE, "shared expert left out": without_shared_expert}, gains=GAINS, embed=0.1),
}
