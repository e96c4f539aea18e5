#!/usr/bin/env bash
# The simulator against the engine: Azure's conversation and code traces and prompts that share a prefix, scaled to a CPU, each under
# four policies, in both. Writes the table that docs/simulator.md shows to build/bench/fidelity.md. Four minutes; anything else
# that runs on the machine meanwhile is an error of the prediction.
#   bench/fidelity.sh [SLUICE] [MODEL] [TRACE...]     defaults: build/release/sluice, random weights in the shape of
#                                                     qwen2.5-0.5b in Q8_0, the traces in SLUICE_TEST_DATA or the conversation trace of tests/data
set -euo pipefail
cd "$(dirname "$0")/.."
sluice=${1:-build/release/sluice}
[ -x "$sluice" ] || { echo "there is no $sluice: scripts/quickstart.sh --once builds it" >&2; exit 1; }
model=${2:-build/bench/qwen2.5-0.5b-q8_0.gguf}
shift $(($# < 2 ? $# : 2))
traces=("$@")
if [ ${#traces[@]} -eq 0 ]; then
  if [ -n "${SLUICE_TEST_DATA:-}" ]; then
    traces=("$SLUICE_TEST_DATA"/traces/AzureLLMInferenceTrace_{conv,code}.csv)
  else
    traces=(tests/data/traces/azure_conv_2023.csv)
  fi
fi
mkdir -p build/bench
[ -f "$model" ] || "$sluice" convert --random --like qwen2.5-0.5b --type q8_0 "$model"
exec "$sluice" bench fidelity "$model" --traces "$(IFS=,; echo "${traces[*]}")" --max-model-len 2048 --max-num-seqs 16 --max-num-batched-tokens 512 \
  -o build/bench/fidelity.md
