"""Ministral: a head size of its own and alternating windows; Ministral 3: yarn, and queries that grow with the position."""
from fidelity.spec import Spec, rope

SIZE = dict(hidden_size=34, intermediate_size=46, num_attention_heads=3, num_key_value_heads=1, head_dim=14, vocab_size=83,
            num_hidden_layers=2, rms_norm_eps=1e-2, tie_word_embeddings=False)
MODELS = {
    "ministral": Spec("MinistralConfig", dict(
        SIZE, num_hidden_layers=3, sliding_window=12, rope_parameters=rope(10000.0), layer_types=[
            "full_attention", "sliding_attention", "sliding_attention"]), {}, gguf=None,
        gguf_note="the converter knows no Ministral with layer_types"),
    "ministral3": Spec("Ministral3Config", dict(SIZE, tie_word_embeddings=True, rope_parameters=rope(
        10000.0, "yarn", factor=8.0, original_max_position_embeddings=16, beta_fast=32.0, beta_slow=1.0, mscale=1.0,
        mscale_all_dim=1.0, llama_4_scaling_beta=0.3)), {
            "queries do not grow": {"rope_parameters": lambda old: dict(old, llama_4_scaling_beta=0.0)}}, "bfloat16",
        gguf=None, gguf_note="the converter does not go without a tokenizer of Mistral's"),
}
