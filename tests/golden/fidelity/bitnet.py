"""BitNet b1.58: ternary matrices, inputs of every linear layer rounded to int8, in the three ways that transformers stores them."""
import json

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, BitNetQuantConfig
from transformers.integrations import bitnet as reference

from fidelity.spec import Spec, rope

torch._dynamo.config.disable = True  # the reference compiles its packing; the values are the same
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def quantized(name):
    return name.removesuffix(".weight").rsplit(".", 1)[-1] in PROJECTIONS


def to_bitnet(**quantization):
    """A `finish` that stores the linear layers as a published file of this quantization has them."""
    online = quantization.get("quantization_mode") == "online"
    divides = quantization.get("linear_class", "bitlinear") == "bitlinear"

    def finish(folder, _model):
        tensors = {}
        for name, tensor in load_file(folder / "model.safetensors").items():
            if online or not quantized(name):
                tensors[name] = tensor
                continue
            scale = tensor.float().abs().mean()
            ternary = (tensor.float() / scale).round().clamp(-1, 1)
            tensors[name] = reference.pack_weights(ternary)
            tensors[name.removesuffix("weight") + "weight_scale"] = (1 / scale if divides else scale).reshape(1).to(tensor.dtype)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        (folder / "model.safetensors").chmod(0o644)
        config = json.loads((folder / "config.json").read_text())
        config["quantization_config"] = {"quant_method": "bitnet", "modules_to_not_convert": None, **quantization}
        (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")

    return finish


@torch.no_grad()
def load(folder, config, dtype):
    """The model of a folder, of transformers' own linear layers."""
    settings = dict(config.quantization_config)
    settings.pop("quant_method")
    del config.quantization_config
    config.dtype = str(dtype).removeprefix("torch.")
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").to(dtype)
    reference.replace_with_bitnet_linear(model, ["lm_head"], BitNetQuantConfig(**settings))
    tensors = {}
    for name, tensor in load_file(folder / "model.safetensors").items():
        packed = tensor.dtype == torch.uint8
        if packed and settings["linear_class"] == "autobitlinear":
            tensor = reference.unpack_weights(tensor, dtype)
        elif not packed:
            tensor = tensor.to(dtype)
        tensors[name] = tensor
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]  # tied
    model.load_state_dict(tensors, strict=True)
    return model.eval()


def without_rounding(model):
    """The inputs as they are."""
    for layer in model.modules():
        if isinstance(layer, reference.AutoBitLinear):
            weight = reference.WeightQuant.apply(layer.weight) if layer.online_quant else layer.weight
            scale = 1 if layer.online_quant else layer.weight_scale
            layer.forward = lambda x, weight=weight, scale=scale: torch.nn.functional.linear(x, weight) * scale
        elif isinstance(layer, reference.BitLinear):
            weight = reference.unpack_weights(layer.weight, layer.dtype)
            layer.forward = lambda x, weight=weight, scale=layer.weight_scale: torch.nn.functional.linear(x, weight) / scale


def without_sub_norms(model):
    for layer in model.model.layers:
        layer.self_attn.attn_sub_norm = layer.mlp.ffn_sub_norm = torch.nn.Identity()


SIZE = dict(hidden_size=32, intermediate_size=64, num_attention_heads=2, num_key_value_heads=1, vocab_size=83, num_hidden_layers=2,
            rms_norm_eps=1e-2, tie_word_embeddings=True, rope_parameters=rope(10000.0))
FAULTS = {"inputs not rounded to int8": without_rounding, "no norms within the parts": without_sub_norms}


def spec(**quantization):
    return Spec("BitNetConfig", SIZE, FAULTS, "bfloat16", embed=0.1, finish=to_bitnet(**quantization), gguf=None,
                gguf_note="the converter knows only the older models, with SiLU")


MODELS = {
    "bitnet": spec(linear_class="autobitlinear", quantization_mode="offline"),
    "bitnet_online": spec(linear_class="autobitlinear", quantization_mode="online"),
    "bitnet_bitlinear": spec(linear_class="bitlinear", quantization_mode="offline"),
}
