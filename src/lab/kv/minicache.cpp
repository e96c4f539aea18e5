#include "quant/kv/minicache.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "lab/kv/quantized_kv.h"
#include "quant/kv/kv_format.h"
#include "weights/convert.h"
#include "weights/gguf_writer.h"

namespace sluice::lab {
namespace {

constexpr int kTokens = 64;     // of a block
constexpr double kAlike = 0.9;  // mean cosine of two layers from which merging is worth its loss

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

/// The mean over keys, values, heads and tokens; the least of the pairs from layer `first` on.
double least_cosine(const KvHeads& heads, int layers, int first) {
  double least = 1;
  for (int l = first; l + 1 < layers; l += 2) {
    const Pair pair{heads, heads.keys.size() / static_cast<size_t>(layers), l};
    least = std::min(least, (pair.cosine(KvPart::keys) + pair.cosine(KvPart::values)) / 2);
  }
  return least;
}

/// What the technique asks for and a model of a few layers lacks: the model with its last layer in twice, whose two copies see
/// nearly the same input. Adds what merging them costs.
Status merge_copies(Setting setting, int layers, Finding& f) {
  SLUICE_TRY(GgufPlan plan, plan_requantize(setting.model, nullptr));
  for (GgufKey& key : plan.keys)
    if (key.name.ends_with(".block_count")) key = GgufKey::u32(key.name, layers + 1);
  const std::string last = fmt::format("blk.{}.", layers - 1), copy = fmt::format("blk.{}.", layers);
  for (size_t i = 0, n = plan.tensors.size(); i < n; ++i) {
    if (!plan.tensors[i].name.starts_with(last)) continue;
    GgufTensor tensor = plan.tensors[i];
    tensor.name.replace(0, last.size(), copy);
    plan.tensors.push_back(std::move(tensor));
  }
  setting.model = setting.scratch + "/twice.gguf";
  ThreadPool pool(1);
  SLUICE_TRY([[maybe_unused]] const size_t bytes, write_gguf(setting.model, plan, pool));
  SLUICE_TRY(const KvHeads heads, heads_of_random_tokens(setting, 256));
  SLUICE_TRY(const KvFormats formats, KvFormats::parse(fmt::format("kivi4,minicache:{}-{}", layers - 1, layers)));
  SLUICE_TRY_STATUS(formats.check(layers + 1));
  SLUICE_TRY(const Finding merged, measure_kv(setting, formats, 0.1));
  for (const Check& check : merged.checks) f.must("with the last layer in twice, both merged: " + check.what, check.held, check.seen);
  f.count("with the last layer in twice: their mean cosine, nats a token lost by merging them", least_cosine(heads, layers + 1, layers - 1),
          merged.counters[0].technique - merged.counters[0].baseline);
  return {};
}

Result<Finding> run_minicache(const Setting& asked) {
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
  const double alike = least_cosine(heads, layers, first);
  // Where directions have nothing in common the merged layers hold little that is right, and no more is asked than that the loss stays
  // below that of guessing.
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
  if (alike >= kAlike) return f;
  if (setting.model.ends_with(".gguf")) {
    SLUICE_TRY_STATUS(merge_copies(setting, layers, f));
  }
  f.absent(fmt::format("the bytes fall, but of layers {}-{} a pair has a mean cosine of {:.2f}, and merging wants {} and more, as the paper finds in the upper half of models of 32 layers: "
                       "{:+.2f} nats a token here",
                       first, layers - 1, alike, kAlike, f.counters[0].technique - f.counters[0].baseline));
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
    .workload = "a text that a model of at least 4 layers wrote (stories260K where the model has fewer), and keys and values of 256 random tokens; the same with its last layer in twice",
    .holds = "approximate: what it loses depends on how alike adjacent layers are; equal bits within the format; float16 where all tokens are retained",
    .run = run_minicache};

}  // namespace sluice::lab
