// sluice bench quality: what a model's arithmetic costs in quality. The text's tokens are predicted twice, as the model
// is served and with its weights decoded to float32, multiplied in float32 and with float32 KV; the difference of the
// two negative log-likelihoods is paired by token. A third pass, as served but with float32 KV, says what the KV format
// costs alone.

#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "apps/bench/bench.h"
#include "apps/engine_stack.h"
#include "apps/model_text.h"
#include "apps/progress.h"
#include "apps/text_file.h"
#include "base/mapped_file.h"
#include "exec/kv_arena.h"
#include "model/quality.h"
#include "weights/decoded_source.h"

namespace sluice {
namespace {

using Windows = std::vector<std::vector<TokenId>>;

/// The file's tokens in runs of at most `context`, each with what the tokenizer puts before a text.
Result<Windows> read_windows(const std::string& path, const Tokenizer& tokenizer, int context, int max_tokens) {
  SLUICE_TRY(const auto file, MappedFile::open(path));
  const std::string text(reinterpret_cast<const char*>(file->bytes().data()), file->bytes().size());
  const std::vector<TokenId> start = tokenizer.encode("", {.add_special = true}),
                             tokens = tokenizer.encode(text, {.add_special = false});
  const size_t wanted = max_tokens > 0 ? std::min(tokens.size(), static_cast<size_t>(max_tokens)) : tokens.size();
  Windows windows;
  for (size_t at = 0; at + 1 < wanted;) {
    std::vector<TokenId> window = start;
    const size_t n =
        std::min(wanted - at, static_cast<size_t>(context) - std::min(start.size(), static_cast<size_t>(context) - 2));
    window.insert(window.end(), tokens.begin() + static_cast<int64_t>(at),
                  tokens.begin() + static_cast<int64_t>(at + n));
    windows.push_back(std::move(window));
    at += n;
  }
  if (windows.empty())
    return invalid_argument(fmt::format("{} holds {} tokens; at least 2 are needed", path, tokens.size()), "--text");
  return windows;
}

Result<std::vector<double>> predict(Model& model, const KvFormats& kv_formats, const Windows& windows, int context,
                                    int block_tokens, const char* what) {
  SLUICE_TRY(const KvArena kv, KvArena::allocate(model.kv(), kv_formats, (context + block_tokens - 1) / block_tokens, block_tokens));
  std::vector<double> nll;
  Progress progress(what);
  for (size_t w = 0; w < windows.size(); ++w) {
    const std::vector<double> part = token_nll(model, kv.layers(), windows[w]);
    nll.insert(nll.end(), part.begin(), part.end());
    progress.update(static_cast<double>(w + 1), static_cast<double>(windows.size()));
  }
  return nll;
}

}  // namespace

Result<int> bench_quality(const std::vector<std::string>& args) {
  EngineFlags flags;
  std::string text_path, json_path;
  int context = 512, max_tokens = 0;
  OptionSet options("sluice bench quality",
                    "Per-token negative log-likelihood of a text, as the model is served and in exact arithmetic: its "
                    "weights decoded\n"
                    "to float32, products and KV in float32. Prints the paired difference with its 95 % interval. "
                    "Needs memory for the\n"
                    "float32 weights.");
  options.add("--text", text_path, "the text, a file");
  options.add("--context", context, "tokens of one window; each starts anew");
  options.add("--max-tokens", max_tokens, "of the text; 0: all");
  options.add("--json", json_path, "write the figures to this file too");
  flags.declare(options);
  SLUICE_TRY(const auto outcome, options.parse(args));
  if (outcome == OptionSet::Outcome::done) return 0;
  if (text_path.empty()) return invalid_argument("no text given: name a file", "--text");
  if (context < 2) return invalid_argument(fmt::format("--context is {}; it must be at least 2", context), "--context");
  if (max_tokens < 0 || max_tokens == 1)
    return invalid_argument(fmt::format("--max-tokens is {}; it must be at least 2, or 0 for all", max_tokens),
                            "--max-tokens");
  SLUICE_TRY(const auto stack, open_engine_stack(flags));
  if (context > stack->options.max_model_len)
    return invalid_argument(
        fmt::format("--context is {}, but the model's context holds {}", context, stack->options.max_model_len),
        "--context");
  SLUICE_TRY(const ModelText text, load_model_text(flags.model, *stack->source, ""));
  SLUICE_TRY(const Windows windows, read_windows(text_path, *text.tokenizer, context, max_tokens));
  SLUICE_TRY_STATUS(stack->load());
  for (const std::string& note : stack->notes) std::fputs(("# " + note + "\n").c_str(), stdout);
  SLUICE_TRY(const auto served, predict(*stack->model, stack->kv_formats, windows, context, stack->tile_tokens, "as served"));
  std::vector<double> full_kv = served;
  if (stack->kv_formats.single() != &kKvF32) {
    SLUICE_TRY(full_kv, predict(*stack->model, kKvF32, windows, context, stack->tile_tokens, "as served, with float32 KV"));
  }
  stack->executor.reset();
  stack->model.reset();
  stack->weights.reset();  // makes room for the decoded ones
  SLUICE_TRY(auto original, open_tensor_source(flags.model));  // not what --repack makes of it
  SLUICE_TRY(const auto decoded, decode_source(std::move(original)));
  WeightStore weights(decoded, *stack->ops);
  SLUICE_TRY(const auto model, build_model(weights, *stack->ops));
  SLUICE_TRY(const auto exact, predict(*model, kKvF32, windows, context, stack->tile_tokens, "exact"));
  const std::string kv_name = stack->kv_formats.name();
  const PairedNll paired = compare_nll(exact, served), of_kv = compare_nll(full_kv, served);
  const auto in_words = [](const PairedNll& p) {
    return fmt::format("{:+.6f} ± {:.6f} nats per token (95 %), which is {:+.4f} % ± {:.4f} % of the mean", p.difference,
                       p.interval, 100 * p.share(), 100 * p.interval_share());
  };
  std::fputs(
      fmt::format(
          "{} tokens; exact arithmetic: {:.5f} nats per token, perplexity {:.4f}\n"
          "as served, KV in {}: {}\n"
          "of that the KV cache in {}, against f32: {}\n",
          paired.tokens, paired.mean, std::exp(paired.mean), kv_name, in_words(paired), kv_name, in_words(of_kv))
          .c_str(),
      stdout);
  if (!json_path.empty()) {
    const nlohmann::ordered_json out = {
        {"model_filename", flags.model},   {"type_k", kv_name},
        {"n_tokens", paired.tokens},       {"exact_nll", paired.mean},
        {"difference", paired.difference}, {"interval_95", paired.interval},
        {"share", paired.share()},         {"interval_95_share", paired.interval_share()},
        {"kv_difference", of_kv.difference}, {"kv_interval_95", of_kv.interval},
        {"kv_share", of_kv.share()},         {"kv_interval_95_share", of_kv.interval_share()}};
    SLUICE_TRY_STATUS(write_text_file(json_path, out.dump(2) + "\n"));
  }
  return 0;
}

}  // namespace sluice
