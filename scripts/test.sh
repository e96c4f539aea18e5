#!/usr/bin/env bash
# Installs what the tests need, builds and runs all of them, and ends with their counts.
#   (default)   release build with every test, the parsers and the KV and scheduling code under ASan+UBSan, and the official
#               openai client against the built server
#   --sanitize  everything under ASan+UBSan, and the concurrent parts under TSan
# SLUICE_TEST_DATA names a folder of test data that cannot be in the repository; tests that want it skip without it.
set -uo pipefail
cd "$(dirname "$0")/.."
. scripts/packages.sh
mode="${1:-default}"
case "$mode" in default | --sanitize) ;; *) echo "usage: scripts/test.sh [--sanitize]" >&2; exit 2 ;; esac
if [ -z "${SLUICE_TEST_DATA:-}" ] && [ -d ../shared/data ]; then
  SLUICE_TEST_DATA="$(cd ../shared/data && pwd)"
  export SLUICE_TEST_DATA
fi

failed_step() { echo "FAILED: $1"; echo "0 passed, 1 failed"; exit 1; }
install_packages "${build_packages[@]}" "${test_packages[@]}" || failed_step "installing packages"
summary="$(mktemp)"
failures="$(mktemp)"
trap 'rm -f "$summary" "$failures"' EXIT
status=0

build() {  # preset, targets...
  local preset=$1; shift
  cmake --preset "$preset" >/dev/null || failed_step "configuring $preset"
  cmake --build "build/$preset" ${1:+--target "$@"} || failed_step "building $preset"
}

server_tests() {  # path of the binary
  echo "== the server, with the official client =="
  local venv=build/venv
  [ -x $venv/bin/python ] || python3 -m venv $venv || failed_step "making a Python environment"
  $venv/bin/pip install -q --disable-pip-version-check -r tests/server/requirements.txt || failed_step "installing the Python clients"
  local report=build/server_tests.xml
  SLUICE_BIN="$1" $venv/bin/python -m pytest -q --junitxml=$report tests/server || status=1
  python3 - $report "$failures" <<'PY' >>"$summary"
import sys, xml.etree.ElementTree as tree
cases = list(tree.parse(sys.argv[1]).getroot().iter("testcase"))
bad = [c for c in cases if c.find("failure") is not None or c.find("error") is not None]
skipped = [c for c in cases if c.find("skipped") is not None]
print(len(cases) - len(bad) - len(skipped), len(bad), len(skipped))
open(sys.argv[2], "a").writelines(f"server {c.get('classname')}.{c.get('name')}\n" for c in bad)
PY
}

# What reads bytes from outside, and what keeps the books.
careful=(base_test kv_prefix_test schedule_property_test text_tokenizer_test text_chat_test weights_test)
# What runs on several threads.
concurrent=(base_test backend_test serve_http_test serve_openai_test exactness_test)

python3 tools/check_layers.py || failed_step "tools/check_layers.py"
python3 tools/check_names.py || failed_step "tools/check_names.py"
if [ "$mode" = --sanitize ]; then
  build asan
  build tsan "${concurrent[@]}"
  python3 tools/run_tests.py build/asan "build/tsan:$(IFS=,; echo "${concurrent[*]}")" --summary "$summary" --failures "$failures" || status=1
else
  build release
  build asan-portable "${careful[@]}"  # kernels are none of these tests, and take minutes each to compile under a sanitizer
  python3 tools/run_tests.py build/release "build/asan-portable:$(IFS=,; echo "${careful[*]}")" --summary "$summary" --failures "$failures" || status=1
  server_tests "$PWD/build/release/sluice"
fi

[ -s "$failures" ] && echo "failed:" && sed 's/^/  /' "$failures"
awk '{p += $1; f += $2; s += $3} END {printf "%d passed, %d failed, %d skipped\n", p, f, s}' "$summary"
exit $status
