"""Where measured matmul plans are kept, who measures, and that they change no token."""
import json
import os

import pytest
from conftest import MODEL, sluice

PLAIN = {k: v for k, v in os.environ.items() if k not in ("HOME", "XDG_CACHE_HOME") and not k.startswith("SLUICE_")}
LATENCY = ["bench", "latency", str(MODEL), "-p", "8", "-n", "2", "-r", "1", "-t", "2", "-c", "64"]
RUN = ["run", str(MODEL), "-p", "Once", "-n", "12", "--temperature", "0", "--no-stats", "-t", "2"]


@pytest.fixture
def cache(tmp_path):
    """Runs commands with a cache of their own; file() is what they keep there."""

    class Cache:
        folder = tmp_path / "cache"

        def run(self, *command, **variables):
            done = sluice(*command, env=PLAIN | {"XDG_CACHE_HOME": str(self.folder)} | variables)
            assert done.returncode == 0, done.stderr
            return done

        def files(self):
            return sorted(self.folder.rglob("*"))

        def file(self):
            (one,) = [f for f in self.files() if f.is_file()]
            return one

    return Cache()


def test_tune_measures_once_keeps_it_and_force_measures_again(cache):
    first = cache.run("tune", str(MODEL), "-t", "2")
    assert "measuring F32 on 2 threads" in first.stderr and f"tuned ({cache.file()})" in first.stdout
    rows = [line for line in first.stdout.splitlines() if line.startswith("| F32")]
    kept = json.loads(cache.file().read_text())
    assert kept["threads"] == 2 and len(kept["plans"]) == len(rows) > 0
    again = cache.run("tune", str(MODEL), "-t", "2")
    assert again.stdout == first.stdout and "measuring" not in again.stderr
    assert "measuring F32" in cache.run("tune", str(MODEL), "-t", "2", "--force").stderr
    assert len(json.loads(cache.file().read_text())["plans"]) == len(rows)


def test_bench_measures_what_is_missing_and_run_never(cache):
    ran = cache.run(*RUN)
    assert cache.files() == [] and "matmul" not in ran.stderr
    assert "# matmul plans: default (--matmul-tuning off)" in cache.run(*LATENCY, "--matmul-tuning", "off").stdout
    assert "# matmul plans: default for F32, which" in cache.run(*LATENCY, "--matmul-tuning", "cached").stdout
    assert cache.files() == []
    measured = cache.run(*LATENCY)
    assert "measuring F32" in measured.stderr and f"# matmul plans: tuned ({cache.file()})" in measured.stdout
    assert "measuring" not in cache.run(*LATENCY).stderr
    assert cache.run(*RUN).stdout == ran.stdout == cache.run(*RUN, "--matmul-tuning", "off").stdout


def test_serve_says_where_its_plans_come_from(start):
    line = next(entry for entry in start().log if "matmul plans: tuned (" in entry)
    assert os.environ["XDG_CACHE_HOME"] in line
    assert any("matmul plans: default (--matmul-tuning off)" in entry for entry in start("--matmul-tuning", "off").log)
    assert any("the kernels of ref leave no choice" in entry for entry in start("--isa", "ref").log)


@pytest.mark.parametrize("spoil", [lambda text: text[:len(text) // 2], lambda text: text.replace('"threads": 2', '"threads": 3'),
                                   lambda text: text.replace('"way": "', '"way": "x'), lambda text: ""])
def test_a_cache_that_does_not_fit_is_ignored_with_a_line_and_made_anew(cache, spoil):
    cache.run("tune", str(MODEL), "-t", "2")
    spoiled = spoil(cache.file().read_text())
    cache.file().write_text(spoiled)
    ran = cache.run(*RUN)
    assert ran.stderr.count(f"matmul plans: {cache.file()} is ignored: ") == 1 and "measuring" not in ran.stderr
    assert cache.file().read_text() == spoiled
    done = cache.run(*LATENCY)
    assert done.stderr.count(f"{cache.file()} is ignored: ") == 1 and "measuring F32" in done.stderr
    assert "matmul" not in cache.run(*RUN).stderr


def test_without_a_folder_for_it_nothing_is_kept(tmp_path):
    for command, status in ((["tune", str(MODEL)], 1), (LATENCY, 0)):  # to keep it is what the first is for
        done = sluice(*command, env=PLAIN, cwd=tmp_path)
        assert done.returncode == status and "tuned, and not kept: neither XDG_CACHE_HOME nor HOME is set" in done.stdout
    blocked = tmp_path / "file"
    blocked.write_text("")
    done = sluice("tune", str(MODEL), env=PLAIN | {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(blocked)})
    assert done.returncode == 1 and f"tuned, and not kept: cannot make the folder {blocked}/sluice: " in done.stdout
    done = sluice("tune", str(MODEL), env=PLAIN | {"HOME": str(tmp_path), "XDG_CACHE_HOME": "relative"})
    assert f"tuned ({tmp_path}/.cache/sluice/" in done.stdout
