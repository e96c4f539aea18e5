"""sluice serve as a process: what signals do to it."""
import os
import signal
import socket
import subprocess
import time

import pytest
from conftest import BINARY, MODEL, Server


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
