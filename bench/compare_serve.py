#!/usr/bin/env python3
"""`sluice serve` against llama-server: the same streams, sent to both in turn by `sluice bench serve`.

usage: bench/compare_serve.py --sluice build/release/sluice --llama-bin DIR --models FILE... --threads 2 --streams 16 \\
           --repetitions 5 --json OUT.json --markdown OUT.md

Each repetition starts one server after the other on a free port, keeps `--streams` requests in flight until
`--num-prompts` are done, and stops it. Prompts are random token ids, others in each repetition, the same for both.
A stream that ends makes room for the next, so that prefills arrive while others decode. Ratios are medians within
repetitions; more is better for Sluice.
"""
import argparse
import datetime
import json
import statistics
import sys
import tempfile
from pathlib import Path

from compare import machine, numbers
from engines import LlamaFamily, Sluice
from processes import Failed, Server, end_cleanly, run

# name, key of the report, and whether more is better
METRICS = (("generated tok/s", "output_throughput", True), ("TTFT p50 ms", "median_ttft_ms", False),
           ("TTFT p95 ms", "p95_ttft_ms", False), ("ITL p50 ms", "median_itl_ms", False), ("ITL p99 ms", "p99_itl_ms", False))


def load(sluice, engine, model, threads, options, seed):
    """The report of one load test of one fresh server."""
    context = (options.input_len + options.output_len + 63) // 64 * 64
    with Server(engine.serve_command(model, threads, options.streams, context), options.timeout) as server:
        server.first_token_s()
        with tempfile.NamedTemporaryFile(suffix=".json") as file:
            run([sluice.path, "bench", "serve", "--base-url", f"http://127.0.0.1:{server.port}", "--num-prompts",
                 options.num_prompts, "--max-concurrency", options.streams, "--random-input-len", options.input_len,
                 "--random-output-len", options.output_len, "--seed", seed, "--result-file", file.name], options.timeout)
            report = json.loads(Path(file.name).read_text())
    if report["total_output_tokens"] != options.num_prompts * options.output_len:
        raise Failed(f"{report['total_output_tokens']} tokens came, not {options.num_prompts * options.output_len}")
    return {key: report[key] for _, key, _ in METRICS}


def markdown(data):
    o = data["load"]
    lines = [data["where"], "", f"{o['streams']} streams, {o['input_len']} prompt and {o['output_len']} generated tokens each, "
             f"{o['num_prompts']} requests a run; medians, and ratios within repetitions.", "",
             "| model | threads | engine | " + " | ".join(name for name, _, _ in METRICS) + " | ITL p99 / p50 |",
             "|" + "---|" * (4 + len(METRICS))]
    groups = {}
    for s in data["samples"]:
        groups.setdefault((s["model"], s["threads"]), {}).setdefault(s["engine"], {})[s["repetition"]] = s
    for (model, threads), row in groups.items():
        ok = {engine: {r: s["report"] for r, s in runs.items() if "report" in s} for engine, runs in row.items()}
        for engine, runs in row.items():
            good = list(ok[engine].values())
            if not good:
                lines.append(f"| {model} | {threads} | {engine} | {next(iter(runs.values()))['error']} |" + " |" * len(METRICS))
                continue
            middle = [statistics.median(report[key] for report in good) for _, key, _ in METRICS]
            tail = statistics.median(report["p99_itl_ms"] / report["median_itl_ms"] for report in good)
            lines.append(f"| {model} | {threads} | {engine} | " + " | ".join(f"{v:.1f}" for v in middle) + f" | {tail:.2f} |")
        for peer in [e for e in row if e != "Sluice"]:
            both = [(ok["Sluice"][r], ok[peer][r]) for r in ok.get("Sluice", {}) if r in ok[peer]]
            if both:
                ratios = [statistics.median(a[key] / b[key] if more else b[key] / a[key] for a, b in both) for _, key, more in METRICS]
                lines.append(f"| {model} | {threads} | Sluice x {peer} | " + " | ".join(f"**{v:.2f}**" for v in ratios) + " | |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sluice", default="build/release/sluice")
    parser.add_argument("--llama-bin", help="directory of llama-server")
    parser.add_argument("--llama-server-args", default="", metavar="ARGS", help="given to llama-server besides")
    parser.add_argument("--models", nargs="+", type=Path, required=True)
    parser.add_argument("--threads", type=numbers, default=[2])
    parser.add_argument("--streams", type=int, default=16)
    parser.add_argument("--num-prompts", type=int, default=48)
    parser.add_argument("--input-len", type=int, default=128)
    parser.add_argument("--output-len", type=int, default=64)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--timeout", type=float, default=1800, help="seconds that one load test may take")
    parser.add_argument("--json", type=Path, default=Path("compare-serve.json"))
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    end_cleanly()
    models = [model.resolve() for model in options.models]
    if missing := [str(model) for model in models if not model.exists()]:
        parser.error(f"no such model: {', '.join(missing)}")
    try:
        sluice = Sluice(options.sluice, options.timeout)
        engines = [sluice]
        sluice.version()
        if options.llama_bin:
            engines.append(LlamaFamily("llama.cpp", options.llama_bin, options.timeout, server_args=options.llama_server_args))
    except (Failed, OSError) as error:
        sys.exit(f"compare_serve.py: {error}")
    m = machine()
    data = {"where": f"{datetime.date.today()}; {m['cpu']}, {m['cores']} cores, {', '.join(m['isa'])}; {sluice.version()}"
                     + "".join(f"; {e.name} {e.version()}" for e in engines[1:]),
            "load": {k: getattr(options, k) for k in ("streams", "input_len", "output_len", "num_prompts")}, "samples": []}
    runs = options.repetitions * len(models) * len(options.threads) * len(engines)
    for repetition in range(options.repetitions):
        turn = repetition % len(engines)
        for model in models:
            for threads in options.threads:
                for engine in engines[turn:] + engines[:turn]:
                    sample = {"model": model.name, "threads": threads, "engine": engine.name, "repetition": repetition}
                    try:
                        sample["report"] = load(sluice, engine, model, threads, options, repetition + 1)
                        said = ", ".join(f"{name} {sample['report'][key]:.1f}" for name, key, _ in METRICS)
                    except (Failed, OSError, KeyError, ValueError) as error:
                        sample["error"] = said = str(error)
                    data["samples"].append(sample)
                    options.json.write_text(json.dumps(data, indent=1) + "\n")
                    print(f"[{len(data['samples'])}/{runs}] {model.name}, {threads} threads, #{repetition + 1} {engine.name}: {said}",
                          file=sys.stderr, flush=True)
    table = markdown(data)
    print(table)
    if options.markdown:
        options.markdown.write_text(table)


if __name__ == "__main__":
    main()
