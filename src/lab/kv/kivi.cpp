#include <array>
#include <cmath>
#include <vector>

#include "lab/kv/quantized_kv.h"
#include "quant/kv/kv_format.h"

namespace sluice::lab {
namespace {

/// The share of the keys' energy that encoding loses: with scales per channel, and per token as values have them.
std::array<double, 2> key_errors(const KvHeads& tap, const KvFormat& format) {
  std::array<double, 2> errors = {};
  for (const KvPart part : {KvPart::keys, KvPart::values}) {
    double lost = 0, all = 0;
    std::vector<uint8_t> tile(format.tile_bytes(tap.tokens, tap.head_dim));
    std::vector<float> back(static_cast<size_t>(tap.tokens * tap.head_dim));
    for (const std::vector<float>& x : tap.keys) {
      format.block->encode(part, x.data(), tap.tokens, tap.head_dim, tile.data());
      format.block->decode(part, tile.data(), tap.tokens, tap.head_dim, 0, tap.tokens, back.data());
      for (size_t i = 0; i < x.size(); ++i) lost += std::pow(static_cast<double>(x[i] - back[i]), 2), all += std::pow(static_cast<double>(x[i]), 2);
    }
    errors[static_cast<size_t>(part)] = lost / all;
  }
  return errors;
}

Result<Finding> run_kivi(const Setting& setting, const KvFormat& format, double most_nats) {
  SLUICE_TRY(Finding f, measure_kv(setting, format, most_nats));
  SLUICE_TRY(const KvHeads keys, heads_of_random_tokens(setting, 256));
  const auto [channel, token] = key_errors(keys, format);
  f.must("the model's keys lose less with scales per channel than per token", channel < token, fmt::format("{:.5f} and {:.5f} of their energy", channel, token));
  f.count("keys' energy lost in millionths: scales per token, per channel", 1e6 * token, 1e6 * channel);
  return f;
}

}  // namespace

extern const Experiment kKivi2, kKivi4;
const Experiment kKivi2 = {
    .name = "kivi2",
    .ids = "Q22 Q26",
    .group = "kv",
    .technique = "2-bit KV cache: keys per channel, values per token",
    .paper = "Liu et al., KIVI, ICML 2024",
    .file = "src/quant/kv/kivi.cpp",
    .flag = "`--kv-cache-dtype kivi2`",
    .test = "`src/quant/kv/kv_block_format_test.cpp`, `src/backend/block_format_test.cpp`, `tests/exactness`",
    .baseline = "f16",
    .workload = "a text that the model wrote; keys of 256 random tokens",
    .holds = "approximate: below 0.5 nats a token; equal bits within the format; per-channel keys lose less than per-token ones",
    .run = [](const Setting& setting) { return run_kivi(setting, kKvKivi2, 0.5); }};
const Experiment kKivi4 = {
    .name = "kivi4",
    .ids = "Q22 Q26",
    .group = "kv",
    .technique = "4-bit KV cache: keys per channel, values per token",
    .paper = "Liu et al., KIVI, ICML 2024",
    .file = "src/quant/kv/kivi.cpp",
    .flag = "`--kv-cache-dtype kivi4`",
    .test = "`src/quant/kv/kv_block_format_test.cpp`, `src/backend/block_format_test.cpp`, `tests/exactness`",
    .baseline = "f16",
    .workload = "a text that the model wrote; keys of 256 random tokens",
    .holds = "approximate: below 0.05 nats a token; equal bits within the format; per-channel keys lose less than per-token ones",
    .run = [](const Setting& setting) { return run_kivi(setting, kKvKivi4, 0.05); }};

}  // namespace sluice::lab
