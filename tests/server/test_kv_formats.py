"""KV formats that encode whole blocks, through the server: the same text from an empty cache, from a full one, from disk, and beside others."""
import re

import pytest

from conftest import MODEL, sluice

# 23 tokens, so that with the output there is a full block of 32, and one of 64.
PROMPT = "Once upon a time, there was a little girl named Lily. She loved to play outside"


def complete(server, n=1, tokens=90):
    answer = server.client().completions.create(model="stories260K", prompt=PROMPT, max_tokens=tokens, temperature=0, n=n)
    return [choice.text for choice in answer.choices]


@pytest.mark.parametrize("dtype", ["kivi2", "kivi4", "gear4", "kvquant3", "int8:0-1,kivi4", "kivi4,minicache:3-4"])
def test_blocks_are_sealed_and_the_text_stays_the_same(start, tmp_path, dtype):
    flags = ["--kv-cache-dtype", dtype, "-np", "4", "--kv-disk", str(tmp_path / "kv"), "--kv-disk-bytes", "8M", "--kv-restore", "load"]
    server = start(*flags)
    log = "".join(server.log)
    assert re.search(r"a block is encoded when it is full, and .* of this are for \d+ blocks that are not; --block-size is raised from 16 to (32|64)", log), log
    first = complete(server)
    hits = server.metric("prefix_cache_hits")
    assert complete(server) == first
    assert complete(server, n=3, tokens=90)[0] == first[0]
    # What was generated, given back as a prompt, is found up to its last full block.
    again = server.client().completions.create(model="stories260K", prompt=PROMPT + first[0], max_tokens=8, temperature=0).choices[0].text
    assert server.metric("prefix_cache_hits") > hits
    server.stop()
    restarted = start(*flags)
    assert restarted.client().completions.create(model="stories260K", prompt=PROMPT + first[0], max_tokens=8, temperature=0).choices[0].text == again
    assert restarted.metric("kv_blocks_loaded_disk") > 0


@pytest.mark.parametrize("flags, message", [
    (["--kv-cache-dtype", "kivi2", "--block-size", "48"], r"--block-size is 48; --kv-cache-dtype kivi2 encodes 32 tokens together"),
    (["--kv-cache-dtype", "f16:0-3,gear4", "--block-size", "32"], r"--block-size is 32; --kv-cache-dtype f16:0-3,gear4 encodes 64 tokens together"),
    (["--kv-cache-dtype", "kivi2", "--kv-allocator", "virtual"], r"--kv-allocator virtual with --kv-cache-dtype kivi2: a page group"),
    (["--kv-cache-dtype", "f16:0-1,int8", "--kv-allocator", "virtual"], r"--kv-allocator virtual with --kv-cache-dtype f16:0-1,int8: a page group"),
    (["--kv-cache-dtype", "f16:0-7,int8"], r"--kv-cache-dtype names layer 7; the model has 5, from 0 on"),
    (["--kv-cache-dtype", "f16:0-3"], r"--kv-cache-dtype says no format for layer 4"),
    (["--kv-cache-dtype", "minicache"], r"minicache merges pairs of adjacent layers of the upper half, and has to be told which; of this model's 5 layers those are within 3-4"),
    (["--kv-cache-dtype", "f16,minicache:0-1"], r"which 0 is not in"),
    (["--kv-cache-dtype", "f16:0-3,kivi3"], r"--kv-cache-dtype 'kivi3' is not known; it is one of auto, f32, .*kivi2"),
])
def test_what_does_not_go_together_is_refused(flags, message):
    done = sluice("run", str(MODEL), "--prompt", "a", "-n", "1", *flags)
    assert done.returncode != 0 and re.search(message, done.stderr), done.stderr
