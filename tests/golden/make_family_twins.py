#!/usr/bin/env python3
"""Makes the GGUF twins of tests/data/families/<name>/ with llama.cpp's own converter, run as a tool; none of it is copied.

    python tests/golden/make_family_twins.py --converter .../llama.cpp/convert_hf_to_gguf.py [--check] [names]

The converter's vocabulary step alone is replaced, for the models have no tokenizer: the file says "no_vocab". Each folder
gets model.<type>.gguf and gguf.json, which names the reference logits. With --check, llama.cpp computes the logits too
(from a float32 conversion, with the package llama_cpp), and gguf.json says how far they are from the reference:
both forms of the model and the reference itself are then right, or wrong in the same way twice.
"""
import argparse
import json
import multiprocessing
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import transformers
from safetensors.torch import load_file, save_file

from fidelity import kinds
from fidelity.core import OUT, write_json

HERE = pathlib.Path(__file__).resolve().parent


def convert(converter, folder, outs, spec):
    """Runs the converter in a process of its own: it brings its own gguf package."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = pathlib.Path(scratch) / folder.name
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("golden*", "*.gguf", "gguf.json"))
        if "gemma3" in folder.name:  # the converter cuts the embedding to the tokenizer's size
            vocab = json.loads((copy / "config.json").read_text())["vocab_size"]
            (copy / "tokenizer.json").write_text(json.dumps(
                {"model": {"vocab": {str(i): i for i in range(vocab)}}, "added_tokens": []}))
        for old, new in spec.converter_names:
            rename(copy / "model.safetensors", old, new)
        subprocess.run([sys.executable, HERE / "fidelity" / "convert.py", converter, copy, json.dumps(spec.converter),
                        json.dumps(spec.converter_flags), *outs], check=True,
                       capture_output=True, text=True)


def checked(path, folder, golden, spec):
    """What llama.cpp says of the file, from a process of its own, for it may end by a signal."""
    def run(pipe):
        from fidelity import llama_cpp_logits
        pipe.send(llama_cpp_logits.compare(path, folder, golden, spec))

    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=run, args=(there,))
    process.start()
    process.join(120)
    return here.recv() if here.poll() else {"llama_cpp_says": "llama.cpp does not come to an end"}


def rename(path, pattern, new):
    tensors = {re.sub(pattern, new, name): tensor for name, tensor in load_file(path).items()}
    save_file(tensors, path, metadata={"format": "pt"})


def make_twin(converter, name, spec, check):
    folder = OUT / name
    for old in list(folder.glob("*.gguf")) + list(folder.glob("gguf.json")):
        old.unlink()
    if spec.gguf is None:
        write_json(folder / "gguf.json", {"files": {}, "note": spec.gguf_note})
        return f"{name}: no twin, {spec.gguf_note}"
    path = folder / f"model.{spec.gguf}.gguf"
    golden = json.loads((folder / "golden.json").read_text())
    facts = {key: golden[key] for key in ("logits", "hidden", "embeddings", "scores") if key in golden}
    with tempfile.TemporaryDirectory() as scratch:
        wide = pathlib.Path(scratch) / "model.gguf"
        convert(converter, folder, [path, spec.gguf, wide, "f32"] if check else [path, spec.gguf], spec)
        if check:
            facts.update(checked(wide, folder, golden, spec))
    out = {"converter": "llama.cpp convert_hf_to_gguf.py", "files": {path.name: facts}}
    if spec.converter:
        out["keys_given_to_the_converter"] = spec.converter
    if spec.gguf_note:
        out["note"] = spec.gguf_note
    write_json(folder / "gguf.json", out)
    return f"{name}: {path.name} {path.stat().st_size} bytes, {facts}, folder {sum(p.stat().st_size for p in folder.glob('*') if p.is_file())}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--converter", required=True)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    models, failed = kinds.all_models(), []
    for each in options.names or models:
        try:
            print(make_twin(options.converter, each, models[each], options.check), flush=True)
        except (subprocess.CalledProcessError, OSError) as error:
            print(f"{each}: {str(getattr(error, 'stderr', error)).strip().splitlines()[-6:]}", flush=True)
            failed.append(each)
    sys.exit(f"not made: {failed}" if failed else 0)
