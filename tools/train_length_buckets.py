#!/usr/bin/env python3
"""Trains the bucket classifier of output lengths (src/sched/length/buckets.h) and writes its table as C++.

usage: tools/train_length_buckets.py --conv azure_conv_2023.csv --gsm8k test.jsonl [--also-report trace.csv ...]
         > src/sched/length/bucket_table.inc

The only feature is the prompt's length, which every request has before any model has read it. The table holds, for each
quarter octave of prompt lengths, the bucket that most training requests of such prompts ended in; lengths that
were seen fewer than LEAST times take the nearest ones that were. Every fifth request is held out; the accuracy on those
goes to standard error and into the table's comment, and src/sched/length/length_test.cpp repeats it.

Data: the Azure LLM inference trace of 2023 (conversation service; CC-BY-4.0, Microsoft) and GSM8K (MIT, OpenAI), whose questions
and answers are counted in words and marks, which is within some tenths of what tokenizers make of such English text.
"""
import argparse
import collections
import csv
import json
import math
import re
import sys

BUCKETS = 10  # of output tokens: up to 4, 8, 16, ... 1024, more
BINS = 64     # of prompt tokens: quarter octaves
LEAST = 20


def bucket(tokens):
    return min(BUCKETS - 1, max(0, math.ceil(math.log2(max(1, tokens))) - 2))


def prompt_bin(tokens):
    return min(BINS - 1, int(4 * math.log2(max(1, tokens))))


def read_trace(path):
    with open(path, newline="") as file:
        return [(int(row["ContextTokens"]), int(row["GeneratedTokens"])) for row in csv.DictReader(file)]


def read_gsm8k(path):
    piece = re.compile(r"\w+|[^\w\s]")
    with open(path) as file:
        pairs = [json.loads(line) for line in file]
    # "<<48/2=24>>" is the data set's calculator notation, not text.
    return [(len(piece.findall(p["question"])), len(piece.findall(re.sub("<<.*?>>", "", p["answer"])))) for p in pairs]


def train(data_sets):
    counts = collections.defaultdict(collections.Counter)
    for requests in data_sets:
        for i, (prompt, output) in enumerate(requests):
            if i % 5:
                counts[prompt_bin(prompt)][bucket(output)] += 1
    known = {b: min(c, key=lambda k: (-c[k], k)) for b, c in counts.items() if sum(c.values()) >= LEAST}
    return [known[min(known, key=lambda k: (abs(k - b), k))] for b in range(BINS)]


def accuracy(table, requests):
    """Shares of the held-out requests in the predicted bucket, and in it or one beside it."""
    off = [abs(table[prompt_bin(p)] - bucket(o)) for i, (p, o) in enumerate(requests) if i % 5 == 0]
    return sum(d == 0 for d in off) / len(off), sum(d <= 1 for d in off) / len(off)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--conv", required=True)
    parser.add_argument("--gsm8k", required=True)
    parser.add_argument("--also-report", nargs="*", default=[], help="traces that the table is not trained on")
    flags = parser.parse_args()
    conv, gsm8k = read_trace(flags.conv), read_gsm8k(flags.gsm8k)
    table = train([conv, gsm8k])
    lines = []
    for name, requests in [("conversation trace", conv), ("GSM8K", gsm8k)] + [(p, read_trace(p)) for p in flags.also_report]:
        exact, near = accuracy(table, requests)
        lines.append(f"{name}: {exact:.4f} in the bucket, {near:.4f} in it or one beside it")
        print(lines[-1], file=sys.stderr)
    print("// Written by tools/train_length_buckets.py from the Azure LLM inference trace 2023, conversation service (CC-BY-4.0,\n"
          "// Microsoft), and GSM8K (MIT, OpenAI). Held-out fifth, " + lines[0] + ".")
    for at in range(0, BINS, 16):
        print(", ".join(str(b) for b in table[at:at + 16]) + ",")


if __name__ == "__main__":
    main()
