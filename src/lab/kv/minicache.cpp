#include "quant/kv/minicache.h"

#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "lab/kv/quantized_kv.h"
#include "quant/kv/kv_format.h"

namespace sluice::lab {
namespace {

constexpr int kTokens = 64;     // of a block
constexpr double kAlike = 0.9;  // mean cosine of adjacent layers from which merging is worth its loss; the paper's models have more

/// Keys or values of one layer and the next, all heads.
struct Pair {
  const KvHeads& heads;
  size_t per_layer;
  int lower;  // layer

  template <class F>
  void each(F f) const {  // f(part, lower's head, upper's head): [tokens][head_dim] each
    for (const KvPart part : {KvPart::keys, KvPart::values}) {
      const auto& x = part == KvPart::keys ? heads.keys : heads.values;
      for (size_t h = 0; h < per_layer; ++h) {
        const size_t at = static_cast<size_t>(lower) * per_layer + h;
        f(part, x[at].data(), x[at + per_layer].data());
      }
    }
  }
  /// The mean over tokens and heads.
  double cosine(KvPart of) const {
    double sum = 0;
    each([&](KvPart part, const float* a, const float* b) {
      for (int t = 0; part == of && t < heads.tokens; ++t) sum += cosine_of(a + t * heads.head_dim, b + t * heads.head_dim, heads.head_dim);
    });
    return sum / static_cast<double>(per_layer) / heads.tokens;
  }
  /// The share of their energy that is lost when `retained` tokens of a block are kept.
  double loss(int retained) const {
    double lost = 0, all = 0;
    std::vector<uint8_t> tiles[2];
    for (auto& tile : tiles) tile.resize(minicache_tile_bytes(kTokens, heads.head_dim, retained));
    uint8_t* const to[] = {tiles[0].data(), tiles[1].data()};
    std::vector<float> back(static_cast<size_t>(kTokens * heads.head_dim));
    each([&](KvPart part, const float* a, const float* b) {
      for (int first = 0; first + kTokens <= heads.tokens; first += kTokens) {
        const float* const x[] = {a + first * heads.head_dim, b + first * heads.head_dim};
        encode_minicache(part, x, kTokens, heads.head_dim, retained, to);
        for (const int side : {0, 1}) {
          decode_minicache(part, side, to, kTokens, heads.head_dim, retained, 0, kTokens, kKvKivi4.block->decode, back.data());
          for (size_t i = 0; i < back.size(); ++i)
            lost += std::pow(static_cast<double>(x[side][i] - back[i]), 2), all += std::pow(static_cast<double>(x[side][i]), 2);
        }
      }
    });
    return lost / all;
  }
};

/// The setting's model, or where its upper half has no two layers, the other one beside it.
Result<std::pair<Setting, int>> with_layers(Setting setting) {
  SLUICE_TRY(const auto bench, Bench::open(setting));
  const int layers = bench->model().info().layers;
  if (layers >= 4) return std::pair(setting, layers);
  const std::filesystem::path other = std::filesystem::path(setting.model).parent_path() / "stories260K.gguf";
  if (!std::filesystem::exists(other)) return std::pair(setting, layers);
  setting.model = other.string();
  SLUICE_TRY(const auto deeper, Bench::open(setting));
  return std::pair(setting, deeper->model().info().layers);
}

Result<Finding> run(const Setting& asked) {
  SLUICE_TRY(const auto found, with_layers(asked));
  const auto& [setting, layers] = found;
  if (layers < 4) {
    Finding f;
    f.absent(fmt::format("the model has {} layers, of which the upper half has no two to merge", layers));
    return f;
  }
  const int first = layers - (layers - (layers + 1) / 2) / 2 * 2;
  const std::string merged = fmt::format("minicache:{}-{}", first, layers - 1);
  SLUICE_TRY(const KvFormats formats, KvFormats::parse("kivi4," + merged));
  SLUICE_TRY_STATUS(formats.check(layers));
  SLUICE_TRY(const auto bench, Bench::open(setting));
  SLUICE_TRY(const KvHeads heads, heads_of_random_tokens(setting, 256));
  const size_t per_layer = heads.keys.size() / static_cast<size_t>(layers);
  const Pair top{heads, per_layer, layers - 2};
  const double alike = (top.cosine(KvPart::keys) + top.cosine(KvPart::values)) / 2;
  // Where directions have nothing in common, half of what the upper layers hold is lost: no more is asked then than that the model does
  // not do worse by what guessing costs.
  SLUICE_TRY(Finding f, measure_kv(setting, formats, alike < kAlike ? std::log(static_cast<double>(bench->vocab())) : 0.1));
  SLUICE_TRY(const Finding codes, measure_kv(setting, kKvKivi4, 0.2));
  f.count("nats a token lost: kivi4 in all layers, " + merged, codes.counters[0].technique - codes.counters[0].baseline, f.counters[0].technique - f.counters[0].baseline);
  const double full = kv_token_bytes(bench->model(), kKvF16) / layers, narrow = kv_token_bytes(bench->model(), kKvKivi4) / layers;
  const double tile = static_cast<double>(kKvMiniCache.tile_bytes(kTokens, heads.head_dim)) / kTokens * 2 * static_cast<double>(per_layer);
  f.count("bytes a token in one merged layer: f16, minicache", full, tile);
  const double want = first * narrow + (layers - first) * tile, bytes = kv_token_bytes(bench->model(), formats);
  f.must("a token's bytes are kivi4's below and minicache's in the pairs", std::abs(bytes - want) < 1e-6, fmt::format("{} of {}", bytes, want));
  for (int l = 0; l + 1 < layers; ++l) {
    const Pair pair{heads, per_layer, l};
    f.count(fmt::format("mean cosine of layers {} and {}: keys, values", l, l + 1), pair.cosine(KvPart::keys), pair.cosine(KvPart::values));
  }
  const double none = top.loss(0), some = top.loss(minicache_retained(kTokens)), half = top.loss(kTokens / 2), all = top.loss(kTokens);
  f.must("retained tokens lower what merging loses, and with all of them only float16's rounding is left", some < none && half < some && half > all && all < 1e-6,
         fmt::format("{:.4f} of the energy with none, {:.4f} with {}, {:.4f} with {}, {:.2g} with all", none, some, minicache_retained(kTokens), half, kTokens / 2, all));
  f.count(fmt::format("share of the energy of layers {} and {} that is lost: none retained, 5 % retained", layers - 2, layers - 1), none, some);
  if (alike < kAlike)
    f.absent(fmt::format("the bytes fall, but layers {} and {} have a mean cosine of {:.2f}, and merging wants more than {}, as the paper's models of 32 layers and more have: "
                         "here {:.0f} % of the energy is lost, {:+.2f} nats a token",
                         layers - 2, layers - 1, alike, kAlike, 100 * some, f.counters[0].technique - f.counters[0].baseline));
  return f;
}

}  // namespace

extern const Experiment kMiniCache;
const Experiment kMiniCache = {
    .name = "minicache",
    .ids = "Q25 Q26",
    .group = "kv",
    .technique = "KV cache of which pairs of layers in the upper half share directions, in 4 bits",
    .paper = "Liu et al., MiniCache, NeurIPS 2024",
    .file = "src/quant/kv/minicache.cpp",
    .flag = "`--kv-cache-dtype kivi4,minicache:12-23`",
    .test = "`src/quant/kv/minicache_test.cpp`, `src/backend/pair_format_test.cpp`, `tests/exactness`",
    .baseline = "f16",
    .workload = "a text that the model wrote; keys and values of 256 random tokens",
    .holds = "approximate: what it loses depends on how alike adjacent layers are; equal bits within the format; float16 where all tokens are retained",
    .run = run};

}  // namespace sluice::lab
