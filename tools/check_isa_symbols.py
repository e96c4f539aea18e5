#!/usr/bin/env python3
"""Compiles every file that has instruction-set flags of its own at -O0 and fails on any weak symbol in it, since the linker
may keep that copy of a shared inline function and crash a CPU without the instruction set (docs/architecture.md, section 5).

    tools/check_isa_symbols.py build/release/compile_commands.json
"""
import json
import re
import shlex
import subprocess
import sys
import tempfile

ISA_FLAG = re.compile(r"^-m(avx|fma|f16c|amx|sse|bmi|arch=)")


def main() -> int:
    with open(sys.argv[1]) as f:
        entries = json.load(f)
    bad = checked = 0
    for entry in entries:
        args = shlex.split(entry["command"])
        if not any(ISA_FLAG.match(a) for a in args):
            continue
        checked += 1
        # The same command without optimization, sanitizers and launcher, into a temporary object.
        compiler = next(i for i, a in enumerate(args) if re.search(r"(g\+\+|c\+\+|clang\+\+)[-\d.]*$", a))
        keep, skip = [], False
        for a in args[compiler:]:
            if skip:
                skip = False
            elif a == "-o":
                skip = True
            elif not a.startswith(("-O", "-fsanitize", "-g")):
                keep.append(a)
        with tempfile.NamedTemporaryFile(suffix=".o") as obj:
            subprocess.run(keep + ["-O0", "-w", "-o", obj.name], cwd=entry["directory"], check=True)
            symbols = subprocess.run(["nm", "-C", obj.name], capture_output=True, text=True, check=True).stdout
        for line in symbols.splitlines():
            fields = line.split(maxsplit=2) if line[:1] != " " else [""] + line.split(maxsplit=1)
            if len(fields) == 3 and fields[1] in "WwVvu":
                print(f"{entry['file']}: weak symbol {fields[2]}")
                bad += 1
    print(f"{checked} files, {bad} weak symbols")
    if checked == 0:
        print("no file has instruction-set flags: is this the right compile_commands.json?")
    return 1 if bad or checked == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
