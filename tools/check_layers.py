#!/usr/bin/env python3
"""Fails when a file of src/ includes what its folder may not depend on (the table in docs/architecture.md, section 2).

usage: tools/check_layers.py [--list]     (from anywhere inside the repository)

Also checks the size rule: no source file over 800 lines.
"""
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SRC = ROOT / "src"

# folder -> what it may include directly; what those may include is added. A folder may always include itself.
MAY = {
    "base": [],
    "tensor": ["base"],
    "text": ["base"],
    "kv": ["base"],
    "sched": ["kv"],
    "route": ["sched"],
    "quant": ["tensor"],
    "backend": ["quant"],
    "comm": ["backend", "sched"],
    "weights": ["quant", "backend"],
    "model": ["weights", "comm", "kv"],
    "sample": ["tensor", "text", "sched"],
    "exec": ["model", "sched", "sample"],
    "spec": ["exec", "sched"],
    "engine": ["sched"],
    "sim": ["engine", "route"],
    "serve": ["engine", "route", "text"],
    "compress": ["model", "quant"],
    "lab": None,   # everything but apps
    "apps": None,  # everything
}
MAX_LINES = 800


def closure(folder):
    allowed, open_ = {folder}, [folder]
    while open_:
        below = MAY[open_.pop()]
        for name in (MAY.keys() if below is None else below):
            if name not in allowed:
                allowed.add(name)
                open_.append(name)
    if folder == "lab":
        allowed.discard("apps")
    return allowed


def main():
    errors, edges = [], set()
    for path in sorted(SRC.rglob("*")):
        if path.suffix not in {".h", ".cpp", ".inc", ".inl", ".cu", ".cuh"}:
            continue
        relative = path.relative_to(SRC)
        folder = relative.parts[0]
        if folder not in MAY:
            errors.append(f"src/{relative}: the folder '{folder}' is not in the table")
            continue
        lines = path.read_text().splitlines()
        if len(lines) > MAX_LINES:
            errors.append(f"src/{relative}: {len(lines)} lines, more than {MAX_LINES}: it is several rooms, not one")
        allowed = closure(folder)
        for number, line in enumerate(lines, 1):
            match = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
            if not match:
                continue
            target = match.group(1).split("/")[0]
            if target == "tests" and path.name.endswith("_test.cpp"):
                continue
            if "/" not in match.group(1) or target not in MAY:
                errors.append(f'src/{relative}:{number}: "{match.group(1)}" is not a path from src/')
                continue
            edges.add((folder, target))
            if target not in allowed:
                errors.append(f"src/{relative}:{number}: {folder}/ may not include {target}/")
    if "--list" in sys.argv:
        for source, target in sorted(edges):
            if source != target:
                print(f"{source} -> {target}")
    for error in errors:
        print(error)
    print(f"check_layers: {len(errors)} errors")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
