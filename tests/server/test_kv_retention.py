"""What serve does with --kv-retention: streams beyond the model's positions, equal answers at any load, and what it refuses."""
import concurrent.futures

import pytest
from conftest import MODEL, sluice

TOKEN_BYTES = 5 * 4 * 8 * 2 * 4  # layers, KV heads, dims, K and V, float32
SINKS = ["--kv-retention", "sink-window", "--kv-retention-budget", "64"]


def complete(client, **options):
    return client.completions.create(model="stories260K", prompt="Once upon a time", temperature=0, extra_body={"ignore_eos": True}, **options).choices[0].text


def test_a_stream_goes_on_beyond_the_models_positions_and_the_cache(start):
    blocks = 10  # of 16 tokens
    server = start(*SINKS, "--max-model-len", "3000", "--kv-cache-memory-bytes", str(TOKEN_BYTES * 16 * blocks))
    assert any(f"({blocks} blocks of 16 tokens" in line for line in server.log)
    text = complete(server.client(), max_tokens=2000)
    assert len(text) > 2000
    assert server.metric("kv_evicted_tokens") >= 2000 - 64


def test_answers_are_the_same_alone_and_together(start):
    server = start(*SINKS)
    client = server.client()
    alone = complete(client, max_tokens=300)
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda _: complete(client, max_tokens=300), range(6)))
    assert together == [alone] * 6
    assert any("--kv-retention sink-window with --prefix-cache radix" in line for line in server.log), "what falls back is said"


@pytest.mark.parametrize("flags, want", [
    (["--kv-retention", "h20"], "--kv-retention does not know 'h20'; it knows: none, sink-window, h2o"),
    (["--kv-retention", "h2o"], "--kv-retention h2o needs a budget"),
    (["--kv-retention-budget", "64"], "--kv-retention-budget has no use with --kv-retention none"),
    ([*SINKS, "--swap-space", "1M"], "--kv-retention sink-window with KV kept beside the cache"),
    ([*SINKS, "--kv-allocator", "virtual"], "leave the allocator at paged"),
    ([*SINKS, "--admission-policy", "exact"], "leave the admission policy at watermark"),
    ([*SINKS, "--scheduling-policy", "lpm"], "it orders by what the prefix cache holds"),
    ([*SINKS, "--kv-cache-dtype", "int8"], "--kv-cache-dtype int8 rounds too coarsely"),
    (["--kv-retention", "h2o", "--kv-retention-budget", "64", "--max-model-len", "600"], "--kv-retention sink-window, which counts positions within the cache, goes beyond"),
])
def test_what_does_not_go_together_is_refused(flags, want):
    done = sluice("serve", str(MODEL), "--port", "0", *flags)
    assert done.returncode == 1 and want in done.stderr, done.stderr
