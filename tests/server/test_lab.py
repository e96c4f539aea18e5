"""The lab's quick setting as a whole: every experiment holds, or says with a figure why this model cannot show it."""
import json
import os
import subprocess
from pathlib import Path

SLUICE = os.environ["SLUICE_BIN"]
ROOT = Path(__file__).resolve().parents[2]


def sluice(*args):
    return subprocess.run([SLUICE, *args], cwd=ROOT, capture_output=True, text=True, timeout=1200)


def test_every_experiment_holds(tmp_path):
    report = tmp_path / "lab.json"
    done = sluice("lab", "run", "--all", "--json", str(report))
    assert done.returncode == 0, done.stdout + done.stderr
    experiments = json.loads(report.read_text())["experiments"]
    assert len(experiments) >= 6
    for experiment in experiments:
        assert experiment["state"] in ("held", "precondition absent"), experiment
        assert experiment["state"] == "held" or any(c.isdigit() for c in experiment["absent"]), experiment
    document = sluice("lab", "document", str(report))
    assert document.returncode == 0 and document.stdout.startswith("# Techniques")


def test_the_document_is_what_the_catalog_and_the_last_report_say():
    made = sluice("lab", "document", "docs/lab/lab.json")
    assert made.returncode == 0, made.stderr
    assert made.stdout == (ROOT / "docs/techniques.md").read_text(), "run: sluice lab document docs/lab/lab.json > docs/techniques.md"


def test_names_groups_and_ids_choose(tmp_path):
    listed = sluice("lab", "list").stdout
    assert "radix" in listed and "kv:" in listed
    one = sluice("lab", "run", "H4")
    assert one.returncode == 0 and one.stdout.startswith("H4") and "1 held, 0 not held" in one.stdout
    two = sluice("lab", "run", "H1", "radix")
    assert two.returncode == 0 and "2 held, 0 not held" in two.stdout, two.stdout + two.stderr
    unknown = sluice("lab", "run", "nothing")
    assert unknown.returncode == 1 and "experiments are: " in unknown.stderr
    assert "--all" in sluice("lab", "run").stderr
    assert "no-such-model" in sluice("lab", "run", "radix", "--model", "no-such-model").stdout


def test_long_contexts_are_a_table_of_methods_at_equal_bytes():
    done = sluice("lab", "run", "long-context")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = dict(line.split(" | ", 1) for line in done.stdout.splitlines() if line.startswith("| "))
    kept = {name: rest for name, rest in rows.items() if "of the tokens" in name}
    assert {name[2:].split(",")[0] for name in kept} == {"window", "sink-window", "h2o", "averaged", "keyformer"}
    assert {rest.split(" ")[0] for rest in kept.values()} == {rows["| kivi2"].split(" ")[0]}, "bytes a token"
    assert "no-such-text" in sluice("lab", "run", "long-context", "--text", "no-such-text").stdout


def test_a_trace_that_nobody_reads_is_refused():
    trace = "tests/data/traces/azure_conv_2023.csv"
    refused = sluice("lab", "run", "fcfs", "priority", "--trace", trace)
    assert refused.returncode == 1 and "no experiment that was chosen reads a trace; these do: paged, windowed, length-buckets" in refused.stderr
    read = sluice("lab", "run", "fcfs", "length-buckets", "windowed", "--trace", trace)
    assert read.returncode == 0 and "3 held" in read.stdout, read.stdout + read.stderr
