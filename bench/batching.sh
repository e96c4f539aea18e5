#!/usr/bin/env bash
# Continuous against static batching: 200 requests spread over the conversation trace, arriving with its bursts at 0.6 of the rate
# that this machine sustains (measured first). On the real engine and in the simulator. Prompts are scaled by 0.03 and outputs
# by 0.15: beside its decode, a CPU's prefill is that much slower than those of the GPUs that the trace comes from.
#   bench/batching.sh [SLUICE] [MODEL]     defaults: build/release/sluice, or else build/quickstart/sluice; random weights in
#                                          the shape of qwen2.5-0.5b, Q8_0
set -euo pipefail
cd "$(dirname "$0")/.."
default=build/release/sluice
[ -x $default ] || default=build/quickstart/sluice
sluice=${1:-$default}
[ -x "$sluice" ] || { echo "there is no $sluice: scripts/quickstart.sh --once builds it" >&2; exit 1; }
model=${2:-build/bench/qwen2.5-0.5b-q8_0.gguf}
trace=tests/data/traces/azure_conv_2023.csv
mkdir -p build/bench
[ -f "$model" ] || "$sluice" convert --random --like qwen2.5-0.5b --type q8_0 "$model"
engine=(--max-model-len 2048 --max-num-seqs 16 --max-num-batched-tokens 512 --prefix-cache none)
scale=(--trace $trace --length-scale 0.03 --output-length-scale 0.15 --max-input-len 512 --max-output-len 64)

"$sluice" bench throughput "$model" "${engine[@]}" "${scale[@]}" --num-prompts 40 --result-file build/bench/probe.json >/dev/null
rate=$(python3 -c 'import json; print(round(0.6 * json.load(open("build/bench/probe.json"))["request_throughput"], 3))')
echo "arrivals: $rate requests per second"
exec "$sluice" bench batching "$model" "${engine[@]}" "${scale[@]}" --num-prompts 200 --request-rate "$rate" \
  --result-file build/bench/batching.json
