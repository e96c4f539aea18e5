#include "lab/long_context.h"
#include "model/quality.h"
#include "quant/kv/kv_format.h"

namespace sluice::lab {
namespace {

Result<Finding> run(const Setting& setting) {
  SLUICE_TRY(const auto bench, Bench::open(setting));
  Finding f;
  auto kit = LongContextKit::make(setting, *bench);
  if (!kit.ok()) {
    f.absent(fmt::format("{}, so questions of the kit's form mean nothing to it (0 asked)", kit.error().message));
    return f;
  }
  const int length = std::min(bench->max_positions() - 48, 2000), count = setting.quick ? 24 : 200;
  std::vector<Question> questions = kit->questions(length, 20, count / 2, 1);
  for (Question& q : kit->questions(length / 2, 20, count - count / 2, 2)) questions.push_back(std::move(q));
  SLUICE_TRY(const int full, answered(*bench, questions, kKvF32));
  if (full * 2 < count) {
    f.absent(fmt::format("with its full cache the model answers {} of {} questions", full, count));
    return f;
  }
  const std::vector<TokenId> text = kit->text(length);
  SLUICE_TRY(const auto exact, text_nll(*bench, text, kKvF32));
  const auto bytes = [&](const KvFormat& kv) { return kv_token_bytes(bench->model(), kv); };
  for (const KvFormat* kv : kv_formats()) {
    if (kv == &kKvF32) continue;
    SLUICE_TRY(const int right, answered(*bench, questions, *kv));
    SLUICE_TRY(const auto nll, text_nll(*bench, text, *kv));
    const PairedNll loss = compare_nll(exact, nll);
    f.count(fmt::format("{} ({} bytes a token), answered right", kv->name, bytes(*kv)), full, right);
    f.count(fmt::format("{}, NLL in nats", kv->name), loss.mean, loss.mean + loss.difference);
    if (kv->elem_bits >= 8)
      f.must(fmt::format("{} answers what the full cache does, less one in twelve", kv->name), right >= full - count / 12, fmt::format("{} of {}, {}", right, count, full));
  }
  // Of a format whose answers are checked above; those of int4 are only counted.
  f.effect = {fmt::format("KV bytes a token, f16 to int8, over {} tokens", length), "", bytes(kKvF16), bytes(kKvInt8), Better::lower, false};
  f.count("KV bytes a token, f16 to int4 (its answers are counted, not asserted)", bytes(kKvF16), bytes(kKvInt4));
  return f;
}

}  // namespace

extern const Experiment kLongContextFormats;
const Experiment kLongContextFormats = {
    .name = "long-context-formats",
    .ids = "W7",
    .group = "kv",
    .technique = "Long-context kit: retrieval among many keys and text, for every KV format",
    .paper = "after Mohtashami and Jaggi, Landmark Attention (passkey), 2023",
    .file = "src/lab/long_context.h",
    .flag = "`--kv-cache-dtype`",
    .test = "`tests/fidelity/tiny_model_test.cpp` (the same questions against transformers)",
    .baseline = "float32 KV",
    .workload = "24 questions about one of 20 keys in 1,000 and 2,000 tokens, and 2,000 tokens of prose",
    .holds = "8-bit and wider formats answer what the full cache answers",
    .run = run};

}  // namespace sluice::lab
