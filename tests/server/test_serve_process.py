"""sluice serve as a process: what signals do to it, and the flags that it refuses."""
import os
import signal
import socket
import subprocess
import time

import httpx
import pytest
from conftest import BINARY, MODEL, Server, sluice


@pytest.mark.parametrize("number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_the_model_loads_ends_it_at_once(tmp_path, number, status):
    # Loading does not get past a template that nobody writes.
    template = tmp_path / "template"
    os.mkfifo(template)
    loading = subprocess.Popen([BINARY, "serve", str(MODEL), "--port", "0", "--chat-template", str(template)], stderr=subprocess.PIPE, text=True)
    try:
        assert "loading" in loading.stderr.readline()
        loading.send_signal(number)
        assert loading.wait(timeout=30) == status
        assert f"{number.name}: stopping at once" in loading.stderr.read()
    finally:
        loading.kill()


def test_a_second_signal_ends_the_draining():
    server = Server("--drain-timeout", "600")
    with socket.create_connection(("127.0.0.1", server.port)) as half_a_request:
        half_a_request.sendall(b"POST /v1/completions HTTP/1.1\r\n")
        while server.unread_connections() > 0:
            time.sleep(0.01)
        server.process.send_signal(signal.SIGINT)
        while not any("SIGINT: draining" in line for line in server.log):
            time.sleep(0.01)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=30) == 143


@pytest.mark.parametrize("flag, value, right", [
    ("--port", "70000", "it must be from 0 to 65535"), ("--max-connections", "0", "it must be from 1 to 1048576"),
    ("--max-body-size", "0", "it must be from 1 to 1099511627776"), ("--request-timeout", "-1", "it must be from 0 to 1000000000"),
    ("--request-timeout", "nan", "it must be from 0 to 1000000000"), ("--health-timeout", "0", "it must be from 0.001 to 1000000000"),
    ("--drain-timeout", "-1", "it must be from 0 to 1000000000"), ("--api-key", "a,,b", "a key has at least one character"),
])
def test_flags_are_checked_before_anything_is_loaded(flag, value, right):
    done = sluice("serve", "/nonexistent", flag, value)
    assert done.returncode == 1 and flag in done.stderr and right in done.stderr


def test_a_model_that_cannot_be_served_ends_the_process_before_anybody_is_let_in(tmp_path):
    whole = MODEL.read_bytes()
    (tmp_path / "cut.gguf").write_bytes(whole[:-1000])
    (tmp_path / "untold.gguf").write_bytes(whole.replace(b"tokenizer.ggml.tokens", b"tokenizer.ggml.nokens"))
    (tmp_path / "template.jinja").write_text("{% if %}")
    for model, flags, reason in [
        (tmp_path / "none.gguf", [], "none.gguf"), (tmp_path / "cut.gguf", [], "cut.gguf"), (tmp_path / "untold.gguf", [], "tokenizer.ggml.tokens is missing"),
        (MODEL, ["--chat-template", str(tmp_path / "template.jinja")], "template.jinja"), (MODEL, ["-c", "513"], "--max-model-len is 513"),
        (MODEL, ["--chunk-policy", "x"], "--chunk-policy does not know 'x'"), (MODEL, ["--watermark", "2"], "--watermark is 2"),
    ]:
        done = sluice("serve", str(model), "--port", "0", *flags)
        assert done.returncode == 1 and reason in done.stderr and "listening" not in done.stderr, done.stderr


def test_an_empty_key_in_the_environment_asks_for_none(tmp_path, start, monkeypatch):
    monkeypatch.setenv("SLUICE_API_KEY", "")
    assert httpx.get(start().url + "/v1/models").status_code == 200
    (tmp_path / "config.yaml").write_text('api-key: ""\n')
    assert "--api-key holds an empty key" in sluice("serve", str(MODEL), "--config", str(tmp_path / "config.yaml")).stderr
