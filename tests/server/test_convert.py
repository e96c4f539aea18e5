"""`sluice convert`: what it is given tells its format, and every flag takes effect or is refused."""
import json
import resource
import shutil
import struct

import pytest
from conftest import MODEL, ROOT, sluice

HF = ROOT / "models/sluice-tiny-2m"


def convert(*arguments):
    done = sluice("convert", *map(str, arguments))
    assert done.returncode == 0, done.stderr
    return done


def name_in(path):
    lines = sluice("inspect", str(path), "--metadata").stdout.splitlines()
    return next(line.split()[-1] for line in lines if line.startswith("general.name "))


def write_llama2c(path, tokenizer, longest=10):
    """A model of version 0 and its tokenizer; the length of the longest token may look like sentencepiece's first byte."""
    dim, ffn, layers, heads, vocab, context = 8, 16, 1, 2, 259, 16
    floats = vocab * dim + layers * (2 * dim + 4 * dim * dim + 3 * dim * ffn) + dim + context * dim // heads
    path.write_bytes(struct.pack("<7i", dim, ffn, layers, heads, heads, vocab, context) + struct.pack("<f", 0.01) * floats)
    pieces = [b"<unk>", b"\n<s>\n", b"\n</s>\n"] + [b"<0x%02X>" % i for i in range(256)]
    tokenizer.write_bytes(struct.pack("<i", longest) + b"".join(struct.pack("<fi", 0, len(p)) + p for p in pieces))


def test_name_is_honoured_for_every_input(tmp_path):
    random, again = tmp_path / "r.gguf", tmp_path / "again.gguf"
    convert("--random", "--like", "tiny-llama", "--name", "made-up", random)
    assert name_in(random) == "made-up"
    convert(random, again)
    assert name_in(again) == "made-up"
    convert(random, again, "--name", "another")
    assert name_in(again) == "another"
    convert(f"{HF}/", again)
    assert name_in(again) == HF.name


def test_first_bytes_tell_the_format_not_the_suffix(tmp_path):
    out = tmp_path / "out.gguf"
    shutil.copy(MODEL, tmp_path / "a.bin")
    convert(tmp_path / "a.bin", out, "--type", "q8_0")
    folder = tmp_path / "b.gguf"
    shutil.copytree(HF, folder)
    convert(folder, out)
    (folder / "model.safetensors").rename(folder / "weights.bin")
    convert(folder / "weights.bin", out)
    write_llama2c(tmp_path / "c.gguf", tmp_path / "c.model")
    convert(tmp_path / "c.gguf", out, "--tokenizer", tmp_path / "c.model")
    assert name_in(out) == "c"


@pytest.mark.parametrize("arguments, want", [
    (["--random", "--like", "tiny-llama", "in.gguf", "out.gguf"], "--random takes no input, but in.gguf is given"),
    (["--random", "--like", "tiny-llama", "--tokenizer", "t.bin", "out.gguf"], "--tokenizer does not go with --random"),
    (["--random", "out.gguf"], "--random needs --like"),
    ([MODEL, "out.gguf", "--like", "tiny-llama"], "--like is of --random weights"),
    ([MODEL, "out.gguf", "--seed", "0"], "--seed is of --random weights"),
    ([MODEL, "out.gguf", "--tokenizer", "t.bin"], "--tokenizer is for llama2.c and rwkv.cpp models"),
    ([__file__, "out.gguf"], "is neither GGUF nor Hugging Face's; a llama2.c model needs its tokenizer"),
    ([MODEL], "an input and an output are needed"),
    ([MODEL, "directory", "--name", "x"], "--name"),
    ([MODEL, "directory", "--pack", "--to", "huggingface"], "--pack"),
    ([MODEL, "directory", "--type", "q4_0"], "is written in bf16, f16 or f32, not in q4_0"),
    ([HF, "directory"], "for a GGUF name a file, as directory.gguf"),
    ([MODEL, "out.gguf", "--to", "onnx"], "known are gguf, huggingface"),
    ([MODEL, "out.pack"], "is named as a native pack, and a GGUF would be written: give --pack"),
    ([MODEL, "out.bin", "--pack"], "would be written as a native pack: name it .pack"),
    ([MODEL, "b.q8_0", "--to", "huggingface", "--type", "q8_0"], "is written in bf16, f16 or f32, not in q8_0"),
    ([MODEL, "out.safetensors"], "would be written as GGUF: name it .gguf"),
    ([MODEL, MODEL, "--type", "q8_0"], "it cannot be written over meanwhile"),
    (["--random", "--like", "tiny-llama"], "an output is needed"),
    ([MODEL, "small-v1.5", "--type", "q4_0"], "is written in bf16, f16 or f32, not in q4_0"),
    ([MODEL, "out.gguf", "--max-shard-size", "1M"], "is of a Hugging Face directory"),
])
def test_what_has_no_effect_is_refused(tmp_path, arguments, want):
    done = sluice("convert", *map(str, arguments), cwd=tmp_path)
    assert done.returncode == 1 and want in done.stderr and not list(tmp_path.iterdir())


def test_a_pack_serves_and_comes_back(tmp_path, start):
    pack, back, plain = tmp_path / "m.pack", tmp_path / "back.gguf", tmp_path / "plain.gguf"
    convert(MODEL, plain, "--type", "q8_0")
    convert(plain, pack, "--pack")
    convert(pack, back)
    assert back.read_bytes() == plain.read_bytes()

    shown = sluice("inspect", str(pack), "--verify")
    assert shown.returncode == 0 and "native pack" in shown.stdout and "as written" in shown.stdout, shown.stderr
    packed, unpacked = start(model=pack), start(model=plain)
    assert any("(a native pack, mapped)" in line for line in packed.log)
    texts = [server.client().completions.create(model="m" if server is packed else "plain", prompt="Once upon a time", max_tokens=30,
                                                temperature=0).choices[0].text for server in (packed, unpacked)]
    assert texts[0] == texts[1] != ""

    damaged = bytearray(pack.read_bytes())
    damaged[-5000] ^= 1
    (tmp_path / "damaged.pack").write_bytes(damaged)
    refused = sluice("inspect", str(tmp_path / "damaged.pack"), "--verify")
    assert refused.returncode == 1 and "have changed since they were written" in refused.stderr


def test_a_file_that_cannot_be_written_is_named_as_it_was_given(tmp_path):
    done = sluice("convert", str(MODEL), str(tmp_path / "none/out.gguf"))
    assert done.returncode == 1 and done.stderr == f"sluice convert: cannot create {tmp_path}/none/out.gguf: No such file or directory\n"
    done = sluice("convert", str(MODEL), str(tmp_path / "out.gguf"), restore_signals=False,  # SIGXFSZ stays ignored
                  preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)))
    assert done.returncode == 1 and f"cannot write {tmp_path}/out.gguf after 100000 bytes: File too large\n" in done.stderr, done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["q8_0", "q4_0"])
def test_repacked_at_load_is_what_convert_writes(tmp_path, kind):
    plain, out = tmp_path / "plain.gguf", tmp_path / "converted.gguf"
    convert(HF, plain)
    convert("--type", kind, plain, out)
    arguments = ["-p", "The", "-n", "200", "--temperature", "0"]
    repacked = sluice("run", str(plain), "--repack", kind, *arguments)
    assert repacked.returncode == 0, repacked.stderr
    assert repacked.stdout == sluice("run", str(out), *arguments).stdout != ""


def test_a_type_of_our_own_is_served_at_load_and_from_a_pack(tmp_path):
    pack, plain, out = tmp_path / "m.pack", tmp_path / "plain.gguf", tmp_path / "out.gguf"
    convert(HF, plain)
    convert(plain, pack, "--type", "i8_g128", "--pack")
    arguments = ["-p", "The", "-n", "100", "--temperature", "0"]
    repacked = sluice("run", str(plain), "--repack", "i8_g128", *arguments)
    assert repacked.returncode == 0, repacked.stderr
    assert repacked.stdout == sluice("run", str(pack), *arguments).stdout != ""
    assert "I8_G128" in sluice("inspect", str(pack)).stdout
    for refused in (["--type", "i8_g128", plain, out], [pack, out]):
        done = sluice("convert", *map(str, refused))
        assert done.returncode == 1 and "I8_G128, Sluice's own, which GGUF does not have" in done.stderr, done.stderr
        assert not out.exists()


def test_repacking_says_what_falls_back(tmp_path):
    narrow = tmp_path / "narrow.gguf"
    convert("--random", "--like", "tiny-qwen2", narrow)  # rows of 96
    shown = sluice("bench", "latency", str(narrow), "--repack", "i8_g128", "-p", "8", "-n", "0", "-r", "1")
    assert "(--repack i8_g128); matrices: 15 Q8_0" in shown.stdout + shown.stderr


def test_what_cannot_be_repacked_is_refused():
    for kind, want in (("q4_k_m", "convert the model first"), ("q9", 'unknown weight type "q9"')):
        done = sluice("run", str(HF), "--repack", kind, "-p", "The", "-n", "1")
        assert done.returncode == 1 and want in done.stderr and "--repack" in done.stderr
        done = sluice("inspect", str(HF), "--repack", kind)
        assert done.returncode == 1 and want in done.stderr


def test_inspect_shows_what_repacking_makes():
    shown = sluice("inspect", str(HF), "--repack", "q8_0").stdout
    assert "Q8_0       15 tensors, 1.86 MiB" in shown and "weights take 1.86 MiB" in shown and ", f16)" in shown
    for flag in (["--isa", "foo"], ["--kv-cache-dtype", "foo"], ["--block-size", "0"]):
        done = sluice("inspect", str(HF), *flag)
        assert done.returncode == 1 and flag[0] in done.stderr


def test_a_gguf_becomes_a_directory_and_runs_as_it_did(tmp_path):
    plain, folder, back = tmp_path / "plain.gguf", tmp_path / "folder", tmp_path / "back.gguf"
    convert(HF, plain)
    said = convert(plain, folder, "--max-shard-size", "1M").stderr
    assert "matrices: " in said and "decoded" not in said
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    shards = set(index["weight_map"].values())
    assert len(shards) > 1 and shards == {path.name for path in folder.glob("*.safetensors")}
    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"] == json.loads((HF / "config.json").read_text())["architectures"]
    arguments = ["-p", "Once upon a time", "-n", "100", "--temperature", "0"]
    ours = sluice("run", str(folder), *arguments)
    assert ours.returncode == 0, ours.stderr
    assert ours.stdout == sluice("run", str(plain), *arguments).stdout != ""
    convert(folder, back)
    assert sluice("run", str(back), *arguments).stdout == ours.stdout

    for refused in ([plain, folder], [plain, plain / "x"]):  # it is not empty; its parent is a file
        done = sluice("convert", *map(str, refused), "--to", "huggingface")
        assert done.returncode == 1 and str(refused[1]) in done.stderr, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["back.gguf", "folder", "plain.gguf"]


@pytest.mark.parametrize("family", ["rwkv6", "rwkv7"])
def test_an_rwkv_of_its_own_vocabulary_goes_there_and_back(tmp_path, family):
    model, plain, folder, back = tmp_path / "model", tmp_path / "plain.gguf", tmp_path / "folder", tmp_path / "back.gguf"
    model.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(ROOT / f"tests/data/families/{family}" / name, model)
    texts = [chr(c) for c in range(ord("a"), ord("z") + 1)] + [" the", "'s", "\n\n", "\\", "'\"", "\u00a0", "\u6771", b"\xe6\x9d"]
    texts += ["-" * n for n in range(1, 83 - len(texts))]  # one for every row of the embedding but the first
    lines = "".join(f"{i} {t!r} {len(t.encode() if isinstance(t, str) else t)}\n" for i, t in enumerate(texts, 1))
    (model / "rwkv_vocab_v20230424.txt").write_text(lines)
    convert(model, plain, "--type", "bf16", "--name", "x")
    convert(plain, folder)
    assert (folder / "rwkv_vocab_v20230424.txt").read_text() == lines
    convert(folder, back, "--type", "bf16", "--name", "x")
    arguments = ["-p", "east'the\u6771", "-n", "20", "--temperature", "0"]
    said = [sluice("run", str(path), *arguments) for path in (model, plain, folder, back)]
    assert all(each.returncode == 0 for each in said), said[-1].stderr
    assert len({each.stdout for each in said}) == 1 and said[0].stdout != ""


def test_quantized_matrices_are_decoded_for_a_directory(tmp_path):
    blocks, folder = tmp_path / "blocks.gguf", tmp_path / "folder"
    convert(HF, blocks, "--type", "q8_0")
    assert "quantized tensors were decoded to F16" in convert(blocks, f"{folder}/", "--type", "f16").stderr
    assert json.loads((folder / "config.json").read_text())["torch_dtype"] == "float16"
    arguments = ["-p", "Once upon a time", "-n", "20", "--temperature", "0"]
    assert sluice("run", str(folder), *arguments).stdout != ""


def test_an_ending_that_is_no_number_is_a_files(tmp_path):
    for name, folder in (("b.q8_0", False), ("small-v1.5", True), ("Qwen2.5-0.5B", True)):
        convert(MODEL, tmp_path / name)
        assert (tmp_path / name).is_dir() == folder
