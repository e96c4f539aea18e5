"""sluice simulate: replicas, traces, and what it leaves behind."""
import json
import xml.etree.ElementTree as ET

import pytest
from conftest import MODEL, sluice

LOAD = ["--num-prompts", "60", "--random-input-len", "40", "--random-prefix-len", "64", "--random-output-len", "10", "--request-rate", "9"]


def simulated(*arguments):
    done = sluice("simulate", *map(str, arguments))
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("router", ["round-robin", "least-loaded", "prefix-aware", "random"])
def test_replicas_give_the_same_bytes_twice(router, tmp_path):
    seen = []
    for name in "ab":
        result, timeline = tmp_path / f"{name}.json", tmp_path / f"{name}.trace"
        simulated(*LOAD, "--replicas", 3, "--router", router, "--result-file", result, "--timeline", timeline)
        seen.append((result.read_bytes(), timeline.read_bytes()))
    assert seen[0] == seen[1]
    assert json.loads(seen[0][0])["completed"] == 60
    slices = [e for e in json.loads(seen[0][1]) if e["ph"] == "X"]
    assert {e["pid"] for e in slices} <= {0, 1, 2} and all(e["dur"] > 0 and e["args"]["tokens"] > 0 for e in slices)


def test_plots_are_svg_with_axes(tmp_path):
    simulated(*LOAD, "--plot", tmp_path / "new" / "plots")
    for name, label in {"queue": "requests", "kv": "% of blocks", "ttft": "TTFT, ms", "tbt": "TBT, ms"}.items():
        texts = [e.text for e in ET.parse(tmp_path / "new" / "plots" / f"{name}.svg").iter("{http://www.w3.org/2000/svg}text")]
        assert label in texts and "simulated time, s" in texts


def test_calibrates_first():
    assert "step-time model from" in simulated("--calibrate", MODEL, *LOAD)


@pytest.mark.parametrize("arguments, want", [
    (["--router", "random"], "--router has no choice with one replica"),
    (["--replicas", "0"], "--replicas is 0; it must be from 1 to 1024"),
    (["--replicas", "2", "--router", "nearest"], "--router does not know 'nearest'; it knows: round-robin, least-loaded"),
    (["--output-lengths", "normal:3"], "lognormal:MU,SIGMA is wanted"),
    (["--trace-repeat", "2"], "--trace-repeat needs --trace"),
    (["--calibrate", "x.gguf", "--cost", "y.json"], "give one of them"),
    (["--timeline", "/nonexistent/x"], "cannot write /nonexistent/x"),
    (["--plot", "/dev/null/plots"], "--plot: cannot make the directory /dev/null/plots"),
    (["--random-input-len", "2147483647"], "--random-input-len is 2147483647; it must be at most 16777216"),
    (["--random-input-len", "16777216"], "16777280 tokens with its output; at most 16777216 are possible"),
    (["--num-kv-tokens", "2000000000"], "has 125000001 blocks of 16; at most 67108864 are possible"),
    (["--length-scale", "0.5"], "--length-scale has no effect without --trace"),
    (["--output-length-scale", "0.5"], "--output-length-scale has no effect without --trace"),
    (["--burstiness", "0.5"], "--burstiness has no effect where all requests come at once"),
    (["--random-output-len", "5", "--output-lengths", "constant:7"], "--random-output-len has no effect with --output-lengths"),
    (["--kv-allocator", "static"], "give --prefix-cache none"),
    (["--num-kv-tokens", "40"], "give the KV cache more memory"),
    *[(["--trace", "none.csv", flag, "1"], f"{flag} has no effect with --trace")
      for flag in ("--random-input-len", "--random-output-len", "--random-prefix-len", "--random-range-ratio", "--burstiness")],
])
def test_says_what_is_wrong(arguments, want):
    done = sluice("simulate", *arguments)
    assert done.returncode == 1 and want in done.stderr


def test_a_trace_of_endless_requests_is_refused_or_clipped(tmp_path):
    trace = tmp_path / "trace.jsonl"
    trace.write_text('{"ts": 0, "il": 90000000, "ol": 3}\n')
    done = sluice("simulate", "--trace", str(trace))
    assert done.returncode == 1 and "has 90000003 tokens with its output" in done.stderr
    simulated("--trace", trace, "--max-input-len", 100)


def test_prompts_are_clipped_of_random_requests_too():
    assert "Total input tokens:                      300 " in simulated("--num-prompts", 3, "--random-input-len", 1000, "--max-input-len", 100)


def test_a_trace_without_output_lengths_asks_for_them(tmp_path):
    trace = tmp_path / "trace.jsonl"
    trace.write_text("".join(f'{{"ts": {i * 50}, "il": 30, "ol": 0}}\n' for i in range(20)))
    done = sluice("simulate", "--trace", str(trace))
    assert done.returncode == 1 and "give --output-lengths" in done.stderr
    assert "Total generated tokens:                  140 " in simulated("--trace", trace, "--output-lengths", "constant:7")
