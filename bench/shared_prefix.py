#!/usr/bin/env python3
"""32 requests that share a 1,000-token prefix: sent one by one after the first answer, then, with another prefix, all at once.

usage: bench/shared_prefix.py [--sluice PATH] [--model PATH] [-n 32]

The binary is build/release/sluice, or else build/quickstart/sluice. Starts a server on a free port, prints TTFT of the first
request and the median of the others, and what the server's metrics say was computed. Exits with 1 when a prefix was computed
more than once.
"""
import argparse
import http.client
import json
import random
import re
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def metric(port, name):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    return sum(float(m) for m in re.findall(rf"^sluice:{name}(?:_total)?(?:{{[^}}]*}})? (\S+)$", text, re.M))


def ttft(port, prompt):
    """Seconds to the first event that carries text, and the usage of the request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    body = {"prompt": prompt, "max_tokens": 4, "temperature": 0, "ignore_eos": True, "stream": True,
            "stream_options": {"include_usage": True}}
    start = time.monotonic()
    connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
    response = connection.getresponse()
    if response.status != 200:
        sys.exit(f"HTTP {response.status}: {response.read()[:300]}")
    first, usage = None, None
    for line in response:
        if not line.startswith(b"data: {"):
            continue
        event = json.loads(line[6:])
        if first is None and event.get("choices"):
            first = time.monotonic() - start
        usage = event.get("usage") or usage
    return first, usage


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    built = [path for path in (ROOT / "build/release/sluice", ROOT / "build/quickstart/sluice") if path.exists()]
    parser.add_argument("--sluice", default=built[0] if built else None)
    parser.add_argument("--model", default=str(ROOT / "build/bench/qwen2.5-0.5b-q8_0.gguf"))
    parser.add_argument("-n", type=int, default=32)
    options = parser.parse_args()
    if options.sluice is None:
        sys.exit("there is neither build/release/sluice nor build/quickstart/sluice: scripts/quickstart.sh --once builds one")
    if not Path(options.model).exists():
        Path(options.model).parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([options.sluice, "convert", "--random", "--like", "qwen2.5-0.5b", "--type", "q8_0", options.model], check=True)
    server = subprocess.Popen([options.sluice, "serve", options.model, "--port", "0", "--max-model-len", "4096"], stderr=subprocess.PIPE, text=True)
    port, log = None, []
    for line in server.stderr:
        log.append(line)
        if "ready in" in line:
            port = int(re.search(r":(\d+)/v1", line).group(1))
            break
    if port is None:
        sys.exit("the server did not start:\n" + "".join(log))
    threading.Thread(target=lambda: [None for _ in server.stderr], daemon=True).start()
    try:
        rng = random.Random(1)
        tail = lambda: [rng.randrange(1000, 30000) for _ in range(16)]
        make_prefix = lambda: [rng.randrange(1000, 30000) for _ in range(1000)]
        ok = True

        prefix = make_prefix()
        before = metric(port, "prompt_tokens_computed")
        first, _ = ttft(port, prefix + tail())
        later, cached = [], []
        for _ in range(options.n - 1):
            seconds, usage = ttft(port, prefix + tail())
            later.append(seconds)
            cached.append(usage["prompt_tokens_details"]["cached_tokens"])
        computed = metric(port, "prompt_tokens_computed") - before
        bound = 1000 + options.n * 16 + (options.n - 1) * 16  # the own tokens, and at most a block of the prefix again
        ok &= computed <= bound
        print(f"one by one: TTFT first {first * 1e3:.0f} ms, others {statistics.median(later) * 1e3:.0f} ms (median): "
              f"{first / statistics.median(later):.1f}x; prompt tokens computed {computed:.0f} of {options.n * 1016} "
              f"(cached in each later one: at least {min(cached)})")

        prefix = make_prefix()
        before = metric(port, "prompt_tokens_computed")
        threads = [threading.Thread(target=ttft, args=(port, prefix + tail())) for _ in range(options.n)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        computed = metric(port, "prompt_tokens_computed") - before
        ok &= computed <= bound
        print(f"all at once: prompt tokens computed {computed:.0f} of {options.n * 1016}")
        print("the prefix was computed once" if ok else "FAILED: the prefix was computed more than once")
        return 0 if ok else 1
    finally:
        server.terminate()
        server.wait(timeout=60)


if __name__ == "__main__":
    sys.exit(main())
