"""Commands and servers that a comparison runs: each is waited for or stopped, whatever happens."""
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path


class Failed(Exception):
    """A run that gave no figure; the text says why, for a cell of the table."""


def end_cleanly():
    """From now on a termination ends as an interruption does: what was started is stopped first."""
    for sign in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(sign, lambda number, _: sys.exit(128 + number))


def run(command, timeout_s):
    """The command's stdout and stderr. It runs in an empty directory, since some tools leave logs where they stand."""
    with tempfile.TemporaryDirectory() as directory:
        process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   stdin=subprocess.DEVNULL, text=True, errors="replace", cwd=directory,
                                   start_new_session=True)
        try:
            out, err = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise Failed(f"took more than {timeout_s} s") from None
        finally:
            stop(process)
    if process.returncode != 0:
        raise Failed(f"{Path(command[0]).name} ended with {process.returncode}: {last_line(err or out)}")
    return out, err


def last_line(text):
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "no message"


def stop(process):
    """Ends a process and those it started; harmless when they have ended."""
    for sign, wait_s in ((signal.SIGTERM, 20), (signal.SIGKILL, 20)):
        if process.poll() is not None:
            return
        try:
            os.killpg(process.pid, sign)
            process.wait(wait_s)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """An OpenAI server on a free port of 127.0.0.1; `with` starts it and stops it."""

    def __init__(self, command, timeout_s):
        self.port = free_port()
        self.command = [str(part) for part in command] + ["--host", "127.0.0.1", "--port", str(self.port)]
        self.timeout_s = timeout_s

    def __enter__(self):
        self.log = tempfile.TemporaryFile("w+", errors="replace")
        self.started = time.monotonic()
        self.process = subprocess.Popen(self.command, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL,
                                        start_new_session=True)
        return self

    def __exit__(self, *_):
        stop(self.process)
        self.log.close()

    def post(self, path, body):
        """The status and the JSON of the answer; None while nothing listens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.timeout_s)
        try:
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()
        except (ConnectionError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def first_token_s(self):
        """Seconds from the start of the process to the first token of a request that is tried until it is served."""
        body = {"prompt": [1, 2, 3, 4, 5, 6, 7, 8], "max_tokens": 1, "temperature": 0, "ignore_eos": True}
        while time.monotonic() - self.started < self.timeout_s:
            answer = self.post("/v1/completions", body)
            if answer is not None and answer[0] == 200:
                return time.monotonic() - self.started
            if answer is not None and answer[0] != 503:  # 503: it listens, and loads
                raise Failed(f"HTTP {answer[0]}: {answer[1][:200]!r}")
            if self.process.poll() is not None:
                self.log.seek(0)
                raise Failed(f"the server ended with {self.process.returncode}: {last_line(self.log.read())}")
            time.sleep(0.005)
        raise Failed(f"no answer within {self.timeout_s} s")

    def memory_mib(self):
        """Peak resident memory, and what of the present is the process's own, not pages of a file."""
        fields = dict(line.split(":", 1) for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines())
        return {name: int(fields[key].split()[0]) / 1024 for name, key in (("peak", "VmHWM"), ("own", "RssAnon"))}
