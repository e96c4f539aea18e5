#!/usr/bin/env python3
"""Holds Sluice's tokenizers against the packages that defined them: equal ids and texts on every text, and their speeds on one
core.

usage: SLUICE_TEST_DATA=... python bench/compare_tokenizers.py --bench BUILD/bench/tokenizer_bench [--case NAME ...]
           [--text NAME ...] [--speed-only] [--markdown FILE]

Run it with the python of a virtual environment that has the packages tokenizers, tiktoken, sentencepiece and, for tekken,
mistral-common. Plain text and trusted text (control tokens parsed, tokens put around) are compared; of plain texts in which the
package itself finds control tokens nothing is, since for Sluice they are text. Exits with 1 where anything differs. --markdown
writes the table of docs/tokenizers.md, row by row.
"""
import argparse
import json
import os
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).parent))
import tokenizer_cases as cases  # noqa: E402


def run_bench(bench, case, documents, special, repeat, folder):
    packed, ids = Path(folder) / "documents", Path(folder) / "ids"
    with open(packed, "wb") as f:
        for text in documents:
            data = text.encode()
            f.write(struct.pack("<I", len(data)) + data)
    done = subprocess.run([bench, str(case.directory), str(packed), str(ids), "--repeat", str(repeat)] + ["--special"] * special,
                          capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{case.name}: {done.stderr}")
    lines = []
    for line in ids.read_text().split("\n")[:-1]:
        numbers, text = line.split("\t", 1)
        lines.append(([int(n) for n in numbers.split()], json.loads(text)))
    return lines, json.loads(done.stdout)


def attempt(case, text, special):
    """None where the package fails: tiktoken's patterns run out of stack on a megabyte of white space."""
    try:
        return case.encode(text, special)
    except ValueError:
        return None


def compare(bench, case, texts, folder):
    """-> documents compared, tokens in them, how many differ, how many hold control tokens as plain text."""
    compared = tokens = differ = as_text = 0
    for name, documents, _ in texts:
        for special in (False, True):
            expected = [attempt(case, text, special) for text in documents]
            if not any(expected):
                continue
            found, _ = run_bench(bench, case, documents, special, 1, folder)
            for text, ids, (ours, decoded) in zip(documents, expected, found):
                if ids is None:
                    continue
                if not special and case.control & set(ids):
                    as_text += 1
                    continue
                compared += 1
                tokens += len(ids)
                if ids != ours or (case.decode and case.decode(ids) != decoded):
                    differ += 1
                    print(f"  {case.name}, {name}, {'trusted' if special else 'plain'}: differs: {text[:100]!r}", file=sys.stderr)
    return compared, tokens, differ, as_text


def speed(bench, case, documents, folder, repeat=5):
    """-> MB/s of the package and of Sluice, the best of some rounds each."""
    megabytes = sum(len(text.encode()) for text in documents) / 1e6
    best = 1e9
    for _ in range(repeat):
        start = time.perf_counter()
        for text in documents:
            case.encode(text, False)
        best = min(best, time.perf_counter() - start)
    _, measured = run_bench(bench, case, documents, False, repeat, folder)
    return megabytes / best, megabytes / measured["encode_s"]


SPEED_TEXTS = ("war-and-peace", "code")


def header(options):
    columns = ["tokenizer", "package"]
    if not options.speed_only:
        columns += ["documents", "tokens", "differ", "left out"]
    if not options.no_speed:
        columns += [f"{name}: {what}" for name in SPEED_TEXTS for what in ("package, MB/s", "Sluice, MB/s", "times as fast")]
    return [columns, ["---"] * len(columns)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bench", required=True)
    parser.add_argument("--case", nargs="*")
    parser.add_argument("--text", nargs="*")
    parser.add_argument("--speed-only", action="store_true")
    parser.add_argument("--no-speed", action="store_true")
    parser.add_argument("--markdown")
    options = parser.parse_args()
    texts = [t for t in cases.texts() if not options.text or any(name in t[0] for name in options.text)]
    by_name = {name: documents for name, documents, _ in texts}
    failed = 0

    def put(row, mode="a"):
        if options.markdown:
            with open(options.markdown, mode) as f:
                f.write("| " + " | ".join(str(cell) for cell in row) + " |\n")

    for i, row in enumerate(header(options)):
        put(row, "a" if i else "w")
    with tempfile.TemporaryDirectory() as folder:
        for generate in cases.ALL:
            for case in generate(folder):
                if options.case and case.name not in options.case:
                    continue
                row = [case.name, case.package]
                if not options.speed_only:
                    compared, tokens, differ, as_text = compare(options.bench, case, texts, folder)
                    failed += differ
                    row += [compared, tokens, differ, as_text]
                if not options.no_speed and "war-and-peace" in by_name:
                    for name in SPEED_TEXTS:
                        theirs, ours = speed(options.bench, case, by_name[name], folder)
                        row += [f"{theirs:.1f}", f"{ours:.1f}", f"{ours / theirs:.1f}"]
                put(row)
                print(*row, flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
