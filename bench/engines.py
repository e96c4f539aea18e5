"""The engines that compare.py runs: how each is asked for a figure, and how its answer is read."""
import json
import re
import shlex
import tempfile
from pathlib import Path

from processes import Failed, Server, last_line, run

PROMPT, GENERATED = 512, 64                 # pp512, tg64
BATCH_PROMPT, BATCH_GENERATED = 128, 32     # of each sequence of a batch


# | PP | TG | B | N_KV | T_PP s | S_PP t/s | T_TG s | S_TG t/s | T s | S t/s |, of which B and S_TG are taken
BATCHED_ROW = re.compile(r"\|\s*\d+ \|\s*\d+ \|\s*(\d+) \|\s*\d+" + r" \|\s*[\d.]+" * 3 + r" \|\s*([\d.]+)" + r" \|\s*[\d.]+" * 2)


def batch_test(batch):
    return f"tg{BATCH_GENERATED} b{batch} @ d{BATCH_PROMPT}"


def depth_test(depth):
    return f"tg{GENERATED} @ d{depth}"


class Engine:
    """Each method gives {test: tokens per second}; `start` gives {"start": seconds}."""

    def __init__(self, name, timeout_s):
        self.name, self.timeout_s = name, timeout_s

    def serve_command(self, model, threads, streams, context):
        raise Failed("has no server here")

    def start(self, model, threads):
        with Server(self.serve_command(model, threads, 1, 512), self.timeout_s) as server:
            seconds = server.first_token_s()
            self.memory = server.memory_mib()
        return {"start": seconds}


class Sluice(Engine):
    def __init__(self, path, timeout_s):
        super().__init__("Sluice", timeout_s)
        self.path = Path(path).resolve()
        self.demands = {}  # (model, test): what a step asks of the machine

    def version(self):
        version = run([self.path, "--version"], 60)[0].strip()
        try:
            commit = run(["git", "-C", Path(__file__).parent, "describe", "--always", "--dirty"], 60)[0].strip()
            return f"{version} ({commit})"
        except (Failed, OSError):
            return version  # not a checkout

    def json_of(self, *arguments):
        with tempfile.NamedTemporaryFile(suffix=".json") as file:
            run([self.path, "bench", *arguments, "--json", file.name], self.timeout_s)
            return json.loads(Path(file.name).read_text())

    def roofline(self, threads, memory_only=False):
        return self.json_of("roofline", "-t", threads, *(["--memory-only"] if memory_only else []))[0]

    def latency(self, name_of, model, threads, *arguments):
        figures = {}
        for row in self.json_of("latency", model, "-t", threads, "-r", 1, *arguments):
            test = name_of(row)
            figures[test] = row["avg_ts"]
            self.demands[(str(model), test)] = {
                "tokens": row["n_prompt"] or row["n_parallel"], "bytes": row["step_weight_bytes"] + row["step_kv_bytes"],
                "kv_bytes": row["step_kv_bytes"], "operations": row["step_operations"], "peak": row["peak"]}
        return figures

    def prefill(self, model, threads):
        return self.latency(lambda row: f"pp{PROMPT}", model, threads, "-p", PROMPT, "-n", 0)

    def decode(self, model, threads):
        return self.latency(lambda row: f"tg{GENERATED}", model, threads, "-p", 0, "-n", GENERATED)

    def depth(self, model, threads, depth):
        return self.latency(lambda row: depth_test(depth), model, threads, "-p", 0, "-n", GENERATED, "-d", depth)

    def batch(self, model, threads, batches):
        return self.latency(lambda row: batch_test(row["n_parallel"]), model, threads, "-p", 0, "-n", BATCH_GENERATED,
                            "-d", BATCH_PROMPT, "-b", ",".join(map(str, batches)))

    def serve_command(self, model, threads, streams, context):
        return [self.path, "serve", model, "-t", threads, "--max-num-seqs", streams, "--max-model-len", context]


class LlamaFamily(Engine):
    """llama.cpp, and what was forked from it."""

    def __init__(self, name, directory, timeout_s, bench_args="", batched_args="", server_args=""):
        super().__init__(name, timeout_s)
        self.directory = Path(directory).resolve()
        self.bench_args, self.batched_args, self.server_args = map(shlex.split, (bench_args, batched_args, server_args))
        help_out, help_err = run([self.tool("llama-bench"), "--help"], 60)
        self.help = help_out + help_err
        self.build = "of unknown version"
        try:
            out, err = run([self.tool("llama-bench"), "--version"], 60)
            self.build = re.search(r"version: (.+)", out + err).group(1).strip()
        except (Failed, AttributeError):
            pass  # an older one, which says it in its results only

    def tool(self, name):
        path = self.directory / name
        if not path.exists():
            raise Failed(f"{name} is not built")
        return path

    def version(self):
        return self.build

    def bench(self, model, threads, *arguments):
        out, _ = run([self.tool("llama-bench"), "-m", model, "-t", threads, "-r", 1, "-o", "json", *arguments,
                      *self.bench_args], self.timeout_s)
        rows = json.loads(out[re.search(r"^\[\s*$", out, re.MULTILINE).start():])
        if "unknown" in self.build:
            self.build = f"build {rows[-1]['build_number']} ({rows[-1]['build_commit']})"
        return rows[-1]["avg_ts"]

    def prefill(self, model, threads):
        return {f"pp{PROMPT}": self.bench(model, threads, "-p", PROMPT, "-n", 0)}

    def decode(self, model, threads):
        return {f"tg{GENERATED}": self.bench(model, threads, "-p", 0, "-n", GENERATED)}

    def depth(self, model, threads, depth):
        if "--n-depth" in self.help:
            return {depth_test(depth): self.bench(model, threads, "-p", 0, "-n", GENERATED, "-d", depth)}
        if "-gp <" in self.help:  # generation after a prompt, timed alone
            return {depth_test(depth): self.bench(model, threads, "-p", 0, "-n", 0, "-gp", f"{depth},{GENERATED}")}
        raise Failed("llama-bench has no depth")

    def batch(self, model, threads, batches):
        context = max(batches) * (BATCH_PROMPT + BATCH_GENERATED)
        # The smallest comes again at the end: a thread of its own prints the rows, and the last may be lost as it ends.
        asked = [*batches, min(batches)]
        out, err = run([self.tool("llama-batched-bench"), "-m", model, "-t", threads, "-c", context, "-npp", BATCH_PROMPT,
                        "-ntg", BATCH_GENERATED, "-npl", ",".join(map(str, asked)), *self.batched_args], self.timeout_s)
        figures = {}
        for batch, rate in BATCHED_ROW.findall(out + err):
            figures.setdefault(batch_test(int(batch)), float(rate))
        if len(figures) != len(batches):
            raise Failed(f"llama-batched-bench printed {len(figures)} of {len(batches)} rows: {last_line(err or out)}")
        return figures

    def serve_command(self, model, threads, streams, context):
        return [self.tool("llama-server"), "-m", model, "-t", threads, "-np", streams, "-c", streams * context,
                *self.server_args]
