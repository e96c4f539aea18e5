"""State-space models and recurrences: Mamba, Mamba 2, Falcon Mamba, RWKV 4 to 7, retention, linear attention."""
from fidelity.authored.retention import LinearAttention, RetNet
from fidelity.authored.rwkv import Rwkv5, Rwkv6, Rwkv7, Rwkv7Fla
from fidelity.faults import fill
from fidelity.spec import Spec


def uniform(low, high):
    return lambda p, generator: p.new_empty(p.shape).uniform_(low, high, generator=generator)


def normal(deviation):
    return lambda p, generator: p.new_empty(p.shape).normal_(0.0, deviation, generator=generator)


STATE = {r"A_log": uniform(-3.0, 0.5), r"dt_proj\.bias|dt_bias": uniform(-2.0, 0.5), r"conv1d\.weight": normal(0.6)}
MAMBA = dict(hidden_size=24, state_size=6, num_hidden_layers=2, vocab_size=83, layer_norm_epsilon=1e-2, expand=2,
             conv_kernel=4, tie_word_embeddings=True)


def gate_after_the_norm(model):
    """norm(x) silu(z) instead of norm(x silu(z))."""
    import torch
    for module in model.modules():
        if type(module).__name__.endswith("RMSNormGated"):
            right = module.forward
            module.forward = lambda x, gate=None, right=right: right(x) * torch.nn.functional.silu(gate)


def norm_over_everything(model):
    for module in model.modules():
        if type(module).__name__.endswith("RMSNormGated"):
            module.group_size *= 2


SSM_FAULTS = {"D left out": fill(".D", 0.0), "bias of dt left out": fill(("dt_proj.bias", "dt_bias"), 0.0),
              "bias of the convolution left out": fill("conv1d.bias", 0.0)}
RWKV_FAULTS = {"bonus of the newest left out": fill("time_faaaa", 0.0)}
RWKV = dict(vocab_size=83, num_hidden_layers=2, hidden_size=24, head_size=8, layer_norm_epsilon=1e-5, bos_token_id=0,
            eos_token_id=0, tie_word_embeddings=False)
NO_X10 = ("norm epsilon x10",)  # the epsilon is 1e-5 always; ten times that is hardly seen
MIX = {r"time_mix_|time_maa_[xwkvrg]$|\.x_[rwkvag]$|ffn\.x_k": uniform(0.1, 0.9), r"emb\.weight": normal(0.5)}
FAULTS7 = {"bonus of the newest left out": fill("r_k", 0.0), "in-context rate constant": fill("a2", 0.0),
           "values of the first layer not mixed in": fill("v0", 1e4), "decay does not depend on the input": fill("w2", 0.0),
           "no gate": {"gated": False}, "norm epsilon 1e-5": {"group_epsilon": 1e-5}}
GAINS7 = {**MIX, r"att\.w0": uniform(-3.0, 1.0), r"att\.[av]0": normal(0.5), r"att\.[wav]2": normal(0.4),
          r"att\.k_k": uniform(0.5, 1.5), r"att\.k_a": uniform(0.3, 1.2), r"att\.r_k": normal(0.4), r"att\.key": normal(0.25)}
# The World files' names in the Hugging Face forms that the converter knows.
HF6 = ((r"^emb\.", "rwkv.embeddings."), (r"^ln_out\.", "rwkv.ln_out."), (r"^blocks\.", "rwkv.blocks."),
       (r"\.ln0\.", ".pre_ln."), (r"\.att\.", ".attention."), (r"\.ffn\.", ".feed_forward."))
HF7 = ((r"^emb\.", "model.embeddings."), (r"^ln_out\.", "model.ln_out."), (r"^blocks\.0\.ln0\.", "model.layers.0.pre_norm."),
       (r"^blocks\.", "model.layers."), (r"\.att\.", ".attention."), (r"\.ffn\.", ".feed_forward."))
MODELS = {
    "mamba": Spec("MambaConfig", MAMBA, SSM_FAULTS, "bfloat16", gains=STATE, gguf="bf16"),
    "falcon_mamba": Spec("FalconMambaConfig", dict(MAMBA, mixer_rms_eps=1e-2), {
        **SSM_FAULTS, "norms of B, C, dt: epsilon x30": {"mixer_rms_eps": 0.3}}, "bfloat16",
        gains=STATE, gguf="bf16"),
    "mamba2": Spec("Mamba2Config", dict(
        MAMBA, num_heads=6, head_dim=8, n_groups=2, state_size=8, chunk_size=16, tie_word_embeddings=False), {
            **SSM_FAULTS, "gate after the norm": gate_after_the_norm, "norm over all groups": norm_over_everything}, "bfloat16",
        gains=STATE, gguf="bf16"),
    "rwkv4": Spec("RwkvConfig", dict(
        vocab_size=83, hidden_size=30, num_hidden_layers=2, attention_hidden_size=30, intermediate_size=60,
        layer_norm_epsilon=1e-2, rescale_every=0, context_length=256, tie_word_embeddings=False), {
            "bonus of the newest left out": fill("time_first", 0.0), "rows never halved": {"rescale_every": 0}},
        published=dict(rescale_every=1),  # once the weights are saved, which the first pass would divide
        gains={r"time_mix": uniform(0.1, 0.9), r"time_decay": uniform(-3.0, 0.5), r"time_first": normal(1.0)}, gguf=None,
        gguf_note="llama.cpp has no RWKV 4"),
    "rwkv5": Spec("", dict(RWKV, architectures=["Rwkv5ForCausalLM"], model_type="rwkv5"), {
        **RWKV_FAULTS, "no gate": {"gated": False}, "norm epsilon 1e-5": {"group_epsilon": 1e-5},
        "layer norm epsilon x1000": {"layer_norm_epsilon": 1e-2}}, authored=Rwkv5, without=NO_X10, gguf=None,
        gguf_note="llama.cpp has no RWKV 5", gains={**MIX, r"time_decay": uniform(-3.0, 0.5), r"time_faaaa": normal(0.7)}),
    "rwkv6": Spec("", dict(RWKV, architectures=["Rwkv6ForCausalLM"], model_type="rwkv6"), {
        **RWKV_FAULTS, "decay does not depend on the input": fill("time_decay_w2", 0.0),
        "mixing does not depend on the input": fill("time_maa_w2", 0.0), "norm epsilon 1e-5": {"group_epsilon": 1e-5},
        "layer norm epsilon x1000": {"layer_norm_epsilon": 1e-2}}, "bfloat16", authored=Rwkv6, without=NO_X10, gguf="bf16",
        gguf_note="the file says ranks of 32 and 64 whatever they are: llama.cpp loads models with those only", converter=dict(
            rescale_every=0, intermediate_size=48, num_hidden_layers=2), converter_names=HF6, gains={
            **MIX, r"time_decay$": uniform(-3.0, 0.0), r"time_faaaa": normal(0.7), r"time_maa_w2": normal(0.2),
            r"time_decay_w2": normal(0.5)}),
    "rwkv7_fla": Spec("", dict(
        architectures=["RWKV7ForCausalLM"], model_type="rwkv7", attn=None, attn_mode="chunk", vocab_size=83, num_hidden_layers=2, hidden_size=24,
        head_dim=8, hidden_act="sqrelu", hidden_ratio=2.0, intermediate_size=48, decay_low_rank_dim=5, a_low_rank_dim=4,
        v_low_rank_dim=3, gate_low_rank_dim=6, norm_eps=8e-5, norm_first=True, norm_bias=True, fuse_norm=True,
        max_position_embeddings=256, bos_token_id=0, eos_token_id=0, tie_word_embeddings=False), {
            **FAULTS7, "layer norm epsilon x100": {"norm_eps": 8e-3}}, "bfloat16", authored=Rwkv7Fla,
        without=(*NO_X10, "activation silu"), gguf="bf16", gains=GAINS7, gguf_note="llama.cpp computes with heads of 64 only"),
    "rwkv7": Spec("", dict(RWKV, architectures=["RWKV7ForCausalLM"], model_type="rwkv7"), {
        **FAULTS7, "layer norm epsilon x1000": {"layer_norm_epsilon": 1e-2}}, "bfloat16", authored=Rwkv7, without=NO_X10, gguf="bf16",
        converter=dict(intermediate_size=48, lora_rank_decay=5, lora_rank_iclr=4, lora_rank_value_residual_mix=3,
                       lora_rank_gate=6), converter_names=HF7,
        gguf_note="llama.cpp computes with heads of 64 only", gains=GAINS7),
    "retnet": Spec("", dict(
        architectures=["RetNetForCausalLM"], model_type="retnet", vocab_size=83, decoder_embed_dim=24,
        decoder_value_embed_dim=36, decoder_retention_heads=3, decoder_ffn_embed_dim=40, decoder_layers=2,
        layernorm_eps=1e-2, tie_word_embeddings=False), {
            "no decay": {"decays": False}, "no gate": {"gated": False}, "no rotation": {"rotated": False},
            "norm epsilon x10": {"layernorm_eps": 0.1}, "rope base x1.2": {"rope_base": 12000.0}}, authored=RetNet, gguf=None,
        gguf_note="llama.cpp has no RetNet"),
    "linear_attention": Spec("", dict(
        architectures=["LinearAttentionForCausalLM"], model_type="linear_attention", vocab_size=83, hidden_size=30,
        intermediate_size=60, num_attention_heads=3, num_hidden_layers=2, layer_norm_eps=1e-2, max_position_embeddings=72,
        denominator_eps=1e-6, tie_word_embeddings=False), {
            "not normalized": {"normalized": False}, "feature map relu": {"feature_map": "relu"},
            "norm epsilon x10": {"layer_norm_eps": 0.1}}, "bfloat16", authored=LinearAttention, gguf=None,
        gguf_note="llama.cpp has no linear attention of this kind"),
}
