"""MiniCPM: Llama with scaled embedding, residuals and logits; MiniCPM3: the same on latent attention."""
from fidelity.authored.minicpm import MiniCPM
from fidelity.spec import Spec, rope

SCALES = dict(scale_emb=6, scale_depth=0.8, dim_model_base=12)
FAULTS = {"embedding not scaled": {"scale_emb": 1}, "residuals not scaled": {"scale_depth": 2 ** 0.5},
          "logits not scaled": {"dim_model_base": 36}}
FIRST = dict(
    architectures=["MiniCPMForCausalLM"], model_type="minicpm", hidden_size=36, intermediate_size=46, num_attention_heads=3,
    num_key_value_heads=1, num_hidden_layers=2, vocab_size=83, rms_norm_eps=1e-2, hidden_act="silu", tie_word_embeddings=True,
    max_position_embeddings=256, rope_theta=10000.0, rope_scaling=None, bos_token_id=1, eos_token_id=2, **SCALES)
GENERAL = {"norm epsilon x10": {"rms_norm_eps": 0.1}, "rope base x1.2": {"rope_theta": 12000.0}, "activation gelu": {"hidden_act": "gelu"}}
LONG = {"rope_type": "longrope", "short_factor": [1.0, 1.3, 1.7, 2.1, 2.6, 3.4], "long_factor": [1.5, 2.4, 5.1, 9.6, 15.9, 24.0],
        "original_max_position_embeddings": 256}
MODELS = {
    "minicpm": Spec("", FIRST, {**FAULTS, **GENERAL}, authored=MiniCPM, embed=0.1),
    "minicpm4": Spec("", dict(FIRST, rope_scaling=LONG), {
        **FAULTS, **GENERAL, "the other factors": {"rope_scaling": dict(LONG, short_factor=LONG["long_factor"])},
        "no factors": {"rope_scaling": None}}, "bfloat16", authored=MiniCPM, embed=0.1, gguf="bf16"),
    "minicpm3": Spec("MiniCPM3Config", dict(
        hidden_size=36, intermediate_size=40, num_attention_heads=3, num_key_value_heads=3, num_hidden_layers=2,
        vocab_size=83, rms_norm_eps=1e-6, tie_word_embeddings=False, q_lora_rank=18, kv_lora_rank=14, qk_nope_head_dim=10,
        qk_rope_head_dim=8, v_head_dim=12, rope_parameters=rope(10000.0), **SCALES), {
            **FAULTS, "the 4B model's scales": {"scale_emb": 12, "scale_depth": 1.4, "dim_model_base": 256}}, "bfloat16",
        gguf="bf16", embed=0.0005, llama_cpp_fault="the 4B model's scales",
        gguf_note="the file has no scales: llama.cpp has those of the 4B model (12, 1.4, 256)"),
}
