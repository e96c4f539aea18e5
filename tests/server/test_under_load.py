"""Many clients at once: nothing lost, nothing changed, nothing computed twice."""
import concurrent.futures
import signal

import httpx

from conftest import ROOT


def request(i):
    return {"model": "stories260K", "prompt": ["Once upon a time", "The dog", "Tom and Lily went", "One day"][i % 4] + " " * (i % 3),
            "max_tokens": 60 + i % 40, "temperature": 0.0 if i % 2 else 0.9, "seed": i, "extra_body": {"ignore_eos": True}}


def stream_text(client, fields):
    return "".join(c.choices[0].text for c in client.completions.create(**fields, stream=True) if c.choices)


def test_64_streams_over_a_pool_for_a_quarter_of_them(start):
    # 64 sequences of up to about 105 tokens want some 6,700 tokens of KV; the pool has 1,600 (1,280 bytes a token).
    server = start("--kv-cache-memory-bytes", str(1600 * 1280), "--max-model-len", "512")
    client = server.client()
    alone = [client.completions.create(**request(i)).choices[0].text for i in range(64)]
    together = server.burst([lambda i=i: stream_text(client, request(i)) for i in range(64)])
    assert together == alone
    assert server.metric("num_preemptions") > 0
    assert server.metric("num_requests_running") == 0 and server.metric("num_requests_waiting") == 0


def test_a_shared_prefix_is_computed_once(start):
    server = start()
    client = server.client()
    prefix = [300 + (7 * i * i + i) % 200 for i in range(400)]

    def ask(i, base):
        return client.completions.create(model="stories260K", prompt=base + [260 + i, 261, 262], max_tokens=4, temperature=0)

    answers = [ask(i, prefix) for i in range(8)]
    assert answers[0].usage.prompt_tokens_details.cached_tokens == 0
    assert all(a.usage.prompt_tokens_details.cached_tokens == 400 for a in answers[1:])
    computed = server.metric("prompt_tokens_computed")
    assert computed == 403 + 7 * 3
    other = prefix[::-1]
    server.burst([lambda i=i: ask(i, other) for i in range(16)])
    assert server.metric("prompt_tokens_computed") - computed == 400 + 16 * 3


def test_a_full_queue_answers_429(start):
    server = start("--max-num-seqs", "1", "--max-waiting", "1", "--max-model-len", "512")
    body = {"prompt": "Once", "max_tokens": 500, "ignore_eos": True, "temperature": 0}
    answers = server.burst([lambda: httpx.post(server.url + "/v1/completions", json=body, timeout=120)] * 24)
    codes = {a.status_code for a in answers}
    assert codes == {200, 429}
    refused = next(a for a in answers if a.status_code == 429)
    assert int(refused.headers["retry-after"]) >= 1 and refused.json()["error"]["message"]


def test_sigterm_lets_running_requests_end(start):
    # The portable kernels are slow enough for all eight to be there when the signal comes.
    server = start("--isa", "ref", model=ROOT / "models" / "sluice-tiny-2m")
    fields = {"model": "sluice-tiny-2m", "prompt": "The prince", "max_tokens": 200, "temperature": 0, "extra_body": {"ignore_eos": True}}
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(stream_text, server.client(), fields) for _ in range(8)]
        while server.metric("num_requests_running") < 8:
            assert not any(f.done() for f in futures), [f.exception() for f in futures if f.done()]
        server.process.send_signal(signal.SIGTERM)
        texts = [f.result() for f in futures]
    assert server.process.wait(timeout=60) == 0
    assert len(set(texts)) == 1 and len(texts[0]) > 200
