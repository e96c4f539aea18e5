"""What the benchmarks measure: figures that must agree with each other, whatever the machine."""
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import BINARY, MODEL, sluice

BENCH = Path(__file__).resolve().parents[2] / "bench"
sys.path.insert(0, str(BENCH))
import compare_report  # noqa: E402
from engines import BATCHED_ROW  # noqa: E402


def tables(text):
    """{title: {part: share in percent}} of a --breakdown."""
    found = {}
    for title, body in re.findall(r"^(\S.*): [\d.]+ ms per step, .*\n((?:\|.*\n)+)", text, re.M):
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in body.splitlines()[2:]]
        found[title] = {row[0]: float(row[3].rstrip(" %")) for row in rows}
    return found


def test_latency_breaks_every_test_down_and_writes_what_it_prints(tmp_path):
    path = tmp_path / "rows.json"
    done = sluice("bench", "latency", str(MODEL), "-p", "64", "-n", "8", "-b", "1,3", "-d", "0,40", "-r", "2", "--breakdown", "--json", str(path))
    assert done.returncode == 0, done.stderr
    names = ["pp64", "tg8", "tg8 b3", "pp64 @ d40", "tg8 @ d40", "tg8 b3 @ d40"]
    parts = tables(done.stdout)
    assert list(parts) == names
    for table in parts.values():
        assert {"embed", "qkv", "rope", "write_kv", "attention", "o", "gate, up", "down", "head", "sampling", "the rest"} <= set(table)
        assert sum(table.values()) == pytest.approx(100, abs=1) and min(table.values()) >= 0
    rows = json.loads(path.read_text())
    assert [(r["n_prompt"], r["n_gen"], r["n_parallel"], r["n_depth"]) for r in rows] == [
        (64, 0, 1, 0), (0, 8, 1, 0), (0, 8, 3, 0), (64, 0, 1, 40), (0, 8, 1, 40), (0, 8, 3, 40)]
    for r in rows:
        tokens = r["n_prompt"] or r["n_gen"] * r["n_parallel"]
        assert r["samples_ts"] == pytest.approx([tokens / ns * 1e9 for ns in r["samples_ns"]])
        assert r["avg_ts"] == pytest.approx(sum(r["samples_ts"]) / 2)
        seconds = max((r["step_weight_bytes"] + r["step_kv_bytes"]) / r["memory_gbps"], r["step_operations"] / r["peak_gops"]) / 1e9
        assert r["roofline_ts"] == pytest.approx((r["n_prompt"] or r["n_parallel"]) / seconds)


@pytest.mark.parametrize("family", ["gemma3_text", "mamba", "falcon_h1"])
def test_models_with_windows_and_states_are_measured(family):
    """Whose KV is in pages where the scheduler is in charge, and in whole blocks where the benchmark makes its own plans."""
    model = Path(__file__).resolve().parents[1] / "data" / "families" / family
    done = sluice("bench", "latency", str(model), "-p", "48", "-n", "8", "-b", "1,2", "-r", "1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(" pp48 ") == 1 and done.stdout.count(" tg8 ") == 2
    refused = sluice("bench", "latency", str(model), "-p", "48", "-n", "8", "--swa-full-tokens-ratio", "0.5")
    assert refused.returncode != 0 and "--swa-full-tokens-ratio has no use here" in refused.stderr
    served = sluice("bench", "throughput", str(model), "-c", "128", "-np", "8", "-ub", "16", "--block-size", "4", "--num-prompts", "20",
                    "--random-input-len", "60", "--random-output-len", "20", "--random-prefix-len", "20")
    assert served.returncode == 0, served.stderr
    assert re.search(r"have \d+ pages in place of blocks .* enough for \d+ long sequences", served.stdout + served.stderr)


def test_throughput_breaks_the_engine_down():
    done = sluice("bench", "throughput", str(MODEL), "--num-prompts", "8", "--random-input-len", "40", "--random-output-len", "10", "--breakdown")
    assert done.returncode == 0, done.stderr
    (table,) = tables(done.stdout).values()
    assert {"attention", "sampling", "scheduling", "prefix cache", "delivering tokens"} <= set(table)
    assert sum(table.values()) == pytest.approx(100, abs=1.5)
    assert re.search(r"^everything but the forward pass: \d+\.\d\d %$", done.stdout, re.M)


def test_quality_of_a_float32_model_is_that_of_exact_arithmetic(tmp_path):
    text, path = tmp_path / "text.txt", tmp_path / "quality.json"
    text.write_text("Once upon a time, there was a little dog. " * 12)
    done = sluice("bench", "quality", str(MODEL), "--text", str(text), "--context", "64", "--json", str(path))
    assert done.returncode == 0, done.stderr
    figures = json.loads(path.read_text())
    assert figures["n_tokens"] > 100 and 0 < figures["exact_nll"] < 5
    assert figures["difference"] == 0 and figures["interval_95"] == 0
    assert figures["kv_difference"] == 0
    done = sluice("bench", "quality", str(MODEL), "--text", str(text), "--context", "64", "--json", str(path), "--kv-cache-dtype", "int8")
    assert done.returncode == 0, done.stderr
    coarse = json.loads(path.read_text())
    assert coarse["type_k"] == "int8" and 0 < abs(coarse["difference"]) < 0.05
    assert coarse["kv_difference"] == coarse["difference"] and coarse["exact_nll"] == figures["exact_nll"]
    assert "name a file" in sluice("bench", "quality", str(MODEL)).stderr
    (tmp_path / "short.txt").write_text("a")
    for arguments, want in ((["short.txt"], "short.txt holds 1 tokens; at least 2 are needed"), (["none.txt"], "none.txt: No such file"),
                            (["text.txt", "--context", "513"], "--context is 513, but the model's context holds 512"),
                            (["text.txt", "--max-tokens", "1"], "--max-tokens is 1; it must be at least 2")):
        done = sluice("bench", "quality", str(MODEL), "--text", *arguments, cwd=tmp_path)
        assert done.returncode == 1 and want in done.stderr, done.stderr
        assert done.stdout == "" and "loading" not in done.stderr  # before the weights are read
    assert sluice("convert", str(MODEL), str(tmp_path / "m.pack.gguf"), "--pack").returncode == 0
    done = sluice("bench", "quality", str(tmp_path / "m.pack.gguf"), "--text", str(text), "--context", "64", "--json", str(path))
    assert done.returncode == 0, done.stderr
    assert json.loads(path.read_text())["exact_nll"] == figures["exact_nll"]


def test_compare_runs_what_there_is_and_resumes(tmp_path):
    def compare(*flags):
        command = [sys.executable, "-B", BENCH / "compare.py", "--sluice", BINARY, "--models", MODEL, "--threads", "1", "--depths", "32",
                   "--batches", "1,4", "--json", tmp_path / "c.json", "--markdown", tmp_path / "c.md", "--svg", tmp_path / "c.svg", *flags]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return json.loads((tmp_path / "c.json").read_text())["samples"]

    samples = compare("--repetitions", "1")
    assert [s["group"] for s in samples] == ["prefill", "decode", "depth 32", "batch", "start"]
    assert all(value > 0 for s in samples for value in s["figures"].values()), samples
    assert all(len(s["memory_gbps"]) == 2 for s in samples if s["group"] not in ("prefill", "start"))
    assert compare("--repetitions", "2", "--slow-repetitions", "1", "--resume")[:5] == samples
    table = (tmp_path / "c.md").read_text()
    for test in ("pp512", "tg64", "tg64 @ d32", "tg32 b1 @ d128", "tg32 b4 @ d128", "start"):
        assert f"| stories260K.gguf | 1 | {test} |" in table
    assert (tmp_path / "c.svg").read_text().startswith("<svg")


def test_ratios_are_made_within_repetitions():
    def sample(engine, repetition, **outcome):
        return {"model": "m", "threads": 2, "group": "decode", "engine": engine, "repetition": repetition, "memory_gbps": [10, 30], **outcome}

    figures = {"Sluice": [10, 40, 90], "llama.cpp": [5, 10, 30], "ik_llama.cpp": [4, 20, 10]}
    data = {"date": "today", "machine": {"cpu": "c", "cores": 2, "memory_gib": 1, "isa": []}, "versions": {},
            "roofline": {"2": {"memory_gbps": 20, "f32_gflops": 1, "bf16_gflops": 1, "int8_gops": 1000}},
            "demands": {"m tg64": {"tokens": 1, "bytes": 2e8, "kv_bytes": 0, "operations": 1e6, "peak": "int8_gops"}},
            "samples": [sample(e, r, figures={"tg64": v[r]}) for e, v in figures.items() for r in range(3)]}
    # Medians of 2, 4, 3; of 2.5, 2, 9; of 2, 2, 3. The limit is 20 GB/s over 0.2 GB.
    assert ("| m | 2 | tg64 | memory | 40.0 (40 %) | 10.0 (10 %) | 10.0 (10 %) | **3.00** | **2.50** | **2.00** |"
            in compare_report.markdown(data))
    data["samples"].append({**sample("old", 0, error="llama-bench has no depth"), "memory_gbps": None})
    assert "none [1]" in compare_report.markdown(data) and "[1] llama-bench has no depth" in compare_report.markdown(data)


def test_rows_of_batched_benchmarks_are_read_among_log_lines():
    text = ("| PP | TG | B | N_KV | T_PP s | S_PP t/s | T_TG s | S_TG t/s | T s | S t/s |\n|----|\n"
            "0.00 W |   128 |     32 |    4 |    640 |    0.017 | 29476.11 |    0.040 |  3231.10 |    0.057 | 11231.03 |\n")
    assert BATCHED_ROW.findall(text) == [("4", "3231.10")]


@pytest.mark.parametrize("flags", [["-ub", "64"], ["--tbt-target-ms", "50"], ["--chunked-prefill-size", "32"]])
def test_calibration_cuts_steps_its_own_way(flags, tmp_path):
    """Whatever the flags say of how steps are cut, and within a small budget of a step."""
    done = sluice("bench", "calibrate", str(MODEL), "--num-prompts", "20", "-o", str(tmp_path / "cost.json"), *flags)
    assert done.returncode == 0, done.stderr
    assert "rows_past_64" in json.loads((tmp_path / "cost.json").read_text())["ns_per"]
