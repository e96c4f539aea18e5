"""Makes one folder of an encoder or embedding model: hidden states and pooled vectors, or scores, of two texts.

golden.json has the texts' ids; golden.hidden.f32 holds the last hidden states, float32, [tokens of both][hidden], one text
after the other, each computed alone; golden.embeddings.f32 the pooled and normalized vectors, [2][hidden]. A reranker has
`scores` instead, one number a text.
"""
import dataclasses
import json

import torch
import transformers
from transformers import AutoConfig

from fidelity.core import COMMON, OUT, ROUNDING, VISIBLE, published_config, randomise, write_json
from fidelity.faults import apply_changes
from fidelity.spec import Spec

LENGTHS = (23, 9)
POOLINGS = {"cls": lambda x: x[0], "mean": lambda x: x.mean(0), "lasttoken": lambda x: x[-1]}


@dataclasses.dataclass
class EncoderSpec(Spec):
    model: str = ""        # model class in transformers
    pooling: str = "mean"  # a key of POOLINGS
    first: int = 1         # ids that begin and end each text
    last: int = 2
    score: object = None   # function of (what the model gives, golden): a reranker's score of one text
    facts: dict = dataclasses.field(default_factory=dict)  # more for golden.json
    without_prefix: str = ""  # of the tensors' names


def sentence_transformers_files(folder, spec, hidden):
    kinds = ["Transformer", "Pooling", "Normalize"]
    paths = ["", "1_Pooling", "2_Normalize"]
    write_json(folder / "modules.json", [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (kind, path) in enumerate(zip(kinds, paths))])
    (folder / "1_Pooling").mkdir(exist_ok=True)
    modes = {"cls_token": "cls", "mean_tokens": "mean", "max_tokens": "max", "mean_sqrt_len_tokens": "sqrt",
             "weightedmean_tokens": "weighted", "lasttoken": "lasttoken"}
    write_json(folder / "1_Pooling" / "config.json", {
        "word_embedding_dimension": hidden, **{f"pooling_mode_{k}": v == spec.pooling for k, v in modes.items()},
        "include_prompt": True})
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 64, "do_lower_case": False})
    write_json(folder / "config_sentence_transformers.json", {
        "__version__": {"sentence_transformers": "5.1.0", "transformers": "4.55.0", "pytorch": "2.8.0"}, "prompts": {},
        "default_prompt_name": None, "similarity_fn_name": "cosine"})


def load(folder, spec, dtype=torch.float32, **changes):
    config = AutoConfig.from_pretrained(folder)
    apply_changes(config, changes)
    model_class = getattr(transformers, spec.model)
    return model_class.from_pretrained(folder, config=config, dtype=dtype, attn_implementation="eager").eval()


@torch.no_grad()
def run(model, spec, texts):
    """Hidden states of both texts [tokens][hidden] and vectors [2][hidden], or the reranker's scores [2][1] twice."""
    hidden, pooled = [], []
    for ids in texts:
        out = model(input_ids=torch.tensor([ids]))
        if spec.score:
            pooled.append(spec.score(out, spec.facts).reshape(1))
            hidden.append(pooled[-1][:, None])
            continue
        hidden.append(out.last_hidden_state[0])
        pooled.append(torch.nn.functional.normalize(POOLINGS[spec.pooling](hidden[-1]), dim=0))
    return torch.cat(hidden), torch.stack(pooled)


def save(spec, folder, seed):
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    config = getattr(transformers, spec.config)(**{**COMMON, **spec.fields})
    config.dtype = spec.dtype
    model = getattr(transformers, spec.model)(config).float().eval()
    generator = torch.Generator().manual_seed(seed)
    randomise(model, spec, generator)
    texts = [[spec.first, *torch.randint(5, config.vocab_size, (n - 2,), generator=generator).tolist(), spec.last]
             for n in LENGTHS]
    model.to(getattr(torch, spec.dtype)).save_pretrained(folder)
    if spec.without_prefix:
        from safetensors.torch import load_file, save_file
        tensors = load_file(folder / "model.safetensors")
        save_file({k.removeprefix(spec.without_prefix): v for k, v in tensors.items()}, folder / "model.safetensors",
                  metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
    (folder / "generation_config.json").unlink(missing_ok=True)
    published_config(folder, spec)
    if not spec.score:
        sentence_transformers_files(folder, spec, config.hidden_size)
    return texts


def wrong(folder, spec, fault):
    if isinstance(fault, dict):
        return load(folder, spec, **fault)
    model = load(folder, spec)
    with torch.no_grad():
        fault(model)
    return model


def try_seed(spec, folder, seed):
    texts = save(spec, folder, seed)
    hidden, pooled = run(load(folder, spec), spec, texts)
    wide, wide_pooled = run(load(folder, spec, torch.float64), spec, texts)
    rounding = max((hidden - wide).abs().max().item(), (pooled - wide_pooled).abs().max().item())
    if rounding >= ROUNDING:
        return f"float32 rounding alone moves a value by {rounding:.1e}"
    moved = {}
    for name, fault in spec.faults.items():
        other, other_pooled = run(wrong(folder, spec, fault), spec, texts)
        moved[name] = round(max((other - hidden).abs().max().item(), (other_pooled - pooled).abs().max().item()), 6)
        if not moved[name] > VISIBLE:
            return f"the fault '{name}' moves the result by {moved[name]} only"
    golden = {"transformers": transformers.__version__, "torch": torch.__version__, "seed": seed, "weights": spec.dtype,
              "texts": texts, "float64_difference": float(f"{rounding:.2g}"), **spec.facts}
    if spec.score:
        golden["scores"] = [round(value, 7) for value in pooled[:, 0].tolist()]
        golden["fault_moves_score_by"] = moved
    else:
        golden.update(hidden="golden.hidden.f32", hidden_shape=list(hidden.shape), embeddings="golden.embeddings.f32",
                      embeddings_shape=list(pooled.shape), pooling=spec.pooling, normalized=True, fault_moves_result_by=moved)
        hidden.numpy().astype("<f4").tofile(folder / "golden.hidden.f32")
        pooled.numpy().astype("<f4").tofile(folder / "golden.embeddings.f32")
    write_json(folder / "golden.json", golden)
    return None


def make(name, spec, seed, tries=60):
    folder = OUT / name
    for attempt in range(tries):
        problem = try_seed(spec, folder, seed + 1000 * attempt)
        if problem is None:
            golden = json.loads((folder / "golden.json").read_text())
            size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
            print(f"{name}: {size} bytes, seed {golden['seed']}, float64 {golden['float64_difference']}, "
                  f"{golden.get('fault_moves_result_by') or (golden['scores'], golden['fault_moves_score_by'])}", flush=True)
            return
        print(f"  {name}, seed {seed + 1000 * attempt}: {problem}", flush=True)
    raise RuntimeError(f"{name}: no seed of {tries} would do; the last had {problem}")
