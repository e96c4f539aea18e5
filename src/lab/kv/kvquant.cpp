#include <array>
#include <cmath>
#include <vector>

#include "lab/kv/quantized_kv.h"
#include "quant/kv/kv_format.h"

namespace sluice::lab {
namespace {

/// The share of their energy that keys lose: as they are, and with the rotation from their block's first position turned back.
Result<std::array<double, 2>> key_errors(const Setting& setting) {
  constexpr int kTokens = 64;
  SLUICE_TRY(const KvHeads heads, heads_of_random_tokens(setting, 4 * kTokens));
  SLUICE_TRY(const auto bench, Bench::open(setting));
  std::vector<int32_t> by(kTokens);
  for (int t = 0; t < kTokens; ++t) by[static_cast<size_t>(t)] = -t;
  std::vector<uint8_t> tile(kKvQuant3.tile_bytes(kTokens, heads.head_dim));
  std::vector<float> back(static_cast<size_t>(kTokens * heads.head_dim));
  std::array<double, 2> errors = {};
  for (const bool turned : {false, true}) {
    double lost = 0, all = 0;
    for (const std::vector<float>& keys : heads.keys)
      for (size_t first = 0; first + back.size() <= keys.size(); first += back.size()) {
        std::vector<float> x(keys.begin() + static_cast<int64_t>(first), keys.begin() + static_cast<int64_t>(first + back.size()));
        if (turned) bench->model().rotate_keys(0, by, 1, x.data());
        kKvQuant3.block->encode(KvPart::keys, x.data(), kTokens, heads.head_dim, tile.data());
        kKvQuant3.block->decode(KvPart::keys, tile.data(), kTokens, heads.head_dim, 0, kTokens, back.data());
        for (size_t i = 0; i < x.size(); ++i) lost += std::pow(static_cast<double>(x[i] - back[i]), 2), all += std::pow(static_cast<double>(x[i]), 2);
      }
    errors[turned ? 1 : 0] = lost / all;
  }
  return errors;
}

Result<Finding> run_kvquant(const Setting& setting) {
  SLUICE_TRY(Finding f, measure_kv(setting, kKvQuant3, 0.05));
  SLUICE_TRY(const auto errors, key_errors(setting));
  const auto [rotated, before] = errors;
  f.must("the model's keys lose less before their rotation than after it", before < rotated, fmt::format("{:.6f} and {:.6f} of their energy", before, rotated));
  f.count("keys' energy lost in millionths: rotated, before their rotation", 1e6 * rotated, 1e6 * before);
  return f;
}

}  // namespace

extern const Experiment kKvQuant;
const Experiment kKvQuant = {
    .name = "kvquant3",
    .ids = "Q23 Q26",
    .group = "kv",
    .technique = "3-bit KV cache: keys before their rotation, uneven codes, 1 % outliers and first tokens in float16",
    .paper = "Hooper et al., KVQuant, NeurIPS 2024",
    .file = "src/quant/kv/kvquant.cpp",
    .flag = "`--kv-cache-dtype kvquant3`",
    .test = "`src/quant/kv/kv_block_format_test.cpp`, `src/backend/block_format_test.cpp`, `tests/fidelity/kvquant_test.cpp`, `tests/exactness`",
    .baseline = "f16",
    .workload = "a text that the model wrote; keys of 256 random tokens",
    .holds = "approximate: below 0.05 nats a token; equal bits within the format; keys lose less before their rotation than after it",
    .run = run_kvquant};

}  // namespace sluice::lab
