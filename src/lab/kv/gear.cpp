#include "quant/kv/gear.h"

#include <cmath>
#include <vector>

#include "lab/kv/quantized_kv.h"
#include "quant/kv/kv_format.h"

namespace sluice::lab {
namespace {

/// The share of the energy of keys and values that a tile of 128 tokens loses with these parts.
double error_of(const KvHeads& heads, GearParts parts) {
  constexpr int kTokens = 128;
  std::vector<uint8_t> tile(kKvGear4.tile_bytes(kTokens, heads.head_dim));
  std::vector<float> back(static_cast<size_t>(kTokens * heads.head_dim));
  double lost = 0, all = 0;
  for (const KvPart part : {KvPart::keys, KvPart::values})
    for (const std::vector<float>& x : part == KvPart::keys ? heads.keys : heads.values)
      for (int first = 0; first + kTokens <= heads.tokens; first += kTokens) {
        const float* from = x.data() + static_cast<size_t>(first * heads.head_dim);
        encode_gear(part, from, kTokens, heads.head_dim, tile.data(), parts);
        kKvGear4.block->decode(part, tile.data(), kTokens, heads.head_dim, 0, kTokens, back.data());
        for (size_t i = 0; i < back.size(); ++i) lost += std::pow(static_cast<double>(from[i] - back[i]), 2), all += std::pow(static_cast<double>(from[i]), 2);
      }
  return lost / all;
}

Result<Finding> run_gear(const Setting& setting) {
  SLUICE_TRY(Finding f, measure_kv(setting, kKvGear4, 0.05));
  SLUICE_TRY(const KvHeads heads, heads_of_random_tokens(setting, 256));
  const double codes = error_of(heads, {false, false}), low_rank = error_of(heads, {true, false}), all = error_of(heads, {});
  f.must("on the model's keys and values, factors lower what codes lose, and outliers what both do", all < low_rank && low_rank < codes,
         fmt::format("{:.6f}, {:.6f} and {:.6f} of their energy", codes, low_rank, all));
  f.count("energy lost in millionths: codes alone, all parts", 1e6 * codes, 1e6 * all);
  f.count("the same: codes alone, with factors", 1e6 * codes, 1e6 * low_rank);
  return f;
}

}  // namespace

extern const Experiment kGear4;
const Experiment kGear4 = {
    .name = "gear4",
    .ids = "Q24 Q26",
    .group = "kv",
    .technique = "4-bit KV cache with low-rank factors of its error, and outliers",
    .paper = "Kang et al., GEAR, 2024",
    .file = "src/quant/kv/gear.cpp",
    .flag = "`--kv-cache-dtype gear4`",
    .test = "`src/quant/kv/kv_block_format_test.cpp`, `src/backend/block_format_test.cpp`, `tests/exactness`",
    .baseline = "f16",
    .workload = "a text that the model wrote; keys and values of 256 random tokens",
    .holds = "approximate: below 0.05 nats a token; equal bits within the format; each part lowers the error",
    .run = run_gear};

}  // namespace sluice::lab
