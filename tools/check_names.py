#!/usr/bin/env python3
"""Fails when two files give one name to different things that a compiler or a linker would take for the same.

usage: tools/check_names.py     (from anywhere inside the repository)

- Types outside of unnamed namespaces: one of each name in the program. The linker takes two for the same, and calls the
  functions of one for the other (the One Definition Rule; no compiler sees it).
- Names in unnamed namespaces: one of each within a library or a test program, whose files the presets compile in batches
  (docs/adr/0022). Functions may have one name if their parameters differ,
  and an alias may stand in several files if it is the same.
"""
import doctest
import re
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOISE = re.compile(r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|(?<![0-9a-fA-F])\'(?:\\.|[^\'\\\n])+\'', re.S)
TYPE = re.compile(r"^(?:template <.*> ?)?(?:class|struct|union|enum(?: class)?) (?:\[\[\w+\]\] |alignas\([^()]*\) )*(\w+)(?: final)?(?: ?:(?!:).*)?$")
ALIAS = re.compile(r"^(?:template <.*> ?)?using (\w+) =")
FUNCTION = re.compile(r"^[^=]*?[\w>&*\]] ?[&*]?(?<![\w:~])([a-z_]\w*)(\(.*)$")
NESTED = re.compile(r"\{[^{}]*\}|\([^()]*\)|\[[^\[\]]*\]|<[^<>]*>")


def statements(text):
    """(namespaces, statement) of what stands in namespaces directly: a definition's head, or a declaration."""
    text = NOISE.sub(lambda m: " " if m.group().startswith("/") else '""', re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", "", text, flags=re.M))
    inside, at, start = [], 0, 0
    while at < len(text):
        if text[at] not in "{};":
            at += 1
            continue
        head = " ".join(text[start:at].split())
        if text[at] == "{" and (match := re.match(r"^(?:inline )?namespace ?([\w:]*)$", head)):
            inside.append(match.group(1))
            start = at + 1
        elif text[at] == "{":
            depth = 0
            while True:
                depth += {"{": 1, "}": -1}.get(text[at], 0)
                if depth == 0 or at + 1 == len(text):
                    break
                at += 1
            if TYPE.match(head) or re.search(r"\)(?: ?const)?(?: ?noexcept)?(?: ?override)?(?: ?->.*)?(?: ?:.*)?$", head):
                yield tuple(inside), head
                start = at + 1
        elif text[at] == ";":
            yield tuple(inside), head + ";"
            start = at + 1
        elif text[at] == "}":
            if inside:
                inside.pop()
            start = at + 1
        at += 1


def variables(statement):
    while (plain := NESTED.sub("", statement)) != statement:
        statement = plain
    return [m.group(1) for part in statement.rstrip(";").split(",") if (m := re.search(r"(\w+) ?(?:=.*)?$", part.strip()))]


def names(statement):
    """What it defines, as it would have to be unique: functions with their parameters.

    >>> text = "#define X {\\nnamespace a { struct T; class [[nodiscard]] T final : B { int t; }; namespace { enum E { x }; // }"
    >>> text += "\\nconstexpr K kA{1, 2}, kB[] = {'}'}; using J = json; int f(const T& t, int n = 1) { return g(t); } TEST(S, N) {} } }"
    >>> [(inside, name) for inside, statement in statements(text) for name in names(statement) if inside[-1]]
    [(('a',), 'T')]
    >>> [name for inside, statement in statements(text) for name in names(statement) if not inside[-1]]
    ['E', 'kA', 'kB', 'J', 'f(const T& , int )']
    """
    if statement in (";", "") or statement.startswith(("template class", "extern ", "friend ", "static_assert", "namespace ", "using namespace", "INSTANTIATE_", "TEST")):
        return []
    if (match := TYPE.match(statement)) and not statement.endswith(";"):
        return [match.group(1)]
    if match := ALIAS.match(statement):
        return [match.group(1)]
    if re.match(r"^(?:template <.*> ?)?(?:class|struct|enum|using) ", statement) and statement.endswith(";"):
        return []
    if not statement.endswith(";"):
        head = re.sub(r"\).*?$", ")", statement) if statement.count("(") == 1 else statement
        if match := FUNCTION.match(head):
            return [match.group(1) + re.sub(r"\b\w+(?=[,)])", "", re.sub(r" ?=[^,)]*", "", match.group(2)))]
        return []
    return [v for v in variables(statement) if re.match(r"^k[A-Z]", v)] if "(" not in statement.split("=")[0].split("{")[0] else []


def library_of(path):
    """The CMakeLists.txt that has it, and whether its files are compiled in batches."""
    folder = path.parent
    while not (folder / "CMakeLists.txt").exists():
        folder = folder.parent
    test = path.name.endswith("_test.cpp")
    return (folder, test), test or "UNITY_BUILD OFF" not in (folder / "CMakeLists.txt").read_text()


def main():
    errors, types, local = [], {}, defaultdict(dict)
    if doctest.testmod().failed:  # it would find nothing, and pass
        return 1
    for path in sorted([*(ROOT / "src").rglob("*.h"), *(ROOT / "src").rglob("*.cpp"), *(ROOT / "tests" / "support").rglob("*.h")]):
        file, (library, batched) = path.relative_to(ROOT), library_of(path)
        for inside, statement in statements(path.read_text()):
            for name in names(statement):
                if "" not in inside:
                    if TYPE.match(statement) and types.setdefault("::".join([*inside, name]), file) != file:
                        errors.append(f"{file}: {'::'.join([*inside, name])} is a type of {types['::'.join([*inside, name])]}, too")
                elif batched and path.suffix == ".cpp":
                    other, its = local[library].setdefault(name, (file, statement))
                    if other != file and not (ALIAS.match(statement) and its == statement):
                        errors.append(f"{file}: {name} is a name of {other}, too, in one library")
    print("\n".join([*errors, f"check_names: {len(types)} types, {sum(map(len, local.values()))} local names, {len(errors)} errors"]))
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
