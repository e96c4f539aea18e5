// sluice bench latency: how fast one model prefills and decodes here, with the roofline beside each figure.

#include <cmath>
#include <cstdio>

#include "apps/bench/bench.h"
#include "apps/bench/roofline.h"
#include "apps/engine_stack.h"
#include "apps/progress.h"
#include "base/rng.h"

namespace sluice {
namespace {

struct Flags {
  int prompt = 512, generate = 128, repetitions = 5;
  std::vector<std::string> depths{"0"}, batches{"1"};
};

struct Row {
  std::string test;
  std::vector<double> rates;
  double roofline_rate = 0;
};

/// Runs plans by hand: sequence s owns blocks [s * per_seq, (s + 1) * per_seq).
class Bench {
 public:
  Bench(EngineStack& stack, int sequences, int max_tokens) : stack_(stack) {
    const int block_tokens = stack.options.block_tokens, per_seq = (max_tokens + block_tokens - 1) / block_tokens;
    Rng rng(1);
    request_.sampling.temperature = 0;
    for (int i = 0; i < max_tokens; ++i)
      tokens_.push_back(static_cast<TokenId>(rng.below(static_cast<uint64_t>(stack.model->info().vocab_size))));
    for (int s = 0; s < sequences; ++s) {
      blocks_.emplace_back();
      for (int b = 0; b < per_seq; ++b) blocks_.back().push_back(static_cast<BlockId>(s * per_seq + b));
    }
  }

  /// Seconds of one step: `n` tokens at position `first` in each of `sequences`.
  double step(int first, int n, int sequences, bool samples) {
    StepPlan plan;
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
  std::vector<TokenId> tokens_;
  std::vector<std::vector<BlockId>> blocks_;
};

Result<std::vector<int>> numbers(const std::vector<std::string>& texts, const char* flag, int low) {
  std::vector<int> out;
  for (const std::string& text : texts) {
    const int value = std::atoi(text.c_str());
    if (value < low || std::to_string(value) != text)
      return invalid_argument(fmt::format("{} '{}': numbers of at least {} are wanted", flag, text, low), flag);
    out.push_back(value);
  }
  return out;
}

void print_row(const EngineStack& stack, const Row& row, double weight_bytes) {
  double mean = 0, deviation = 0;
  for (const double r : row.rates) mean += r / static_cast<double>(row.rates.size());
  for (const double r : row.rates) deviation += (r - mean) * (r - mean) / static_cast<double>(row.rates.size());
  std::fputs(
      fmt::format(
          "| {:<16} | {:>10} | {:>8.2f} M | {:>8} | {:>7} | {:>18} | {:>9.2f} ± {:<7.2f} | {:>9.1f} | {:>6.1f} % |\n",
          stack.model->info().arch, format_bytes(weight_bytes),
          static_cast<double>(stack.model->info().parameters) / 1e6, stack.ops->isa(), stack.pool->size(), row.test,
          mean, std::sqrt(deviation), row.roofline_rate, 100 * mean / row.roofline_rate)
          .c_str(),
      stdout);
  std::fflush(stdout);
}

}  // namespace

Result<int> bench_latency(const std::vector<std::string>& args) {
  EngineFlags engine;
  Flags flags;
  OptionSet options("sluice bench latency",
                    "Prefill (pp) and decode (tg) speed in tokens per second; tg at batch B counts all B sequences.\n"
                    "The roofline column is the rate at which memory or arithmetic binds, measured in the same run.");
  options.add("-p,--n-prompt", flags.prompt, "prompt tokens of pp; 0: skip");
  options.add("-n,--n-gen", flags.generate, "tokens of tg; 0: skip");
  options.add("-d,--n-depth", flags.depths, "tokens already in the KV cache, a list");
  options.add("-b,--batch", flags.batches, "sequences that decode together, a list");
  options.add("-r,--repetitions", flags.repetitions, "runs of each test");
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
  SLUICE_TRY(const std::vector<int> depths, numbers(flags.depths, "--n-depth", 0));
  SLUICE_TRY(const std::vector<int> batches, numbers(flags.batches, "--batch", 1));
  SLUICE_TRY(const auto stack, load_engine_stack(engine));
  for (const std::string& note : stack->notes) std::fputs(("# " + note + "\n").c_str(), stdout);
  SLUICE_TRY(const OpTable* table, select_op_table(engine.isa));
  const Roofline roofline = measure_roofline(*table, *stack->pool);
  std::fputs(("# " + to_text(roofline)).c_str(), stdout);
  double weight_bytes = 0;
  for (const TensorInfo& t : stack->source->tensors()) weight_bytes += static_cast<double>(t.size_bytes);
  const double kv_bytes =
      static_cast<double>(stack->model->kv().token_bytes(static_cast<size_t>(dtype_info(stack->kv_dtype).block_bytes)));
  std::fputs(
      "| model            |       size |     params | backend  | threads |               test |    tokens/s         |  "
      "roofline | of it    |\n"
      "|------------------|-----------:|-----------:|----------|--------:|-------------------:|--------------------:|--"
      "--------:|---------:|\n",
      stdout);
  const int64_t capacity = int64_t{stack->options.kv_blocks} * stack->options.block_tokens;
  const auto check = [&](int sequences, int tokens) -> Status {
    const int padded =
        (tokens + stack->options.block_tokens - 1) / stack->options.block_tokens * stack->options.block_tokens;
    if (int64_t{sequences} * padded <= capacity) return {};
    return invalid_argument(
        fmt::format("{} sequences of {} tokens need more than the KV cache's {} tokens (--kv-cache-memory-bytes)",
                    sequences, tokens, capacity));
  };
  for (const int depth : depths) {
    const std::string at = depth > 0 ? fmt::format(" @ d{}", depth) : "";
    if (flags.prompt > 0) {
      SLUICE_TRY_STATUS(check(1, depth + flags.prompt));
      Bench bench(*stack, 1, depth + flags.prompt);
      Row row{fmt::format("pp{}{}", flags.prompt, at), {}, 0};
      bench.prefill(depth, flags.prompt);
      for (int r = 0; r < flags.repetitions; ++r)
        row.rates.push_back(flags.prompt / bench.prefill(depth, flags.prompt));
      const StepDemand demand =
          step_demand(stack->model->info(), *stack->source, kv_bytes, flags.prompt, 1, depth + flags.prompt / 2.0, 1);
      row.roofline_rate = flags.prompt / demand.seconds(roofline);
      print_row(*stack, row, weight_bytes);
    }
    for (const int batch : batches) {
      if (flags.generate <= 0) continue;
      SLUICE_TRY_STATUS(check(batch, depth + flags.generate));
      Bench bench(*stack, batch, depth + flags.generate);
      Row row{fmt::format("tg{}{}{}", flags.generate, batch > 1 ? fmt::format(" b{}", batch) : "", at), {}, 0};
      bench.step(depth, 1, batch, true);
      for (int r = 0; r < flags.repetitions; ++r) {
        double seconds = 0;
        for (int i = 0; i < flags.generate; ++i) seconds += bench.step(depth + i, 1, batch, true);
        row.rates.push_back(batch * flags.generate / seconds);
      }
      const StepDemand demand = step_demand(stack->model->info(), *stack->source, kv_bytes, batch, batch,
                                            depth + flags.generate / 2.0, batch);
      row.roofline_rate = batch / demand.seconds(roofline);
      print_row(*stack, row, weight_bytes);
    }
  }
  return 0;
}

}  // namespace sluice
