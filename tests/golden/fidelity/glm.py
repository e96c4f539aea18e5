"""GLM-4 (glm) and GLM-4-0414 (glm4): a partial rotation of neighbouring pairs, fused gate and up; sandwich norms in the second."""
from fidelity.authored.chatglm import ChatGLM
from fidelity.faults import fill
from fidelity.phi import gate_and_up_swapped
from fidelity.spec import Spec, rope

SIZE = dict(hidden_size=36, intermediate_size=44, num_attention_heads=3, num_key_value_heads=1, head_dim=12, vocab_size=83,
            num_hidden_layers=2, rms_norm_eps=1e-2, attention_bias=True, tie_word_embeddings=False, eos_token_id=[2, 3],
            rope_parameters=rope(10000.0, partial_rotary_factor=0.5))


def pairs_to_halves(model):
    """Rotates halves instead of neighbouring pairs, by reordering the rows of queries and keys."""
    for layer in model.model.layers:
        for projection in (layer.self_attn.q_proj, layer.self_attn.k_proj):
            for p in projection.parameters():
                heads = p.view(-1, 12, *p.shape[1:])
                heads[:, :6] = heads[:, :6][:, [0, 3, 1, 4, 2, 5]]


def without_post_norms(model):
    for layer in model.model.layers:
        layer.post_self_attn_layernorm.forward = lambda x: x
        layer.post_mlp_layernorm.forward = lambda x: x


CHATGLM = dict(
    architectures=["ChatGLMModel"], model_type="chatglm", hidden_size=36, ffn_hidden_size=44, num_attention_heads=3,
    multi_query_attention=True, multi_query_group_num=1, kv_channels=12, num_layers=2, padded_vocab_size=83, vocab_size=83,
    seq_length=256, layernorm_epsilon=1e-2, rmsnorm=True, add_qkv_bias=True, add_bias_linear=False, original_rope=True,
    post_layer_norm=True, apply_residual_connection_post_layernorm=False, rope_ratio=3, eos_token_id=2, pad_token_id=0,
    tie_word_embeddings=False)
FAULTS = {"the whole head rotated": {"rope_parameters.partial_rotary_factor": 1.0}, "rope in halves": pairs_to_halves,
          "gate and up swapped": gate_and_up_swapped}
MODELS = {
    "glm": Spec("GlmConfig", SIZE, FAULTS, converter={"layernorm_epsilon": 1e-2},
                gguf_note="the converter reads the epsilon of ChatGLM's key only, and writes a rope base of 10000"),
    "glm4": Spec("Glm4Config", dict(SIZE, hidden_size=34, num_attention_heads=4, num_key_value_heads=2),
                 {**FAULTS, "post norms left out": without_post_norms}, "bfloat16", gguf="bf16"),
    "chatglm": Spec("", CHATGLM, {
        "rope base x1.2": {"rope_ratio": 3.6}, "rope base 10000": {"rope_ratio": 1},
        "norm epsilon x10": {"layernorm_epsilon": 0.1}, "the whole head rotated": {"rotary_share": 1.0},
        "rope in halves": {"rope_in_halves": True}, "gate and up swapped": {"up_first": True},
        "activation gelu": {"activation": "gelu"}, "no biases": fill("bias", 0.0),
    }, authored=ChatGLM, converter={"num_hidden_layers": 2, "original_max_position_embeddings": 256}),
}
