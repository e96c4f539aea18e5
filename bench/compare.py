#!/usr/bin/env python3
"""Sluice, llama.cpp and ik_llama.cpp, run alternately on the same GGUF files with the same threads.

usage: bench/compare.py --sluice build/release/sluice --llama-bin DIR --ik-bin DIR --models FILE... --threads 2,1 \\
           --repetitions 5 --json OUT.json --markdown OUT.md --svg OUT.svg

One repetition runs every engine once, the first of them a different one each time; ratios are made within a repetition.
Every decode stands between two reads of the memory's bandwidth, whose mean it is held against; prefill is held against
the arithmetic peak of the instructions for the weights' type, the best of what was measured at the start and the end. The JSON is rewritten after every run; with --resume, runs
that it holds are not made again, so that a long comparison may be interrupted, and extended. --render-only draws it anew.

Peers' tools: llama-bench, llama-batched-bench, and llama-server for the start. What a peer cannot do, its cell says.
"""
import argparse
import datetime
import json
import os
import platform
import sys
import time
from pathlib import Path

import compare_report
from engines import LlamaFamily, Sluice
from processes import Failed, end_cleanly

TESTS = ("prefill", "decode", "depth", "batch", "start")


def machine():
    info = Path("/proc/cpuinfo").read_text()
    field = lambda name: next((l.split(":", 1)[1].strip() for l in info.splitlines() if l.startswith(name)), "unknown")
    flags = set(field("flags").split())
    wanted = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_int8")
    return {"cpu": f"{field('model name')} (family {field('cpu family')}, model {field('model')})",
            "cores": len(os.sched_getaffinity(0)), "isa": [f for f in wanted if f in flags],
            "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
            "kernel": platform.release()}


class Comparison:
    def __init__(self, options, sluice, peers):
        self.options, self.sluice, self.engines = options, sluice, [sluice, *peers]
        self.data = {"samples": [], "roofline": {}, "versions": {}}
        if options.resume and options.json.exists():
            self.data = json.loads(options.json.read_text())
            if not options.render_only:  # what failed is run again
                self.data["samples"] = [s for s in self.data["samples"] if "error" not in s]
        self.data |= {"date": datetime.date.today().isoformat(), "machine": machine()}
        self.done = {self.key(s) for s in self.data["samples"]}
        self.plan = list(self.make_plan())
        self.started, self.runs = time.monotonic(), 0

    @staticmethod
    def key(sample):
        return tuple(sample[name] for name in ("model", "threads", "group", "engine", "repetition"))

    def make_plan(self):
        """Runs in order: all engines of one repetition stand together."""
        o = self.options
        for repetition in range(max(o.repetitions, o.slow_repetitions)):
            for model in o.models:
                for threads in o.threads:
                    for test in o.tests:
                        if repetition >= (o.slow_repetitions if test in ("depth", "batch") else o.repetitions):
                            continue
                        for group in ([f"depth {d}" for d in o.depths] if test == "depth" else [test]):
                            turn = repetition % len(self.engines)
                            for engine in self.engines[turn:] + self.engines[:turn]:
                                sample = {"model": model.name, "threads": threads, "group": group,
                                          "engine": engine.name, "repetition": repetition}
                                if self.key(sample) not in self.done:
                                    yield engine, model, sample

    def measure(self, engine, model, sample):
        group, threads = sample["group"], sample["threads"]
        if group == "prefill":
            return engine.prefill(model, threads)
        if group == "decode":
            return engine.decode(model, threads)
        if group == "batch":
            return engine.batch(model, threads, self.options.batches)
        if group == "start":
            figures = engine.start(model, threads)
            sample["memory_mib"] = engine.memory
            return figures
        return engine.depth(model, threads, int(group.split()[1]))

    def run_one(self, engine, model, sample):
        decodes = sample["group"] not in ("prefill", "start")
        try:
            before = self.sluice.roofline(sample["threads"], memory_only=True)["memory_gbps"] if decodes else None
            figures = self.measure(engine, model, sample)
            if decodes:
                after = self.sluice.roofline(sample["threads"], memory_only=True)["memory_gbps"]
                sample["memory_gbps"] = [before, after]
            sample["figures"] = figures
        except Failed as failure:
            sample["error"] = str(failure)
        except (ValueError, KeyError, IndexError, AttributeError, OSError) as error:
            sample["error"] = f"{type(error).__name__}: {error}"
        self.data["samples"].append(sample)
        version = engine.version()
        if "unknown" not in version or engine.name not in self.data["versions"]:
            self.data["versions"][engine.name] = version
        self.data.setdefault("demands", {}).update(
            {f"{Path(path).name} {test}": demand for (path, test), demand in self.sluice.demands.items()})

    def report(self, sample):
        self.runs += 1
        left = (time.monotonic() - self.started) / self.runs * (len(self.plan) - self.runs)
        unit = "s" if sample["group"] == "start" else "tok/s"
        got = ", ".join(f"{test} {value:.2f} {unit}" for test, value in sample.get("figures", {}).items())
        read = f" (read {sum(sample['memory_gbps']) / 2:.1f} GB/s)" if "memory_gbps" in sample else ""
        print(f"[{self.runs}/{len(self.plan)}, {left / 60:.0f} min left] {sample['model']}, {sample['threads']} threads, "
              f"#{sample['repetition'] + 1} {sample['engine']}: {got or sample['error']}{read}", file=sys.stderr, flush=True)

    def save(self):
        unfinished = self.options.json.with_suffix(".part")
        unfinished.write_text(json.dumps(self.data, indent=1) + "\n")
        unfinished.replace(self.options.json)

    def measure_roofline(self):
        """Limits are the best that was seen: at the start, the end, and in earlier runs that are resumed."""
        for threads in self.options.threads:
            best = self.data["roofline"].setdefault(str(threads), {})
            for name, value in self.sluice.roofline(threads).items():
                best[name] = max(value, best.get(name, value))

    def run(self):
        self.measure_roofline()
        for engine, model, sample in self.plan:
            self.run_one(engine, model, sample)
            self.save()
            self.report(sample)
        self.measure_roofline()
        self.save()


def numbers(text):
    return [int(part) for part in text.split(",")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sluice", default="build/release/sluice")
    parser.add_argument("--llama-bin", help="directory of llama-bench, llama-batched-bench and llama-server")
    parser.add_argument("--ik-bin", help="the same of ik_llama.cpp")
    for peer in ("llama", "ik"):
        parser.add_argument(f"--{peer}-version", metavar="TEXT", help="for the table, where its tools do not say it")
        for tool in ("bench", "batched", "server"):
            parser.add_argument(f"--{peer}-{tool}-args", default="", metavar="ARGS", help="given to that tool besides")
    parser.add_argument("--models", nargs="+", type=Path, default=[], help="GGUF files")
    parser.add_argument("--threads", type=numbers, default=[2, 1])
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--slow-repetitions", type=int, help="of depth and batch, which prefill much; as --repetitions")
    parser.add_argument("--tests", type=lambda text: text.split(","), default=list(TESTS), help=",".join(TESTS))
    parser.add_argument("--depths", type=numbers, default=[2048, 8192])
    parser.add_argument("--batches", type=numbers, default=[1, 4, 8, 16, 32])
    parser.add_argument("--timeout", type=float, default=1800, help="seconds that one run may take")
    parser.add_argument("--resume", action="store_true", help="keep what --json holds, and make only what is missing")
    parser.add_argument("--render-only", action="store_true", help="no runs: the table and the plot of what --json holds")
    parser.add_argument("--json", type=Path, default=Path("compare.json"))
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--svg", type=Path)
    options = parser.parse_args()
    end_cleanly()
    if unknown := set(options.tests) - set(TESTS):
        parser.error(f"--tests {','.join(unknown)}: the choices are {', '.join(TESTS)}")
    options.slow_repetitions = options.slow_repetitions or options.repetitions
    options.models = [model.resolve() for model in options.models]
    if options.render_only:
        data = json.loads(options.json.read_text())
    else:
        if missing := [str(model) for model in options.models if not model.exists()]:
            parser.error(f"no such model: {', '.join(missing)}")
        if not options.models:
            parser.error("--models names nothing to run")
        try:
            sluice = Sluice(options.sluice, options.timeout)
            sluice.version()
            peers = [LlamaFamily(name, directory, options.timeout, *(getattr(options, f"{short}_{tool}_args")
                                                                    for tool in ("bench", "batched", "server")))
                     for name, short, directory in (("llama.cpp", "llama", options.llama_bin),
                                                    ("ik_llama.cpp", "ik", options.ik_bin)) if directory]
        except (Failed, OSError) as error:
            sys.exit(f"compare.py: {error}")
        for peer in peers:
            peer.build = (options.llama_version if peer.name == "llama.cpp" else options.ik_version) or peer.build
        comparison = Comparison(options, sluice, peers)
        comparison.run()
        data = comparison.data
    table = compare_report.markdown(data)
    print(table)
    if options.markdown:
        options.markdown.write_text(table)
    if options.svg:
        options.svg.write_text(compare_report.svg(data))


if __name__ == "__main__":
    main()
