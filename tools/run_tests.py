#!/usr/bin/env python3
"""Runs the tests of one or more builds, and counts single cases rather than programs.

usage: tools/run_tests.py BUILD[:name,name...] ... [-j N] [--summary FILE]

Each BUILD is a CMake build folder; names after the colon restrict it to those tests. GoogleTest programs report their
cases, the checks that are plain commands count as one. Prints one line per program, the output of those that fail, and
adds "passed failed skipped" to FILE for a closing line over several calls.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
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


def run(test):
    build, name, command = test
    start = time.monotonic()
    if not command:
        return test, (0, 1, 0), "not built", [], 0.0
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        is_gtest = any(a.startswith("--gtest") for a in command)
        environment = dict(os.environ)
        if is_gtest:
            environment["GTEST_OUTPUT"] = f"json:{report}"
        try:
            done = subprocess.run(command, cwd=build, capture_output=True, text=True, errors="replace", env=environment, timeout=1500)
            output, code = done.stdout + done.stderr, done.returncode
        except subprocess.TimeoutExpired as late:
            output, code = f"{late.stdout or ''}\nno end after {late.timeout} s", 1
        seconds = time.monotonic() - start
        skips = []
        if not is_gtest or not report.exists():
            return test, ((1, 0, 0) if code == 0 else (0, 1, 0)), output, skips, seconds
        passed = failed = 0
        for suite in json.loads(report.read_text())["testsuites"]:
            for case in suite["testsuite"]:
                if case.get("failures"):
                    failed += 1
                elif case["result"] == "SKIPPED":
                    reasons = case.get("skipped") or [{}]
                    skips.append(f"{suite['name']}.{case['name']}: {reasons[0].get('message', '').strip()}")
                else:
                    passed += 1
        if code != 0 and failed == 0:
            failed = 1  # died before or after its cases: a crash, or a sanitizer's finding at exit
        return test, (passed, failed, len(skips)), output, skips, seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("builds", nargs="+")
    parser.add_argument("-j", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--summary")
    options = parser.parse_args()
    tests = [test for spec in options.builds for test in list_tests(spec)]
    totals = [0, 0, 0]
    with ThreadPoolExecutor(options.j) as pool:
        for (build, name, _), counts, output, skips, seconds in pool.map(run, tests):
            totals = [a + b for a, b in zip(totals, counts)]
            state = "FAILED" if counts[1] else "ok"
            print(f"{state:<7}{Path(build).name + '/' + name:<44}{counts[0]:>5} passed{counts[1]:>4} failed{counts[2]:>4} skipped{seconds:>8.1f} s", flush=True)
            for skip in skips:
                print(f"       skipped {skip}")
            if counts[1]:
                print(output[-6000:])
    if options.summary:
        with open(options.summary, "a") as file:
            print(*totals, file=file)
    return 1 if totals[1] else 0


if __name__ == "__main__":
    sys.exit(main())
