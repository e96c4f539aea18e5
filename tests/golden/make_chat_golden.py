#!/usr/bin/env python3
"""Renders the chat templates of models in several conversations with jinja2 as transformers configures it. The templates
are not in the repository; DATA is a directory with chat-templates/*.jinja and chat-templates/golden_renderings.json, whose
contexts are taken. src/text/chat/golden_templates_test.cpp replays the results. Needs jinja2 3.1.6:

    python3 tests/golden/make_chat_golden.py DATA           # compares with the file, and prints the table of docs/chat-templates.md
    python3 tests/golden/make_chat_golden.py DATA --out F   # writes the results anew
"""
import argparse
import copy
import datetime
import json
import pathlib

from make_jinja_golden import environment

NOW = datetime.datetime(2024, 7, 26, 12, 0, 0)


def render(env, source, context):
    variables = {"bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": True, **copy.deepcopy(context)}
    try:
        return {"status": "ok", "output": env.from_string(source).render(**variables)}
    except Exception as error:  # the interpreter must fail where jinja2 fails
        return {"status": "error", "error": str(error)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path)
    options = parser.parse_args()
    folder = options.data / "chat-templates"
    golden = json.loads((folder / "golden_renderings.json").read_text(encoding="utf-8"))
    env = environment(NOW)
    results = []
    print("| template | " + " | ".join(golden["contexts"]) + " |\n|---" + "|---" * len(golden["contexts"]) + "|")
    for path in sorted(folder.glob("*.jinja")):
        cells = []
        for name, context in golden["contexts"].items():
            result = {"template": path.name, "context": name, **render(env, path.read_text(encoding="utf-8"), context)}
            results.append(result)
            cells.append(str(len(result["output"])) if result["status"] == "ok" else "error: " + result["error"].replace("|", "\\|"))
        print(f"| {path.stem} | " + " | ".join(cells) + " |")
    known = {(r["template"], r["context"]): r for r in golden["results"]}
    differing = [r for r in results if {k: v for k, v in known.get((r["template"], r["context"]), {}).items() if k in r} != r]
    print(f"{len(results)} results, {sum(r['status'] == 'ok' for r in results)} renderings; {len(differing)} differ from the file")
    for result in differing:
        print("  ", result["template"], result["context"], result["status"])
    if options.out:
        golden["results"] = results
        options.out.write_text(json.dumps(golden, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
