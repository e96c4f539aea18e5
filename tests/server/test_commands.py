"""The commands as a user types them: what they refuse, and in which words."""
import json
import os
import pty
import re
import struct
import subprocess

import httpx
import pytest
from conftest import BINARY, MODEL, sluice


def refused(*arguments, **options):
    """The message of a command that must fail with exit code 1."""
    done = sluice(*map(str, arguments), **options)
    assert done.returncode == 1, (done.returncode, done.stdout, done.stderr)
    return done.stderr


@pytest.mark.parametrize("flags, numbers", [
    (["--kv-cache-memory-bytes", "500T"], r"KV cache 512000\.00 GiB"),
    (["--kv-cache-memory-bytes", "10"], r"--kv-cache-memory-bytes is 10; it must be at least 20480\b"),
    (["--kv-cache-memory-bytes", "50K", "-c", "100"], r"is 51200; it must be at least 143360, which 100 tokens"),
    (["--kv-cache-dtype", "int8", "--kv-cache-memory-bytes", "10"], r"it must be at least 7680, which 2 tokens"),  # 8 + 4 bytes a head
    # 2 + 4 bytes a head, and 16 of an open block's
    (["--kv-cache-dtype", "kivi2", "--kv-cache-memory-bytes", "10"], r"it must be at least 28160, which 2 tokens take in blocks of 32"),
    (["--kv-cache-dtype", "int3"], r"--kv-cache-dtype 'int3' is not known; it is one of auto, f32, f16, bf16, int8"),
    (["--memory-utilization", "0.000001"], r"--memory-utilization 1e-06 of what is free"),
    (["-c", "1"], r"--max-model-len is 1; it must be at least 2, or 0"),
    (["-c", "513"], r"--max-model-len is 513; it must be from 2 to the 512 positions"),
])
def test_run_and_inspect_refuse_memory_alike_with_sums_that_add_up(flags, numbers):
    message = refused("run", MODEL, "-p", "x", *flags).removeprefix("sluice run: ").strip()
    available = re.compile(r"but \S+ GiB are available \(of \S+ GiB")  # changes from run to run
    shown = sluice("inspect", str(MODEL), *flags)  # what depends on the model stands in the table, else it is an error
    assert available.sub("", message) in available.sub("", shown.stdout + shown.stderr)
    assert re.search(numbers, message)
    if "=" in message:
        *terms, total = map(float, re.findall(r"(\S+) GiB", message.split(", but")[0]))
        assert sum(terms) == pytest.approx(total, abs=1e-6)


@pytest.fixture(scope="module")
def cost(tmp_path_factory):
    """A step-time model fitted here."""
    path = tmp_path_factory.mktemp("cost") / "cost.json"
    done = sluice("bench", "calibrate", str(MODEL), "--num-prompts", "10", "-o", str(path))
    assert done.returncode == 0, done.stderr
    return path


FEW = ["--num-prompts", "3", "--random-input-len", "20", "--random-output-len", "5"]


@pytest.mark.parametrize("path", ["/nonexistent/x", "/dev/full"])
def test_a_result_that_cannot_be_written_is_an_error(cost, server, path):
    for command in (["bench", "calibrate", MODEL, "--num-prompts", "10", "-o"], ["bench", "throughput", MODEL, *FEW, "--result-file"],
                    ["bench", "serve", "--base-url", server.url, *FEW, "--result-file"], ["simulate", "--cost", cost, *FEW, "--result-file"]):
        assert f"cannot write {path}: " in refused(*command, path)


@pytest.mark.parametrize("flag, value, want", [
    ("--port", "99999999", "--port is 99999999; it must be from 0 to 65535"),
    ("--drain-timeout", "-1", "--drain-timeout is -1; it must be from 0"),
    ("--memory-utilization", "1.5", "--memory-utilization is 1.5; it must be above 0 and at most 1"),
    ("--watermark", "1", "--watermark is 1; it must be at least 0 and below 1"),
    ("--block-size", "257", "--block-size is 257; it must be from 1 to 256"),
    ("--threads", "-1", "--threads is -1; it must be from 0 to 1024"),
    ("--max-model-len", "-4", "--max-model-len is -4; it must be at least 2, or 0"),
    ("--kv-cache-dtype", "f12", "--kv-cache-dtype 'f12' is not known"),
    ("--chunk-policy", "none-such", "--chunk-policy does not know 'none-such'"),
    ("--isa", "sse9", "sse9 is unknown"),
    ("--matmul-tuning", "always", "--matmul-tuning 'always' is not known; it is auto, cached or off"),
    ("--log-level", "loud", "--log-level 'loud' is none of"),
])
def test_show_config_shows_what_would_run_or_what_is_wrong(flag, value, want):
    assert want in refused("serve", "--show-config", flag, value)
    assert want in refused("serve", MODEL, "--port", "0", flag, value)  # the last counts
    by_variable = {f"SLUICE_{flag[2:].upper().replace('-', '_')}": value}
    assert want in refused("serve", "--show-config", env=os.environ | by_variable)


def test_show_config_needs_no_model():
    done = sluice("serve", "--show-config", "--port", "81", "-np", "7", "--isa", "ref")
    assert done.returncode == 0, done.stderr
    shown = {line.split()[0]: line.split(maxsplit=1)[1] for line in done.stdout.splitlines()}
    assert shown["port"].split() == ["81", "command", "line"] and shown["max-num-seqs"].split()[0] == "7"
    assert shown["watermark"].split() == ["0.01", "default"]


def help_of(*command):
    return " ".join(sluice(*command, "--help").stdout.split())


def test_help_shows_the_defaults_in_effect():
    assert "most sequences that run at once [4]" in help_of("run")
    assert "most sequences that run at once [64]" in help_of("bench", "latency")
    assert "--[no-]enable-prefix-caching share the KV of common prefixes between requests [true]" in help_of("serve")


@pytest.mark.parametrize("flag", ["scheduling-policy", "chunk-policy", "batching", "preemption-policy", "prefix-cache"])
def test_help_names_what_the_catalogs_have(cost, flag):
    known = refused("simulate", "--cost", cost, f"--{flag}", "none-such").strip().split("it knows: ")[1].split(", ")
    for command in (["run"], ["simulate"], ["bench", "latency"]):
        described = help_of(*command).split(f"--{flag} TEXT")[1].split(" --")[0]
        assert [name for name in known if f"{name} (" not in described] == []


@pytest.mark.parametrize("flag, value, want", [
    ("--temperature", "-1", "--temperature is -1; it must be a number from 0 to 100"),
    ("--temperature", "nan", "--temperature is nan; it must be a number from 0 to 100"),
    ("--top-p", "0", "--top-p is 0; it must be a number from 0 to 1, above 0"),
    ("--min-p", "1.5", "--min-p is 1.5; it must be a number from 0 to 1"),
    ("--repetition-penalty", "0", "--repetition-penalty is 0; it must be a number from 0.001 to 10"),
    ("--presence-penalty", "3", "--presence-penalty is 3; it must be a number from -2 to 2"),
    ("--top-k", "-2", "--top-k is -2; it must be an integer of at least -1"),
])
def test_run_takes_the_sampling_values_that_the_server_takes(server, flag, value, want):
    assert want in refused("run", MODEL, "-p", "x", flag, value)
    if value != "nan":
        field = flag[2:].replace("-", "_")
        answer = httpx.post(server.url + "/v1/completions", json={"prompt": "x", field: float(value)})
        assert answer.status_code == 400 and want.split("; ")[1] in answer.json()["error"]["message"]


def test_a_chat_without_a_template_is_refused_before_its_first_message():
    keyboard, terminal = pty.openpty()
    try:
        chat = subprocess.run([BINARY, "run", str(MODEL)], stdin=terminal, capture_output=True, text=True, timeout=60)
    finally:
        os.close(keyboard), os.close(terminal)
    assert chat.returncode == 1 and "> " not in chat.stderr, chat.stderr
    assert "this model has no chat template; give a prompt (-p TEXT)" in chat.stderr
    assert "this model has no chat template" in refused("run", MODEL, "--chat", "-p", "x")


def test_a_variable_that_nothing_reads_is_named_with_the_closest_that_is_known():
    def said(command, **variables):
        return sluice(*command, env={k: v for k, v in os.environ.items() if not k.startswith("SLUICE_")} | variables).stderr

    assert said(["inspect", MODEL], SLUICE_MAX_MODEL_LEM="64", SLUICE_KV_CASH_DTYPE="f16") == (
        "sluice: the environment variable SLUICE_KV_CASH_DTYPE is read by nothing; the closest that is known is SLUICE_KV_CACHE_DTYPE\n"
        "sluice: the environment variable SLUICE_MAX_MODEL_LEM is read by nothing; the closest that is known is SLUICE_MAX_MODEL_LEN\n")
    for flag in ("PORT", "TEMPERATURE", "COST", "BASE_URL", "LIKE", "TRACE"):  # of serve, run, simulate, bench serve, convert, simulate
        assert said(["inspect", MODEL], **{f"SLUICE_{flag}": "1"}) == ""
    assert said(["inspect", MODEL], SLUICE_ISA="ref", SLUICE_THREADS="1", SLUICE_TEST_DATA="/x", SLUICE_BIN="/x", SLUICE_CONFIG="") == ""


def test_roofline_has_a_bandwidth_and_three_peaks():
    lines = sluice("bench", "roofline", "-t", "1").stdout.splitlines()
    figures = [float(word) for word in lines[1].split()]
    assert len(figures) == 5 and all(f > 0 for f in figures)
    assert re.search(r"f32 by .+; bf16 by .+; int8 by .+", lines[-1])


@pytest.mark.parametrize("flags", [["--memory-only"], ["--isa", "ref"]])
def test_roofline_gives_what_it_measured_and_no_zeros(tmp_path, flags):
    done = sluice("bench", "roofline", "-t", "1", *flags, "--json", str(tmp_path / "r.json"))
    (row,) = json.loads((tmp_path / "r.json").read_text())
    assert set(row) == {"backends", "n_threads", "memory_gbps"} and row["memory_gbps"] > 0
    assert set(done.stdout.splitlines()[1].split()[2:]) <= {"-"}
    assert ("GFLOP" in done.stdout) == ("int8 by" in done.stdout) == ("--memory-only" not in flags)


def test_throughput_gives_its_share_of_the_roofline_or_says_that_nothing_ran():
    done = sluice("bench", "throughput", str(MODEL), *FEW)
    assert done.returncode == 0 and re.search(r"\d+ steps: forward \S+ s \(\d+\.\d % of the roofline", done.stdout)
    failed = sluice("bench", "throughput", str(MODEL), "--num-prompts", "3", "--random-input-len", "5000")
    assert failed.returncode == 1 and "no step was run" in failed.stdout and "inf" not in failed.stdout


def test_batching_gives_shares_of_the_roofline():
    done = sluice("bench", "batching", str(MODEL), "--num-prompts", "12")
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^(?:continuous|static): \d+ steps: forward \S+ s \(\d+\.\d % of the roofline", done.stdout, re.M)) == 2
    assert "failed" not in done.stdout
    done = sluice("bench", "batching", str(MODEL), "--num-prompts", "30", "--random-input-len", "480", "--random-output-len", "20",
                  "--random-range-ratio", "0.3")
    assert done.returncode == 1 and len(re.findall(r"^(?:continuous|static): \d+ of 30 requests failed: .*\b512\b", done.stdout, re.M)) == 2, done.stdout


@pytest.mark.parametrize("arguments, want", [
    (["bench", "serve", "--base-url", "http://127.0.0.1:1"], "GET /v1/models from 127.0.0.1:1 (--base-url): Connection refused\n"),
    (["bench", "serve", "--base-url", "http://127.0.0.1:x"], "http://HOST:PORT is wanted"),
    (["bench", "serve", "--base-url", "http://127.0.0.1:1/api"], "the path /api belongs into --endpoint"),
    (["bench", "serve", "--max-concurrency", "-1"], "--max-concurrency is -1; it must be at least 0"),
    (["bench", "throughput", MODEL, "--request-rate", "4x"], "--request-rate is '4x'; it must be a number"),
    (["bench", "throughput", MODEL, "--goodput", "ttft:5x"], "--goodput 'ttft:5x': ttft:MS,tpot:MS,e2el:MS is wanted"),
    (["bench", "throughput", MODEL, "--num-prompts", "0"], "--num-prompts is 0; it must be at least 1"),
    (["bench", "latency", MODEL, "-r", "0"], "--repetitions is 0; it must be at least 1"),
    (["bench", "latency", MODEL, "-p", "0", "-n", "0"], "one of them above"),
    (["bench", "latency", MODEL, "-p", "513"], "--n-prompt 513 after --n-depth 0 makes 513 tokens; the context holds 512"),
    (["bench", "latency", MODEL, "-p", "0", "-n", "13", "-d", "0,500"], "--n-gen 13 after --n-depth 500 makes 513 tokens; the context holds 512"),
    (["bench", "latency", MODEL, "-p", "0", "-n", "1", "-d", "2147483647"], "makes 2147483648 tokens; the context holds 512"),
    (["bench", "latency", MODEL, "-c", "64", "-p", "60", "-n", "65"], "--n-gen 65 after --n-depth 0 makes 65 tokens; the context holds 64"),
    (["bench", "latency", MODEL, "-b", "1,257"], "257 sequences (--batch) of 128 tokens need more than the KV cache's 32768"),
    (["bench", "calibrate", MODEL, "--num-prompts", "0"], "--num-prompts is 0; it must be at least 1"),
    (["run", MODEL, "--kv-offload-share", "0.5"], "--kv-offload-share has no use where no layer is offloaded"),
    (["run", MODEL, "--kv-offload-layers", "4"], "--kv-offload-layers needs --kv-offload-path"),
    (["run", MODEL, "--kv-offload-layers", "5-x", "--kv-offload-path", "/tmp"], "--kv-offload-layers is '5-x'"),
    (["run", MODEL, "--kv-offload-layers", "all", "--kv-offload-path", "/tmp", "--kv-allocator", "virtual"], "--kv-allocator virtual maps"),
    (["run", MODEL, "--kv-disk-bytes", "4G"], "--kv-disk-bytes has no use without --kv-disk"),
    (["bench", "roofline", "--isa", "sse9"], "--isa sse9 is unknown; the choices are"),
    (["bench", "roofline", "-t", "-1"], "--threads is -1; it must be from 0 to 1024"),
])
def test_measurements_refuse_what_they_cannot_do(arguments, want):
    assert want in refused(*arguments)


def test_a_dead_server_is_named_without_boosts_sources(cost):
    done = sluice("bench", "serve", "--base-url", "http://127.0.0.1:1", "--model", "m", "--vocab-size", "9", *FEW)
    assert done.returncode == 1 and "error: Connection refused\n" in done.stdout and "boost" not in done.stdout
    assert "--max-model-len is 1; it must be at least 2" in refused("simulate", "--cost", cost, "-c", "1")


def test_strings_of_a_file_cannot_speak_to_the_terminal(tmp_path):
    def text(value):
        return struct.pack("<Q", len(value)) + value

    evil = b"llama\x1b[31m\x00tail\xc2\x9b\xff"
    keys = [(b"general.architecture", evil), (b"general.na\x1b[2Jme", "two\nlines of größe".encode()), (b"long", "é".encode() * 80)]
    model = tmp_path / "evil.gguf"
    model.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, len(keys)) + b"".join(text(k) + struct.pack("<I", 8) + text(v) for k, v in keys))
    shown = sluice("inspect", str(model), "--metadata").stdout
    said = refused("run", model, "-p", "x")
    escaped = r"llama\x1b[31m\x00tail\xc2\x9b\xff"
    assert escaped in shown and escaped in said and r"two\nlines of größe" in shown and r"general.na\x1b[2Jme" in shown
    assert "é..." in shown
    for output in (shown, said):
        assert not [c for c in output if c != "\n" and (c < " " or "\x7f" <= c < "\xa0")]
    assert said.index(escaped) + len(escaped) < len(said.strip())  # the message goes on after the NUL
