// sluice bench latency: how fast one model prefills and decodes here, with the roofline beside each figure.

#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "apps/bench/bench.h"
#include "apps/bench/breakdown.h"
#include "apps/bench/roofline.h"
#include "apps/engine_stack.h"
#include "apps/progress.h"
#include "apps/text_file.h"
#include "base/rng.h"

namespace sluice {
namespace {

struct LatencyFlags {
  int prompt = 512, generate = 128, repetitions = 5;
  std::vector<std::string> depths{"0"}, batches{"1"};
  std::string json;
  bool breakdown = false;
};

/// One test and its runs. A prefill has n_prompt tokens, a decode n_gen in each of n_parallel sequences.
struct LatencyRow {
  int n_prompt = 0, n_gen = 0, n_depth = 0, n_parallel = 1;
  std::vector<double> seconds;  // of each run
  StepDemand demand;            // of the mean step
  double roofline_rate = 0;

  std::string test() const {
    std::string name = n_prompt > 0 ? fmt::format("pp{}", n_prompt) : fmt::format("tg{}", n_gen);
    if (n_parallel > 1) name += fmt::format(" b{}", n_parallel);
    return n_depth > 0 ? name + fmt::format(" @ d{}", n_depth) : name;
  }
  int tokens() const { return n_prompt > 0 ? n_prompt : n_gen * n_parallel; }
  std::vector<double> rates() const {
    std::vector<double> out;
    for (const double s : seconds) out.push_back(tokens() / s);
    return out;
  }
};

/// Runs plans by hand: sequence s owns blocks [s * per_seq, (s + 1) * per_seq), and all have the same tokens.
class Bench {
 public:
  explicit Bench(EngineStack& stack) : stack_(stack) { request_.sampling.temperature = 0; }

  /// Makes `sequences` ready for steps from `depth` to `max_tokens`. Their KV below is computed in the first and copied
  /// to the others: memory that was never written reads as one page of zeros, which is in the cache.
  void prepare(int sequences, int depth, int max_tokens) {
    const auto vocab = static_cast<uint64_t>(stack_.model->info().vocab_size);
    while (static_cast<int>(tokens_.size()) < max_tokens) tokens_.push_back(static_cast<TokenId>(rng_.below(vocab)));
    const int block_tokens = stack_.options.block_tokens, per_seq = (max_tokens + block_tokens - 1) / block_tokens;
    blocks_.assign(static_cast<size_t>(sequences), {});
    for (int s = 0; s < sequences; ++s)
      for (int b = 0; b < per_seq; ++b)
        blocks_[static_cast<size_t>(s)].push_back(static_cast<BlockId>(s * per_seq + b));
    Progress progress(fmt::format("filling the KV cache to {}", depth));
    const int budget = stack_.options.max_num_batched_tokens;
    while (filled_ < depth) {
      step(filled_, std::min(budget, depth - filled_), 1, false);
      progress.update(filled_, depth);
    }
    for (int s = 1; s < sequences; ++s)
      for (int b = 0; b * block_tokens < depth; ++b)
        copies_.push_back({static_cast<BlockId>(b), static_cast<BlockId>(s * per_seq + b), block_tokens});
    if (sequences > 1) filled_ = std::min(filled_, max_tokens);  // the others' blocks follow
  }

  /// Seconds of one step: `n` tokens at position `first` in each of `sequences`.
  double step(int first, int n, int sequences, bool samples) {
    StepPlan plan;
    plan.copies.swap(copies_);
    for (int s = 0; s < sequences; ++s) {
      PlanItem item;
      item.seq = static_cast<SeqId>(s + 1);
      item.first_pos = first;
      item.n_tokens = n;
      item.samples = samples;
      item.tokens = std::span<const TokenId>(tokens_).first(static_cast<size_t>(first + n));
      item.blocks = blocks_[static_cast<size_t>(s)];
      item.request = &request_;
      plan.items.push_back(item);
    }
    const Nanos start = stack_.clock->now();
    const Ticket ticket = stack_.executor->submit(plan);
    while (!stack_.executor->poll(ticket)) {}
    filled_ = std::max(filled_, first + n);
    return static_cast<double>(stack_.clock->now() - start) / 1e9;
  }

  /// Seconds of a prefill from `depth`, in steps of at most the token budget.
  double prefill(int depth, int n) {
    double seconds = 0;
    const int budget = stack_.options.max_num_batched_tokens;
    for (int done = 0; done < n; done += budget)
      seconds += step(depth + done, std::min(budget, n - done), 1, done + budget >= n);
    return seconds;
  }

 private:
  EngineStack& stack_;
  Request request_;
  Rng rng_{1};
  std::vector<TokenId> tokens_;
  std::vector<std::vector<BlockId>> blocks_;
  std::vector<KvCopy> copies_;  // to go with the next step
  int filled_ = 0;              // tokens whose KV the first sequence has
};

std::pair<double, double> mean_and_deviation(const std::vector<double>& values) {
  double mean = 0, square = 0;
  for (const double v : values) mean += v / static_cast<double>(values.size());
  for (const double v : values) square += (v - mean) * (v - mean) / static_cast<double>(values.size());
  return {mean, std::sqrt(square)};
}

void print_row(const EngineStack& stack, const LatencyRow& row, double weight_bytes) {
  const auto [mean, deviation] = mean_and_deviation(row.rates());
  std::fputs(
      fmt::format(
          "| {:<16} | {:>10} | {:>8.2f} M | {:>8} | {:>7} | {:>18} | {:>9.2f} ± {:<7.2f} | {:>9.1f} | {:>6.1f} % |\n",
          stack.model->info().arch, format_bytes(weight_bytes),
          static_cast<double>(stack.model->info().parameters) / 1e6, stack.ops->isa(), stack.pool->size(), row.test(),
          mean, deviation, row.roofline_rate, 100 * mean / row.roofline_rate)
          .c_str(),
      stdout);
  std::fflush(stdout);
}

/// The rows with llama-bench's names where it has them, and what the roofline is made of.
std::string rows_json(const EngineStack& stack, const std::string& model, double weight_bytes, const Roofline& roofline,
                      const std::vector<LatencyRow>& rows) {
  nlohmann::ordered_json out = nlohmann::ordered_json::array();
  for (const LatencyRow& row : rows) {
    std::vector<double> ns = row.seconds;
    for (double& v : ns) v *= 1e9;
    const auto [mean_ns, deviation_ns] = mean_and_deviation(ns);
    const auto [mean_ts, deviation_ts] = mean_and_deviation(row.rates());
    const std::string kv = stack.kv_formats.name();
    out.push_back({{"build_number", SLUICE_VERSION},
                   {"backends", stack.ops->isa()},
                   {"model_filename", model},
                   {"model_type", stack.model->info().arch},
                   {"model_size", weight_bytes},
                   {"model_n_params", stack.model->info().parameters},
                   {"n_batch", stack.options.max_num_batched_tokens},
                   {"n_threads", stack.pool->size()},
                   {"type_k", kv},
                   {"type_v", kv},
                   {"n_prompt", row.n_prompt},
                   {"n_gen", row.n_gen},
                   {"n_depth", row.n_depth},
                   {"n_parallel", row.n_parallel},
                   {"avg_ns", mean_ns},
                   {"stddev_ns", deviation_ns},
                   {"avg_ts", mean_ts},
                   {"stddev_ts", deviation_ts},
                   {"samples_ns", ns},
                   {"samples_ts", row.rates()},
                   {"step_weight_bytes", row.demand.weight_bytes},
                   {"step_kv_bytes", row.demand.kv_bytes},
                   {"step_operations", row.demand.operations},
                   {"peak", row.demand.peak == &Roofline::int8_gops     ? "int8_gops"
                            : row.demand.peak == &Roofline::bf16_gflops ? "bf16_gflops"
                                                                        : "f32_gflops"},
                   {"memory_gbps", roofline.memory_gbps},
                   {"peak_gops", roofline.*row.demand.peak},
                   {"roofline_ts", row.roofline_rate}});
  }
  return out.dump(2) + "\n";
}

/// Whether every test stays within the context, and its sequences within the KV cache.
Status check_room(const EngineOptions& options, const LatencyFlags& flags, const std::vector<int>& depths,
                  const std::vector<int>& batches) {
  const int64_t block = options.block_tokens, capacity = options.kv_blocks * block;
  const auto check = [&](const char* flag, int64_t tokens, int depth, int sequences) -> Status {
    const int64_t all = depth + tokens;
    if (all > options.max_model_len)
      return invalid_argument(fmt::format("{} {} after --n-depth {} makes {} tokens; the context holds {} "
                                          "(--max-model-len, at most the model's)",
                                          flag, tokens, depth, all, options.max_model_len),
                              flag);
    if (sequences * ((all + block - 1) / block * block) > capacity)
      return invalid_argument(
          fmt::format("{} sequences (--batch) of {} tokens need more than the KV cache's {} (--kv-cache-memory-bytes)",
                      sequences, all, capacity),
          "--batch");
    return {};
  };
  for (const int depth : depths) {
    if (flags.prompt > 0) SLUICE_TRY_STATUS(check("--n-prompt", flags.prompt, depth, 1));
    for (const int batch : batches)
      if (flags.generate > 0) SLUICE_TRY_STATUS(check("--n-gen", flags.generate, depth, batch));
  }
  return {};
}

}  // namespace

Result<int> bench_latency(const std::vector<std::string>& args) {
  EngineFlags engine;
  LatencyFlags flags;
  OptionSet options("sluice bench latency",
                    "Prefill (pp) and decode (tg) speed in tokens per second; tg at batch B counts all B sequences.\n"
                    "The roofline column is the rate at which memory or arithmetic binds, measured in the same run.");
  options.add("-p,--n-prompt", flags.prompt, "prompt tokens of pp; 0: skip");
  options.add("-n,--n-gen", flags.generate, "tokens of tg; 0: skip");
  options.add("-d,--n-depth", flags.depths, "tokens already in the KV cache, a list");
  options.add("-b,--batch", flags.batches, "sequences that decode together, a list");
  options.add("-r,--repetitions", flags.repetitions, "runs of each test");
  options.add("--json", flags.json, "write the rows to this file too, named as llama-bench names them");
  options.add("--breakdown", flags.breakdown,
              "after the rows, where the time of each test's steps goes, in one more run of it");
  engine.declare(options);
  engine.engine.max_num_seqs = 64;
  SLUICE_TRY(const auto outcome, options.parse(args));
  if (outcome == OptionSet::Outcome::done) return 0;
  if (flags.repetitions < 1)
    return invalid_argument(fmt::format("--repetitions is {}; it must be at least 1", flags.repetitions),
                            "--repetitions");
  if (flags.prompt < 0 || flags.generate < 0 || flags.prompt + flags.generate == 0)
    return invalid_argument(
        fmt::format("--n-prompt is {} and --n-gen {}; both must be at least 0, and one of them above", flags.prompt,
                    flags.generate),
        flags.prompt < 0 ? "--n-prompt" : "--n-gen");
  if (engine.engine.kv_retention != "none")
    return invalid_argument("--kv-retention has no use here: these tests make their own plans, at depths that nobody has computed; 'sluice bench throughput' goes through the scheduler",
                            "--kv-retention");
  if (options.given("swa-full-tokens-ratio") && engine.swa_full_tokens_ratio < 1)
    return invalid_argument("--swa-full-tokens-ratio has no use here: these tests make their own plans, in whole blocks; 'sluice bench throughput' goes through the scheduler",
                            "--swa-full-tokens-ratio");
  engine.swa_full_tokens_ratio = 1;
  SLUICE_TRY(const std::vector<int> depths, parse_numbers(flags.depths, "--n-depth", 0));
  SLUICE_TRY(const std::vector<int> batches, parse_numbers(flags.batches, "--batch", 1));
  SLUICE_TRY(const auto stack, open_engine_stack(engine));
  if (stack->options.seals_blocks && std::ranges::any_of(depths, [](int depth) { return depth > 0; }))
    return invalid_argument("--n-depth has no use with a --kv-cache-dtype that encodes whole blocks: these tests go on from the middle of blocks that are full; "
                            "'sluice bench attention' measures such formats at any depth", "--n-depth");
  SLUICE_TRY_STATUS(check_room(stack->options, flags, depths, batches));
  SLUICE_TRY_STATUS(stack->load());
  for (const std::string& note : stack->notes) std::fputs(("# " + note + "\n").c_str(), stdout);
  const Roofline roofline = measure_roofline(*stack->table, *stack->pool);
  std::fputs(("# " + to_text(roofline)).c_str(), stdout);
  double weight_bytes = 0;
  for (const TensorInfo& t : stack->source->tensors()) weight_bytes += static_cast<double>(t.size_bytes);
  const double kv_bytes = static_cast<double>(stack->kv_token_bytes());
  std::fputs(
      "| model            |       size |     params | backend  | threads |               test |    tokens/s         |  "
      "roofline | of it    |\n"
      "|------------------|-----------:|-----------:|----------|--------:|-------------------:|--------------------:|--"
      "--------:|---------:|\n",
      stdout);
  Bench bench(*stack);
  std::vector<LatencyRow> rows;
  std::string breakdowns;
  /// One more run, metered.
  const auto break_down = [&](const LatencyRow& row, const auto& run) {
    if (!flags.breakdown) return;
    const StepMeter meter(*stack);
    const double seconds = run();
    const StepTimes times = meter.times();
    breakdowns += breakdown_text(row.test(), meter.ops(), {{"sampling", static_cast<double>(times.sample) / 1e9}},
                                 seconds, static_cast<double>(times.steps), roofline);
  };
  const auto finish = [&](LatencyRow& row, double step_rows, double sequences, double context, double logit_rows) {
    row.demand = step_demand(stack->model->info(), *stack->source, kv_bytes, step_rows, sequences, context, logit_rows);
    row.roofline_rate = step_rows / row.demand.seconds(roofline);
    print_row(*stack, row, weight_bytes);
    rows.push_back(row);
  };
  for (const int depth : depths) {
    if (flags.prompt > 0) {
      bench.prepare(1, depth, depth + flags.prompt);
      LatencyRow row{.n_prompt = flags.prompt, .n_depth = depth};
      bench.prefill(depth, flags.prompt);
      for (int r = 0; r < flags.repetitions; ++r) row.seconds.push_back(bench.prefill(depth, flags.prompt));
      finish(row, flags.prompt, 1, depth + flags.prompt / 2.0, 1);
      break_down(row, [&] { return bench.prefill(depth, flags.prompt); });
    }
    for (const int batch : batches) {
      if (flags.generate <= 0) continue;
      bench.prepare(batch, depth, depth + flags.generate);
      LatencyRow row{.n_gen = flags.generate, .n_depth = depth, .n_parallel = batch};
      bench.step(depth, 1, batch, true);
      const auto decode = [&] {
        double seconds = 0;
        for (int i = 0; i < flags.generate; ++i) seconds += bench.step(depth + i, 1, batch, true);
        return seconds;
      };
      for (int r = 0; r < flags.repetitions; ++r) row.seconds.push_back(decode());
      finish(row, batch, batch, depth + flags.generate / 2.0, batch);
      break_down(row, decode);
    }
  }
  std::fputs(breakdowns.c_str(), stdout);
  if (!flags.json.empty())
    SLUICE_TRY_STATUS(write_text_file(flags.json, rows_json(*stack, engine.model, weight_bytes, roofline, rows)));
  return 0;
}

}  // namespace sluice
