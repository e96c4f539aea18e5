"""Starts the real server (SLUICE_BIN) with the embedded model; the tests are real clients of it."""
import concurrent.futures
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import httpx
import openai
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
MODEL = ROOT / "models" / "stories260K.gguf"
# What commands keep for later runs is not to come from the user's folder, nor go there.
CACHE = tempfile.TemporaryDirectory()
os.environ["XDG_CACHE_HOME"] = CACHE.name
BINARY = os.environ.get("SLUICE_BIN", str(ROOT / "build/release/sluice"))


def sluice(*arguments, **options):
    """Runs a command to its end; its output as text."""
    return subprocess.run([BINARY, *arguments], capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL, **options)


class Server:
    def __init__(self, *flags, model=MODEL):
        self.process = subprocess.Popen([BINARY, "serve", str(model), "--port", "0", *flags], stderr=subprocess.PIPE, text=True)
        self.log = []
        self.port = None
        for line in self.process.stderr:
            self.log.append(line)
            if "ready in" in line:
                self.port = int(re.search(r":(\d+)/v1", line).group(1))
                break
        assert self.port, "".join(self.log)
        threading.Thread(target=lambda: self.log.extend(self.process.stderr), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.port}"

    def client(self, key="unused"):
        return openai.OpenAI(base_url=self.url + "/v1", api_key=key, max_retries=0, timeout=120)

    def metric(self, name):
        text = httpx.get(self.url + "/metrics").text
        found = re.findall(rf"^sluice:{name}(?:_total)?(?:{{[^}}]*}})? (\S+)$", text, re.M)
        assert found, f"no metric {name} in\n{text[:2000]}"
        return sum(map(float, found))

    def burst(self, calls):
        """Runs the calls in threads of their own, and lets the server see the first bytes of them all at the same moment."""
        with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
            self.process.send_signal(signal.SIGSTOP)
            try:
                futures = [pool.submit(call) for call in calls]
                deadline = time.monotonic() + 60
                while self.unread_connections() < len(calls) and time.monotonic() < deadline:
                    time.sleep(0.01)
            finally:
                self.process.send_signal(signal.SIGCONT)
            return [f.result() for f in futures]

    def unread_connections(self):
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return sum(int(r[1].split(":")[1], 16) == self.port and r[3] == "01" and r[4].split(":")[1] != "00000000" for r in rows)

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)


@pytest.fixture(scope="session")
def server():
    running = Server("--chat-template", "chatml")
    yield running
    assert running.stop() == 0


@pytest.fixture
def start():
    """Servers with flags of their own, stopped at the end of the test."""
    servers = []

    def begin(*flags, **options):
        servers.append(Server(*flags, **options))
        return servers[-1]

    yield begin
    for one in servers:
        one.stop()
