#include "lab/workloads.h"

namespace sluice::lab {
namespace {

/// Some short requests that decode for long, and two long prompts that come when those decode.
Load long_prompts_among_decodes(int64_t vocab, int decodes, int output_tokens, int prompt_tokens) {
  Rng rng(9);
  Load load;
  for (int i = 0; i < decodes; ++i) load.requests.push_back(forced_request(random_tokens(rng, vocab, 8), output_tokens, load.requests.size()));
  for (int i = 0; i < 2; ++i) load.requests.push_back(forced_request(random_tokens(rng, vocab, prompt_tokens), 8, load.requests.size()));
  load.arrivals.assign(load.requests.size(), 0);
  load.arrivals[load.arrivals.size() - 2] = load.arrivals.back() = 100'000'000;
  return load;
}

Result<Finding> run_chunked_prefill(const Setting& setting) {
  constexpr int kDecodes = 8, kChunk = 32;
  SLUICE_TRY(const auto bench, Bench::open(setting));
  const int output = setting.quick ? 48 : 200, prompt = std::min(512, bench->max_positions() - 64);
  Load load = long_prompts_among_decodes(bench->vocab(), kDecodes, output, prompt);
  load.arrivals.clear();
  EngineOptions options = engine_options(std::max(output + 8, prompt + 64), 16 * (prompt + 64));
  options.prefix_cache = "none";
  options.chunk_policy = "prefill-first";
  SLUICE_TRY(const Run whole, bench->run(options, load));
  options.chunk_policy = "stall-free";
  Finding f;
  Run chunked;
  for (const int chunk : {1, 7, 100, kChunk}) {
    options.chunked_prefill_size = chunk;
    options.max_num_batched_tokens = kDecodes + chunk;  // in the first step too, where nobody decodes yet
    SLUICE_TRY(chunked, bench->run(options, load));
    std::string why;
    const bool same = same_outputs(whole, chunked, &why);
    f.must(fmt::format("equal bits in chunks of {}", chunk), same, why);
  }

  // The gaps, in a load where decodes never pause.
  const Load simulated = long_prompts_among_decodes(32'000, kDecodes, 400, 1800);
  EngineOptions sim = engine_options(2048, 16 * 2048);
  sim.chunked_prefill_size = kChunk;
  SLUICE_TRY(const Run chunks, simulate(sim, simulated));
  sim.chunked_prefill_size = 0;
  sim.chunk_policy = "prefill-first";
  SLUICE_TRY(const Run unchunked, simulate(sim, simulated));
  const auto largest_gap_ms = [](const Run& r) {
    Nanos gap = 0;
    for (const RequestRecord& record : r.records)
      for (size_t i = 1; i < record.token_times.size(); ++i) gap = std::max(gap, record.token_times[i] - record.token_times[i - 1]);
    return static_cast<double>(gap) / 1e6;
  };
  StepShape bound;
  for (int i = 0; i < kDecodes + 2; ++i) bound.add(1800, 1, 1);
  bound.add(1800, kChunk, 1);
  const double bound_ms = StepCost::built_in().step_ns(step_features(bound)) / 1e6;
  f.must("no gap is longer than a step with one chunk", largest_gap_ms(chunks) <= bound_ms,
         fmt::format("{:.1f} of {:.1f} ms", largest_gap_ms(chunks), bound_ms));
  f.effect = {fmt::format("simulated: largest gap between two tokens of {} sequences while two prompts of 1,800 tokens come, whole and in chunks of {}", kDecodes, kChunk),
              "ms", largest_gap_ms(unchunked), largest_gap_ms(chunks), Better::lower, false};
  f.count("TTFT of the first long prompt, ms", static_cast<double>(unchunked.records[kDecodes].ttft()) / 1e6, static_cast<double>(chunks.records[kDecodes].ttft()) / 1e6);
  f.count("steps", static_cast<double>(unchunked.stats.steps), static_cast<double>(chunks.stats.steps));
  return f;
}

}  // namespace

extern const Experiment kChunkedPrefill;
const Experiment kChunkedPrefill = {
    .name = "chunked-prefill",
    .ids = "B5",
    .group = "batching",
    .technique = "Chunked prefill",
    .paper = "Agrawal et al., SARATHI, 2023",
    .file = "src/sched/chunk/stall_free.h",
    .flag = "`--chunked-prefill-size N`",
    .test = "`tests/exactness` (chunks of 1 and 7), `tests/property`",
    .baseline = "prompts whole (`--chunk-policy prefill-first`)",
    .workload = "8 sequences that decode, and two long prompts; on the model for the bits, simulated for the gaps",
    .holds = "lossless: equal bits in any chunks; the largest gap between tokens is bounded by the chunk",
    .run = run_chunked_prefill};

}  // namespace sluice::lab
