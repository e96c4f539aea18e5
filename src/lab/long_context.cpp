#include "lab/long_context.h"

#include <algorithm>
#include <numeric>

#include "base/mapped_file.h"
#include "lab/workloads.h"
#include "model/quality.h"
#include "text/tokenizer/load_tokenizer.h"
#include "weights/gguf_model_keys.h"

namespace sluice::lab {
namespace {

Result<std::unique_ptr<Tokenizer>> tokenizer_of(const std::string& model) {
  if (is_directory(model)) return load_tokenizer_directory(model);
  SLUICE_TRY(const auto source, open_tensor_source(model));
  SLUICE_TRY(const GgufVocab vocab, read_gguf_vocab(source->metadata()));
  return make_gguf_tokenizer(vocab);
}

}  // namespace

Result<LongContextKit> LongContextKit::make(const Setting& setting, Bench& bench) {
  SLUICE_TRY(const auto tokenizer, tokenizer_of(setting.model));
  LongContextKit kit;
  const auto single = [&](const std::string& text, const std::string& last) -> Result<TokenId> {
    const auto ids = tokenizer->encode(text, {.add_special = false});
    if (ids.empty() || tokenizer->decode(std::span(ids).last(1)) != last)
      return unsupported(fmt::format("'{}' at the end of '{}' is no single token of this model", last, text));
    return ids.back();
  };
  SLUICE_TRY(kit.key_, single("The key", "key"));
  SLUICE_TRY(kit.end_, single("The key;", ";"));
  for (int n = 0; n < 100; ++n) {
    SLUICE_TRY(const TokenId number, single(fmt::format("key {:02}", n), fmt::format("{:02}", n)));
    kit.numbers_.push_back(number);
  }
  kit.start_ = tokenizer->encode("", {.add_special = true});
  // Several texts, so that none runs into repeating itself.
  Load load;
  const int length = std::min(bench.max_positions() - 32, 512);
  for (int i = 0; i < 6; ++i) {
    Request r = forced_request(tokenizer->encode(i % 2 == 0 ? "The prince" : "She said that", {.add_special = true}), length, static_cast<uint64_t>(i));
    r.sampling.temperature = 0.8f;
    load.requests.push_back(std::move(r));
  }
  SLUICE_TRY(const Run run, bench.run(engine_options(length + 32, 8 * (length + 32)), load));
  for (const auto& [request, output] : run.outputs)
    for (const TokenId t : output.tokens)
      if (t != kit.key_ && std::ranges::find(kit.start_, t) == kit.start_.end()) kit.prose_.push_back(t);
  return kit;
}

std::vector<TokenId> LongContextKit::text(int length) const {
  std::vector<TokenId> tokens = start_;
  for (size_t i = 0; static_cast<int>(tokens.size()) < length; ++i) tokens.push_back(prose_[i % prose_.size()]);
  return tokens;
}

std::vector<Question> LongContextKit::questions(int length, int pairs, int count, uint64_t seed, std::span<const int> at_places) const {
  Rng rng(seed);
  std::vector<Question> out;
  for (int q = 0; q < count; ++q) {
    std::vector<int> keys(100);
    std::iota(keys.begin(), keys.end(), 0);
    for (size_t i = 99; i > 0; --i) std::swap(keys[i], keys[rng.below(i + 1)]);
    const int gaps = length - static_cast<int>(start_.size()) - 2 - 4 * (at_places.empty() ? pairs : pairs - 1);
    CHECK(gaps >= 0, "{} tokens have no room for {} pairs", length, pairs);
    std::vector<int> cuts;
    for (int i = 0; i < pairs; ++i) cuts.push_back(static_cast<int>(rng.below(static_cast<uint64_t>(gaps) + 1)));
    std::ranges::sort(cuts);
    const size_t first = rng.below(prose_.size());
    Question question;
    question.prompt = start_;
    const int asked = static_cast<int>(rng.below(static_cast<uint64_t>(pairs)));
    int at = 0;
    const auto prose_to = [&](int end) {
      for (; at < end; ++at) question.prompt.push_back(prose_[(first + static_cast<size_t>(at)) % prose_.size()]);
    };
    for (int i = 0; i < pairs; ++i) {
      prose_to(cuts[static_cast<size_t>(i)]);
      const TokenId value = numbers_[rng.below(100)];
      if (i == asked) question.answer = value;
      if (i == asked && !at_places.empty()) continue;
      question.prompt.insert(question.prompt.end(), {key_, numbers_[static_cast<size_t>(keys[static_cast<size_t>(i)])], value, end_});
    }
    prose_to(gaps);
    question.prompt.insert(question.prompt.end(), {key_, numbers_[static_cast<size_t>(keys[static_cast<size_t>(asked)])]});
    for (const int place : at_places) {
      const TokenId pair[] = {key_, question.prompt.back(), question.answer, end_};
      CHECK(place + 4 <= length - 2, "a pair at {} of {} tokens", place, length);
      std::ranges::copy(pair, question.prompt.begin() + place);
    }
    out.push_back(std::move(question));
  }
  return out;
}

Result<int> answered(Bench& bench, const std::vector<Question>& questions, const KvFormat& kv) {
  Load load;
  size_t longest = 0;
  for (const Question& q : questions) {
    load.requests.push_back(forced_request(q.prompt, 1));
    longest = std::max(longest, q.prompt.size());
  }
  EngineOptions options = engine_options(static_cast<int>(longest) + 1, 4 * (static_cast<int>(longest) + 16));
  options.prefix_cache = "none";
  SLUICE_TRY(const Run run, bench.run(options, load, kv));
  int right = 0;
  for (size_t i = 0; i < questions.size(); ++i) right += run.outputs.at({i, 0}).tokens.at(0) == questions[i].answer;
  return right;
}

Result<std::vector<double>> text_nll(Bench& bench, const std::vector<TokenId>& text, const KvFormat& kv) {
  const int block = kv.fitting_block(16);
  SLUICE_TRY(const KvArena arena, KvArena::allocate(bench.model().kv(), kv, (static_cast<int>(text.size()) + block - 1) / block, block));
  return token_nll(bench.model(), arena.layers(), text);
}

}  // namespace sluice::lab
