#include "lab/kv/quantized_kv.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "exec/kv_arena.h"
#include "lab/workloads.h"
#include "model/quality.h"
#include "quant/kv/kv_format.h"

namespace sluice::lab {
namespace {

struct HeadTap final : LayerPolicy {
  explicit HeadTap(KvHeads& to) : heads(to) {}
  void before_attention(const LayerView& view) override {
    const size_t rows = view.positions.size(), n = static_cast<size_t>(view.kv.kv_heads), dim = static_cast<size_t>(view.kv.head_dim);
    heads.head_dim = view.kv.head_dim;
    for (size_t h = 0; h < n; ++h)
      for (const auto& [from, to] : {std::pair{view.k, &heads.keys}, std::pair{view.v, &heads.values}}) {
        std::vector<float>& x = to->emplace_back();
        for (size_t r = 0; r < rows; ++r) x.insert(x.end(), from + (r * n + h) * dim, from + (r * n + h + 1) * dim);
      }
  }
  KvHeads& heads;
};

}  // namespace

Result<KvHeads> heads_of_random_tokens(const Setting& setting, int tokens) {
  SLUICE_TRY(const auto bench, Bench::open(setting));
  Rng rng(2);
  const std::vector<TokenId> text = random_tokens(rng, bench->vocab(), tokens);
  SLUICE_TRY(const KvArena kv, KvArena::allocate(bench->model().kv(), kKvF32, 1, tokens));
  std::vector<int32_t> positions(text.size());
  std::iota(positions.begin(), positions.end(), 0);
  const std::vector<int64_t> slots(positions.begin(), positions.end());
  const BlockId block = 0;
  const AttendSegment segment{0, tokens, 0, &block};
  const int32_t wanted[] = {tokens - 1};
  std::vector<float> logits(static_cast<size_t>(bench->vocab()));
  KvHeads heads{tokens, 0, {}, {}};
  HeadTap tap(heads);
  bench->model().forward({text, positions, slots, {&segment, 1}, wanted, &tap}, kv.layers(), logits.data());
  return heads;
}

Result<Finding> measure_kv(const Setting& setting, const KvFormats& format, double most_nats) {
  SLUICE_TRY(const auto bench, Bench::open(setting));
  // The model's own greedy text: what it predicts surely is what a damaged cache would lose first.
  const int context = std::min(bench->max_positions(), setting.quick ? 768 : 2048), prompt = 32;
  Rng rng(2);
  const Load load{{forced_request(random_tokens(rng, bench->vocab(), prompt), context - prompt)}, {}};
  EngineOptions options = engine_options(context, context);
  SLUICE_TRY(const Run full, bench->run(options, load, kKvF16));
  SLUICE_TRY(const Run small, bench->run(options, load, format));
  std::vector<TokenId> text = load.requests[0].prompt;
  const std::vector<TokenId>& output = full.outputs.at({0, 0}).tokens;
  text.insert(text.end(), output.begin(), output.end());

  const auto nll = [&](const KvFormats& kv_format) -> Result<std::vector<double>> {
    const int block = kv_format.fitting_block(16);
    SLUICE_TRY(const KvArena kv, KvArena::allocate(bench->model().kv(), kv_format, (context + block - 1) / block, block));
    return token_nll(bench->model(), kv.layers(), text);
  };
  SLUICE_TRY(const auto exact, nll(kKvF32));
  SLUICE_TRY(const auto quantized, nll(format));
  const PairedNll loss = compare_nll(exact, quantized);
  Finding f;
  f.must(fmt::format("negative log-likelihood within {} nats a token of float32 KV", most_nats), std::fabs(loss.difference) < most_nats,
         fmt::format("{:+.5f} ± {:.5f} nats of {:.3f}", loss.difference, loss.interval, loss.mean));
  SLUICE_TRY(const Run again, bench->run(options, load, format));
  std::string why;
  const bool same = same_outputs(small, again, &why);
  f.must("within the format, equal bits from run to run", same, why);
  const auto token_bytes = [&](const KvFormats& kv_format) {
    return kv_token_bytes(bench->model(), kv_format);
  };
  f.effect = {"KV bytes a token", "", token_bytes(kKvF16), token_bytes(format), Better::lower, false};
  f.count("NLL, nats a token", loss.mean, loss.mean + loss.difference);
  f.count("us in attention a step", static_cast<double>(full.attention_ns) / 1e3 / static_cast<double>(full.stats.steps),
          static_cast<double>(small.attention_ns) / 1e3 / static_cast<double>(small.stats.steps));
  return f;
}

extern const Experiment kInt8Kv, kFp8Kv, kInt4Kv;
const Experiment kInt8Kv = {
    .name = "int8-kv",
    .ids = "Q2 Q26",
    .group = "kv",
    .technique = "int8 KV cache, a scale per token and KV head",
    .paper = "per-token scales as in Yao et al., ZeroQuant, NeurIPS 2022; `docs/adr/0006`",
    .file = "src/quant/kv/int8.cpp",
    .flag = "`--kv-cache-dtype int8`",
    .test = "`tests/exactness`, `src/backend/attend_test.cpp`, `tests/fidelity/nll_test.cpp`",
    .baseline = "f16",
    .workload = "a text that the model wrote",
    .holds = "approximate: below 0.01 nats a token; equal bits within the format",
    .run = [](const Setting& setting) { return measure_kv(setting, kKvInt8, 0.01); }};
const Experiment kFp8Kv = {
    .name = "fp8-kv",
    .ids = "Q20 Q26",
    .group = "kv",
    .technique = "fp8 (E4M3) KV cache, without scales",
    .paper = "Micikevicius et al., FP8 Formats for Deep Learning, 2022",
    .file = "src/quant/kv/fp8.cpp",
    .flag = "`--kv-cache-dtype fp8`",
    .test = "`src/quant/kv/kv_format_test.cpp`, `src/backend/attend_test.cpp`, `tests/exactness`",
    .baseline = "f16",
    .workload = "a text that the model wrote",
    .holds = "approximate: below 0.03 nats a token; equal bits within the format",
    .run = [](const Setting& setting) { return measure_kv(setting, kKvFp8, 0.03); }};
const Experiment kInt4Kv = {
    .name = "int4-kv",
    .ids = "Q2 Q26",
    .group = "kv",
    .technique = "int4 KV cache, a scale per token and KV head",
    .paper = "the per-token baseline of Liu et al., KIVI, ICML 2024",
    .file = "src/quant/kv/int4.cpp",
    .flag = "`--kv-cache-dtype int4`",
    .test = "`src/quant/kv/kv_format_test.cpp`, `src/backend/attend_test.cpp`, `tests/exactness`",
    .baseline = "f16",
    .workload = "a text that the model wrote",
    .holds = "approximate: below 0.2 nats a token; equal bits within the format",
    .run = [](const Setting& setting) { return measure_kv(setting, kKvInt4, 0.2); }};

}  // namespace sluice::lab
