"""gpt-oss: sinks, alternating windows, yarn without truncation, clamped SwiGLU with biases, MXFP4 experts."""
import json

from safetensors.torch import load_file, save_file

from fidelity import mxfp4
from fidelity.faults import fill, on_modules
from fidelity.spec import Spec, rope

SIZE = dict(hidden_size=32, intermediate_size=32, num_attention_heads=2, num_key_value_heads=1, head_dim=12, vocab_size=67,
            num_hidden_layers=2, num_local_experts=3, num_experts_per_tok=2, sliding_window=12, rms_norm_eps=1e-2,
            rope_parameters=rope(1500.0, "yarn", factor=8.0, beta_fast=32.0, beta_slow=1.0,
                                                   truncate=False, original_max_position_embeddings=32))


def expert(p, generator):
    return p.new_empty(p.shape).normal_(0.0, 1.3 / p.shape[1] ** 0.5, generator=generator)


def strong_expert(p, generator):
    """So strong that the gate and the up projection pass the clamp at 7."""
    return expert(p, generator).mul_(3.0)


def weak_expert(p, generator):
    return expert(p, generator).mul_(0.15)


GAINS = {r"experts\.gate_up_proj$": strong_expert, r"experts\.down_proj$": weak_expert, r"router\.weight": 1.6,
         r"proj_bias": lambda p, generator: p.new_empty(p.shape).normal_(0.0, 0.4, generator=generator),
         r"sinks": lambda p, generator: p.new_empty(p.shape).normal_(1.0, 1.0, generator=generator)}
FAULTS = {
    "no sinks": fill("sinks", -1e4), "sinks zero": fill("sinks", 0.0), "router bias ignored": fill("router.bias", 0.0),
    "expert biases ignored": fill("proj_bias", 0.0), "SwiGLU unclamped": on_modules("Experts", limit=1e4),
    "plain SiLU gate": on_modules("Experts", alpha=1.0), "one expert fewer": on_modules("TopKRouter", top_k=1),
    "yarn ramp truncated": {"rope_parameters.truncate": True}}


def to_mxfp4(folder, _model):
    path = folder / "model.safetensors"
    out = {}
    for name, tensor in load_file(path).items():
        if name.endswith(("experts.gate_up_proj", "experts.down_proj")):
            blocks, scales = mxfp4.encode(tensor.transpose(1, 2).contiguous())
            out[name + "_blocks"], out[name + "_scales"] = blocks.contiguous(), scales.contiguous()
        else:
            out[name] = tensor
    save_file(out, path, metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "mxfp4", "modules_to_not_convert": [
        "model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"]}
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


PUBLISHED = {"initial_context_length": 32, "experts_per_token": 2}
TWIN = dict(gguf_note="the file cannot say that yarn's ramp is not truncated, nor the clamp (7) and the sigmoid's gain (1.702)",
            llama_cpp_fault="yarn ramp truncated")
MODELS = {
    "gpt_oss": Spec("GptOssConfig", SIZE, FAULTS, "bfloat16", gains=GAINS, gguf="bf16", published=PUBLISHED,
                    without=("activation gelu",), **TWIN),
    "gpt_oss_mxfp4": Spec("GptOssConfig", SIZE, FAULTS, "bfloat16", gains=GAINS, gguf="bf16", published=PUBLISHED,
                          without=("activation gelu",), finish=to_mxfp4, **TWIN),
}
