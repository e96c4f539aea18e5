"""`sluice run` with a model whose replies are in the harmony format: what goes to which stream."""
import json
import struct

import pytest
from conftest import sluice

MARKS = ["<|start|>", "<|channel|>", "<|constrain|>", "<|message|>", "<|end|>", "<|call|>", "<|return|>"]
VOCAB = 256 + len(MARKS)
POSITIONS = 160


def byte_level():
    """GPT-2's spelling of the bytes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(b) if b in printable else chr(next(others)) for b in range(256)]


def ids_of(text):
    """A text with marks in it, as tokens."""
    out = []
    while text:
        mark = next((m for m in MARKS if text.startswith(m)), None)
        out.append(256 + MARKS.index(mark) if mark else text.encode()[0])
        text = text[len(mark) if mark else 1:]
    return out


def write_model(folder, prompt, reply):
    """A GPT-2 that says `reply` after `prompt`, whatever the words: its positions alone decide."""
    folder.mkdir()
    hidden = VOCAB + 1  # even
    said = dict(enumerate(ids_of(reply), start=len(ids_of(prompt)) - 1))
    tensors = {"wte.weight": [[float(row == column) for column in range(hidden)] for row in range(VOCAB)],
               "wpe.weight": [[100.0 * (column == said.get(row)) for column in range(hidden)] for row in range(POSITIONS)]}
    for name, inputs, outputs in (("attn.c_attn", hidden, 3 * hidden), ("attn.c_proj", hidden, hidden), ("mlp.c_fc", hidden, hidden), ("mlp.c_proj", hidden, hidden)):
        tensors[f"h.0.{name}.weight"], tensors[f"h.0.{name}.bias"] = [[0.0] * outputs] * inputs, [0.0] * outputs
    for name in ("h.0.ln_1", "h.0.ln_2", "ln_f"):
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = [1.0] * hidden, [0.0] * hidden
    header, data = {}, b""
    for name, values in tensors.items():
        rows = values if isinstance(values[0], list) else [values]
        packed = b"".join(struct.pack(f"<{len(row)}f", *row) for row in rows)
        header[name] = {"dtype": "F32", "shape": [len(values), len(values[0])] if rows is values else [len(values)],
                        "data_offsets": [len(data), len(data) + len(packed)]}
        data += packed
    head = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(head)) + head + data)
    config = {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "n_embd": hidden, "n_head": 2, "n_layer": 1, "n_positions": POSITIONS, "n_ctx": POSITIONS,
              "n_inner": hidden, "vocab_size": VOCAB, "layer_norm_epsilon": 1e-5, "activation_function": "gelu_new", "eos_token_id": ids_of("<|return|>")[0]}
    (folder / "config.json").write_text(json.dumps(config))
    vocabulary = {spelling: i for i, spelling in enumerate(byte_level())}
    added = [{"id": 256 + i, "content": mark, "special": True, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False} for i, mark in enumerate(MARKS)]
    (folder / "tokenizer.json").write_text(json.dumps({
        "version": "1.0", "added_tokens": added, "normalizer": None, "post_processor": None, "decoder": {"type": "ByteLevel"},
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}, "model": {"type": "BPE", "vocab": vocabulary, "merges": []}}))
    template = "{% for m in messages %}<|start|>{{ m.role }}<|message|>{{ m.content }}<|end|>{% endfor %}<|start|>assistant"
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": template, "eos_token": "<|return|>"}))


PROMPT = "<|start|>user<|message|>Hi<|end|><|start|>assistant"
THOUGHT = "<|channel|>analysis<|message|>Be brief.<|end|>"


@pytest.mark.parametrize("reply, flags, out, noted", [
    (THOUGHT + "<|start|>assistant<|channel|>final<|message|>Hello.<|return|>", [], "Hello.", ""),
    (THOUGHT + "<|start|>assistant<|channel|>final<|message|>Hello.<|return|>", ["--reasoning"], "Hello.", "[reasoning] Be brief.\n"),
    (THOUGHT + "<|start|>assistant<|channel|>commentary to=functions.get<|message|>{\"q\":1}<|call|>", [], "", "[call] get {\"q\":1}\n"),
    ("plain words<|return|>", [], "plain words", ""),
    (THOUGHT, ["-n", "12"], "", "[the reply ended in its reasoning, which --reasoning shows]\n"),
])
def test_content_is_printed_and_the_rest_noted(tmp_path, reply, flags, out, noted):
    write_model(tmp_path / "model", PROMPT, reply)
    done = sluice("run", str(tmp_path / "model"), "--chat", "-p", "Hi", "--temp", "0", "--no-stats", "--kv-cache-memory-bytes", "8M", *flags)
    assert done.returncode == 0, done.stderr
    assert done.stdout == out + "\n"
    assert [line + "\n" for line in done.stderr.splitlines() if line.startswith("[")] == ([noted] if noted else [])


def test_a_text_that_is_continued_is_not_parted(tmp_path):
    write_model(tmp_path / "model", "Hi", "<|channel|>final<|message|>!<|return|>")
    done = sluice("run", str(tmp_path / "model"), "-p", "Hi", "--temp", "0", "--no-stats", "--kv-cache-memory-bytes", "8M")
    assert done.stdout == "Hifinal!\n", done.stderr
