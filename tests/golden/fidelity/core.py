"""Makes one folder of tests/data/families from its Spec: random weights, the saved files, and what transformers says.

Weights are drawn again (next seed) until no routing decision is near a tie, and the head is scaled until the logits'
deviation is at least 1; both are recorded.
"""
import contextlib
import json
import math
import pathlib
import re
import types

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from fidelity import bitnet, mxfp4
from fidelity.faults import apply_changes, general_faults

OUT = pathlib.Path(__file__).resolve().parents[2] / "data" / "families"
POSITIONS, PROMPT, GREEDY = 64, 8, 32
VISIBLE = 1e-2       # a planted fault moves some logit by more than this
ROUTING_GAP = 1e-3   # the least gap between the last chosen score and the first that is not
ROUNDING = 3e-5      # float32 against float64; a tolerance of 1e-4 means something above it
COMMON = dict(max_position_embeddings=256, bos_token_id=1, eos_token_id=2, pad_token_id=None)
# These families' files say num_local_experts; the others', num_experts.
KEEP_LOCAL = ("MixtralConfig", "GptOssConfig", "Llama4TextConfig", "GraniteMoeConfig", "GraniteMoeSharedConfig",
              "GraniteMoeHybridConfig")


@torch.no_grad()
def randomise(model, spec, generator):
    """Weights that make every part matter: sharp attention, large logits, uneven gains and biases."""
    for name, p in model.named_parameters():
        gain = next((g for pattern, g in spec.gains.items() if re.search(pattern, name)), None)
        if callable(gain):
            p.copy_(gain(p, generator))
        elif p.dim() <= 1 or "norm" in name and min(p.shape) == p.shape[0] and p.dim() == 2:
            if name.endswith("bias"):
                p.normal_(0.0, gain or 0.3, generator=generator)
            elif spec.zero_centred and re.search(spec.zero_centred, name):
                p.uniform_(-0.5, 0.5, generator=generator)
            else:
                p.uniform_(0.5, 1.5, generator=generator)
        elif re.search(r"embed|wte|wpe|word_embeddings|embd", name) and "norm" not in name and "proj" not in name:
            p.normal_(0.0, gain or spec.embed, generator=generator)
        else:
            if gain is None:
                gain = 1.6 if re.search(r"q_proj|k_proj|q_b_proj", name) else 1.3
            columns = p.shape[-1] if not re.search(r"conv1d|c_attn|c_proj|c_fc", name) or p.dim() == 3 else p.shape[0]
            p.normal_(0.0, gain / columns ** 0.5, generator=generator)
    for name, buffer in model.named_buffers():
        if name.endswith("e_score_correction_bias"):
            buffer.uniform_(-0.4, 0.4, generator=generator)


@contextlib.contextmanager
def watching_routing(gaps):
    """Collects, of every top-k choice of fewer than all, the gap between the last chosen and the first left out."""
    real = torch.topk

    def topk(values, k, *args, **kwargs):
        dim = kwargs.get("dim", args[0] if args else -1)
        if k < values.shape[dim]:
            best = real(values, k + 1, dim=dim).values
            gaps.append((best.select(dim, k - 1) - best.select(dim, k)).min().item())
        return real(values, k, *args, **kwargs)

    method, torch.topk = torch.Tensor.topk, topk
    torch.Tensor.topk = lambda self, k, *args, **kwargs: topk(self, k, *args, **kwargs)
    try:
        yield
    finally:
        torch.topk, torch.Tensor.topk = real, method


@torch.no_grad()
def logits_of(model, ids):
    return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].float() if next(
        model.parameters()).dtype == torch.float32 else model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]


def load(folder, spec, dtype=torch.float32, **changes):
    if spec.authored:
        return load_authored(folder, spec, dtype, changes)
    config = AutoConfig.from_pretrained(folder)
    apply_changes(config, changes)
    if getattr(config, "quantization_config", None):
        return bitnet.load(folder, config, dtype) if spec.config == "BitNetConfig" else load_mxfp4(folder, config, dtype)
    model = AutoModelForCausalLM.from_pretrained(folder, config=config, dtype=dtype, attn_implementation=spec.attention)
    if hasattr(model, "set_experts_implementation"):
        model.set_experts_implementation("eager")
    return model.eval()


def load_authored(folder, spec, dtype, changes):
    """A model that transformers has not: the authors' formulation, in a module of authored/."""
    config = types.SimpleNamespace(**json.loads((folder / "config.json").read_text()))
    apply_changes(config, changes)
    model = spec.authored(config).to(dtype)
    model.load_state_dict({k: v.to(dtype) for k, v in load_file(folder / "model.safetensors").items()}, strict=True)
    return model.eval()


@torch.no_grad()
def load_mxfp4(folder, config, dtype):
    """The model of a folder whose expert tensors are MXFP4 blocks and scales, with their values in the type asked for."""
    tensors = {}
    for name, tensor in load_file(folder / "model.safetensors").items():
        if name.endswith("_blocks"):
            scales = load_file(folder / "model.safetensors")[name.replace("_blocks", "_scales")]
            tensors[name.removesuffix("_blocks")] = mxfp4.decode(tensor, scales).transpose(1, 2).to(dtype)
        elif not name.endswith("_scales"):
            tensors[name] = tensor.to(dtype)
    del config.quantization_config
    config.dtype = str(dtype).removeprefix("torch.")
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").to(dtype)
    model.load_state_dict(tensors, strict=True)
    model.set_experts_implementation("eager")
    return model.eval()


@torch.no_grad()
def scale_head(model, ids):
    """Scales the head (the embedding, where they are one) until the logits' deviation lies between 1 and 2."""
    head = model.get_output_embeddings().weight
    for _ in range(8):
        deviation = logits_of(model, ids).std().item()
        if 1.05 <= deviation <= 2.0:
            return
        head.mul_(1.4 / deviation if deviation > 1e-3 else 10.0)


def published_config(folder, spec):
    """Rewrites config.json as published files have it: rope_theta and rope_scaling, torch_dtype, the family's own keys."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    parameters = config.get("rope_parameters")
    if parameters and "rope_theta" in parameters:
        del config["rope_parameters"]
        config["rope_theta"] = parameters.pop("rope_theta")
        if (part := parameters.pop("partial_rotary_factor", None)) is not None and part != 1.0:
            config["partial_rotary_factor"] = part
        config["rope_scaling"] = None if parameters["rope_type"] == "default" else parameters
    config["torch_dtype"] = config.pop("dtype", spec.dtype)
    for key, value in spec.published.items():
        if value is ...:
            config.pop(key, None)
        else:
            config[key] = value(config) if callable(value) else value
    if "num_local_experts" in config and spec.config not in KEEP_LOCAL:  # the name in published files
        config["num_experts"] = config.pop("num_local_experts")
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def save(spec, folder, seed):
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*"):
        path.unlink()
    if spec.authored:
        config = types.SimpleNamespace(**spec.fields)
        model = spec.authored(config).eval()
    else:
        config = getattr(transformers, spec.config)(**{**COMMON, **spec.fields})
        config.dtype = spec.dtype
        model = AutoModelForCausalLM.from_config(config, attn_implementation=spec.attention).float().eval()
    if hasattr(model, "set_experts_implementation"):
        model.set_experts_implementation("eager")
    generator = torch.Generator().manual_seed(seed)
    randomise(model, spec, generator)
    ids = torch.randint(3, config.vocab_size, (POSITIONS,), generator=generator).tolist()
    scale_head(model, ids)
    model.to(getattr(torch, spec.dtype))
    if spec.authored:
        save_file(dict(model.state_dict()), folder / "model.safetensors", metadata={"format": "pt"})
        write_json(folder / "config.json", dict(spec.fields, torch_dtype=spec.dtype))
    else:
        model.save_pretrained(folder)
    for path in folder.glob("*.safetensors"):
        path.chmod(0o644)
    (folder / "generation_config.json").unlink(missing_ok=True)
    if not spec.authored:
        published_config(folder, spec)
    if spec.finish:
        spec.finish(folder, model)
    return ids


def greedy(model, ids):
    produced, margins = ids[:PROMPT], []
    for _ in range(GREEDY):
        last = logits_of(model, produced)[-1]
        top = last.sort(descending=True).values
        margins.append(round((top[0] - top[1]).item(), 6))
        produced = produced + [int(last.argmax())]
    return {"prompt_ids": ids[:PROMPT], "ids": produced[PROMPT:], "margins": margins}


def wrong_model(folder, spec, fault):
    if isinstance(fault, dict):
        return load(folder, spec, **fault)
    model = load(folder, spec)
    with torch.no_grad():
        fault(model)
    return model


def faults_of(spec, config):
    out = {name: fault for name, fault in general_faults(config).items() if name not in spec.without}
    return {**out, **spec.faults}


def try_seed(name, spec, folder, seed):
    ids = save(spec, folder, seed)
    model = load(folder, spec)
    gaps = []
    with watching_routing(gaps):
        logits = logits_of(model, ids)
        text = greedy(model, ids)
    if gaps and min(gaps) <= ROUTING_GAP:
        return f"a routing gap of {min(gaps):.1e}"
    deviation = logits.std().item()
    rounding = (logits - logits_of(load(folder, spec, torch.float64), ids)).abs().max().item()
    if deviation < 1.0 or not math.isfinite(deviation):
        return f"logits' deviation {deviation}"
    if rounding >= ROUNDING:
        return f"float32 rounding alone moves a logit by {rounding:.1e}"
    moved = {}
    for fault, how in faults_of(spec, model.config).items():
        moved[fault] = round((logits_of(wrong_model(folder, spec, how), ids) - logits).abs().max().item(), 6)
        if not moved[fault] > VISIBLE:
            return f"the fault '{fault}' moves the logits by {moved[fault]} only"
    reference = {"reference": spec.authored.__doc__.strip().splitlines()[0]} if spec.authored else {}
    golden = {**reference, "transformers": transformers.__version__, "torch": torch.__version__, "seed": seed,
              "weights": spec.dtype,
              "ids": ids, "logits": "golden.logits.f32", "shape": list(logits.shape),
              "logits_std": round(deviation, 6), "float64_difference": float(f"{rounding:.2g}"),
              **({"least_routing_gap": float(f"{min(gaps):.3g}")} if gaps else {}),
              "fault_moves_logits_by": moved, "greedy": text}
    logits.numpy().astype("<f4").tofile(folder / "golden.logits.f32")
    write_json(folder / "golden.json", golden)
    return None


def write_json(path, value):
    """Indented, with lists of numbers on one line."""
    text = re.sub(r"\[\s+([-\d.,e\s]+?)\s+\]", lambda m: "[" + re.sub(r"\s+", " ", m.group(1)) + "]",
                  json.dumps(value, indent=1))
    path.write_text(text + "\n")


def make(name, spec, seed, tries=60):
    folder = OUT / name
    for attempt in range(tries):
        problem = try_seed(name, spec, folder, seed + 1000 * attempt)
        if problem is None:
            golden = json.loads((folder / "golden.json").read_text())
            size = sum(p.stat().st_size for p in folder.glob("*"))
            print(f"{name}: {size} bytes, seed {golden['seed']}, std {golden['logits_std']:.2f}, "
                  f"float64 {golden['float64_difference']:.1e}, gap {golden.get('least_routing_gap')}, "
                  f"{golden['fault_moves_logits_by']}", flush=True)
            return
        print(f"  {name}, seed {seed + 1000 * attempt}: {problem}", flush=True)
    raise RuntimeError(f"{name}: no seed of {tries} would do; the last had {problem}")
