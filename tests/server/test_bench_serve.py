"""`sluice bench serve` as a client of the server."""
import json

from conftest import sluice

# What vLLM's benchmark_serving writes of the whole run.
VLLM_KEYS = ["duration", "completed", "total_input_tokens", "total_output_tokens", "request_throughput", "request_goodput",
             "output_throughput", "total_token_throughput", "errors"]
VLLM_KEYS += [f"{kind}_{what}_ms" for kind in ("mean", "median", "std", "p99") for what in ("ttft", "tpot", "itl", "e2el")]


def bench(server, path, *flags):
    done = sluice("bench", "serve", "--base-url", server.url, "--num-prompts", "12", "--random-input-len", "40", "--random-output-len", "20",
                  "--result-file", str(path), *flags)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(path.read_text())


def test_our_own_server_needs_no_flag(server, tmp_path):
    report = bench(server, tmp_path / "report.json", "--goodput", "ttft:60000")
    assert [key for key in VLLM_KEYS if key not in report] == []
    assert (report["completed"], report["failed"], report["errors"]) == (12, 0, [])
    assert (report["total_input_tokens"], report["total_output_tokens"]) == (12 * 40, 12 * 20)
    assert 0 < report["mean_ttft_ms"] <= report["mean_e2el_ms"] and report["request_goodput"] > 0


def test_chat_and_a_capped_rate(server, tmp_path):
    report = bench(server, tmp_path / "report.json", "--endpoint", "/v1/chat/completions", "--max-concurrency", "2", "--request-rate", "50")
    assert (report["completed"], report["failed"]) == (12, 0)
    assert report["total_output_tokens"] == 12 * 20
