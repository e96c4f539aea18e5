#!/usr/bin/env python3
"""Runs the tests of one or more builds, and counts single cases rather than programs.

usage: tools/run_tests.py BUILD[:name,name...] ... [-j N] [--summary FILE] [--failures FILE]

Each BUILD is a CMake build folder; names after the colon restrict it to those tests. GoogleTest programs report their
cases, the checks that are plain commands count as one. Prints one line per program, why cases were skipped and the output
of those that failed. "passed failed skipped" and the names of failed cases are added to the two files, for a closing
summary over several calls.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as tree
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path


def list_tests(spec):
    build, _, names = spec.partition(":")
    wanted = set(names.split(",")) if names else None
    shown = subprocess.run(["ctest", "--show-only=json-v1"], cwd=build, capture_output=True, text=True, check=True)
    tests = [t for t in json.loads(shown.stdout)["tests"] if wanted is None or t["name"] in wanted]
    missing = (wanted or set()) - {t["name"] for t in tests}
    if missing:
        sys.exit(f"{build}: no such tests: {', '.join(sorted(missing))}")
    return [(build, t["name"], t.get("command")) for t in tests]


class Result:
    def __init__(self, test, seconds, output, code):
        self.build, self.name, _ = test
        self.seconds, self.output = seconds, output
        self.passed, self.failed, self.skipped = int(code == 0), [] if code == 0 else [self.name], Counter()

    def take_cases(self, report, code):
        """Replaces the program's own count by that of its cases."""
        self.passed, self.failed = 0, []
        for case in tree.parse(report).getroot().iter("testcase"):
            name = f"{case.get('classname')}.{case.get('name')}"
            skip = case.find("skipped")
            if case.find("failure") is not None:
                self.failed.append(name)
            elif skip is not None:
                lines = [line for line in (skip.text or "").strip().splitlines()[1:] if line] or [skip.get("message", "").strip()]
                self.skipped[" ".join(lines)] += 1
            else:
                self.passed += 1
        if code != 0 and not self.failed:
            self.failed = [self.name]  # died before or after its cases: a crash, or a sanitizer's finding at exit


def run(test):
    build, name, command = test
    start = time.monotonic()
    if not command:
        return Result(test, 0.0, "not built", 1)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        environment = dict(os.environ)
        if any(a.startswith("--gtest") for a in command):
            environment["GTEST_OUTPUT"] = f"xml:{report}"
        try:
            done = subprocess.run(command, cwd=build, capture_output=True, text=True, errors="replace", env=environment, timeout=1500)
            output, code = done.stdout + done.stderr, done.returncode
        except subprocess.TimeoutExpired as late:
            output, code = f"{late.stdout or ''}\nno end after {late.timeout} s", 1
        result = Result(test, time.monotonic() - start, output, code)
        if report.exists():
            result.take_cases(report, code)
        return result


def without_skips(output):
    """GoogleTest's output without its notes on skipped cases, two lines each, which would hide a failure's."""
    lines = output.splitlines()
    noted = {n + more for n, line in enumerate(lines) if line.endswith(": Skipped") for more in (0, 1)}
    return "\n".join(line for n, line in enumerate(lines) if n not in noted)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("builds", nargs="+")
    parser.add_argument("-j", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--summary")
    parser.add_argument("--failures")
    options = parser.parse_args()
    tests = [test for spec in options.builds for test in list_tests(spec)]
    totals, failures = [0, 0, 0], []
    with ThreadPoolExecutor(options.j) as pool:
        for r in pool.map(run, tests):
            counts = [r.passed, len(r.failed), r.skipped.total()]
            totals = [a + b for a, b in zip(totals, counts)]
            label = Path(r.build).name + "/" + r.name
            print(f"{'FAILED' if r.failed else 'ok':<7}{label:<44}{counts[0]:>5} passed{counts[1]:>4} failed{counts[2]:>4} skipped{r.seconds:>8.1f} s", flush=True)
            for reason, count in r.skipped.items():
                print(f"       {count} skipped: {reason}")
            if r.failed:
                print("\n".join(r.failed) + "\n" + without_skips(r.output)[-6000:])
            failures += [f"{label} {case}" for case in r.failed]
    for path, lines in ((options.summary, [" ".join(map(str, totals))]), (options.failures, failures)):
        if path:
            with open(path, "a") as file:
                file.writelines(line + "\n" for line in lines)
    return 1 if totals[1] else 0


if __name__ == "__main__":
    sys.exit(main())
