#include "lab/long_context.h"

#include <algorithm>
#include <numeric>

#include "base/mapped_file.h"
#include "lab/workloads.h"
#include "text/tokenizer/load_tokenizer.h"
#include "weights/gguf_model_keys.h"

namespace sluice::lab {
namespace {

/// 0 to n - 1 in any order.
std::vector<size_t> shuffled(size_t n, Rng& rng) {
  std::vector<size_t> out(n);
  std::iota(out.begin(), out.end(), size_t{0});
  for (size_t i = n - 1; i > 0; --i) std::swap(out[i], out[rng.below(i + 1)]);
  return out;
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> tokenizer_of(const std::string& model) {
  if (is_directory(model)) return load_tokenizer_directory(model);
  SLUICE_TRY(const auto source, open_tensor_source(model));
  SLUICE_TRY(const GgufVocab vocab, read_gguf_vocab(source->metadata()));
  return make_gguf_tokenizer(vocab);
}

Result<FactTokens> FactTokens::of(const Tokenizer& tokenizer) {
  const auto single = [&](const std::string& text, const std::string& last) -> Result<TokenId> {
    const auto ids = tokenizer.encode(text, {.add_special = false});
    if (ids.empty() || tokenizer.decode(std::span(ids).last(1)) != last)
      return unsupported(fmt::format("'{}' at the end of '{}' is no single token of this model", last, text));
    return ids.back();
  };
  FactTokens facts;
  SLUICE_TRY(facts.key, single("The key", "key"));
  SLUICE_TRY(facts.end, single("The key;", ";"));
  for (int n = 0; n < 100; ++n) {
    SLUICE_TRY(const TokenId number, single(fmt::format("key {:02}", n), fmt::format("{:02}", n)));
    facts.numbers.push_back(number);
  }
  facts.start = tokenizer.encode("", {.add_special = true});
  return facts;
}

// --- LongContextKit ----------------------------------------------------------------------------------------------

Result<LongContextKit> LongContextKit::make(const Setting& setting, Bench& bench) {
  SLUICE_TRY(const auto tokenizer, tokenizer_of(setting.model));
  LongContextKit kit;
  SLUICE_TRY(kit.facts_, FactTokens::of(*tokenizer));
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
      if (t != kit.facts_.key && std::ranges::find(kit.facts_.start, t) == kit.facts_.start.end()) kit.prose_.push_back(t);
  return kit;
}

std::vector<Question> LongContextKit::questions(int length, int pairs, int count, uint64_t seed, std::span<const int> at_places) const {
  Rng rng(seed);
  std::vector<Question> out;
  for (int q = 0; q < count; ++q) {
    const std::vector<size_t> keys = shuffled(100, rng);
    const int gaps = length - static_cast<int>(facts_.start.size()) - 2 - 4 * (at_places.empty() ? pairs : pairs - 1);
    CHECK(gaps >= 0, "{} tokens have no room for {} pairs", length, pairs);
    std::vector<int> cuts;
    for (int i = 0; i < pairs; ++i) cuts.push_back(static_cast<int>(rng.below(static_cast<uint64_t>(gaps) + 1)));
    std::ranges::sort(cuts);
    const size_t first = rng.below(prose_.size());
    Question question;
    question.prompt = facts_.start;
    const int asked = static_cast<int>(rng.below(static_cast<uint64_t>(pairs)));
    int at = 0;
    const auto prose_to = [&](int end) {
      for (; at < end; ++at) question.prompt.push_back(prose_[(first + static_cast<size_t>(at)) % prose_.size()]);
    };
    for (int i = 0; i < pairs; ++i) {
      prose_to(cuts[static_cast<size_t>(i)]);
      const TokenId value = facts_.numbers[rng.below(100)];
      if (i == asked) question.answer = value;
      if (i == asked && !at_places.empty()) continue;
      question.prompt.insert(question.prompt.end(), {facts_.key, facts_.numbers[keys[static_cast<size_t>(i)]], value, facts_.end});
    }
    prose_to(gaps);
    question.prompt.insert(question.prompt.end(), {facts_.key, facts_.numbers[keys[static_cast<size_t>(asked)]]});
    for (const int place : at_places) {
      const TokenId pair[] = {facts_.key, question.prompt.back(), question.answer, facts_.end};
      CHECK(place + 4 <= length - 2, "a pair at {} of {} tokens", place, length);
      std::ranges::copy(pair, question.prompt.begin() + place);
    }
    out.push_back(std::move(question));
  }
  return out;
}

// --- LongDocuments -----------------------------------------------------------------------------------------------

Result<LongDocuments> LongDocuments::make(const Setting& setting, FactTokens facts) {
  SLUICE_TRY(const auto tokenizer, tokenizer_of(setting.model));
  const auto text = read_file(setting.text);
  if (!text.ok()) return invalid_argument(fmt::format("{}; --text names a long text", text.error().message), "--text");
  LongDocuments out;
  out.text_ = tokenizer->encode(*text, {.add_special = false});
  std::erase(out.text_, facts.key);  // which is for facts alone
  if (out.text_.size() < 1000) return invalid_argument(fmt::format("{} holds {} tokens; at least 1,000 are needed", setting.text, out.text_.size()), "--text");
  out.facts_ = std::move(facts);
  return out;
}

LongDocument LongDocuments::told(std::span<const TokenId> filler, const std::vector<size_t>& places, size_t keys, size_t asked, Rng& rng) const {
  const std::vector<size_t> names = shuffled(100, rng), order = shuffled(keys, rng);
  std::vector<TokenId> values;
  for (size_t i = 0; i < keys; ++i) values.push_back(facts_.numbers[rng.below(100)]);
  LongDocument out{facts_.start, {}, {}};
  const auto tell = [&](size_t i) { out.tokens.insert(out.tokens.end(), {facts_.key, facts_.numbers[names[i]], values[i], facts_.end}); };
  size_t at = 0;
  const auto fill_to = [&](size_t end) {
    for (bool follows = true; at < end; ++at, follows = false) {
      if (!follows) out.prose.push_back(static_cast<int>(out.tokens.size()));
      out.tokens.push_back(filler[at]);
    }
  };
  for (size_t i = 0; i < places.size(); ++i) {
    fill_to(places[i]);
    tell(i % keys);
  }
  fill_to(filler.size());
  for (size_t i = 0; i < asked; ++i) {
    tell(order[i]);
    out.answers.push_back(static_cast<int>(out.tokens.size()) - 2);
  }
  return out;
}

size_t LongDocuments::filler_tokens(int length, size_t told, size_t asked) const {
  CHECK(length >= kLeast, "a document of {} tokens has no room for the facts", length);
  return static_cast<size_t>(length) - facts_.start.size() - 4 * (told + asked);
}

std::vector<TokenId> LongDocuments::run_of_text(size_t tokens, Rng& rng) const {
  std::vector<TokenId> out;
  for (size_t at = rng.below(text_.size()); out.size() < tokens; ++at) out.push_back(text_[at % text_.size()]);
  return out;
}

LongDocument LongDocuments::passkey(int length, uint64_t seed) const {
  Rng rng(seed);
  const std::vector<TokenId> words = run_of_text(24, rng);
  std::vector<TokenId> filler;
  while (filler.size() < filler_tokens(length, 1, 1)) filler.push_back(words[filler.size() % words.size()]);
  return told(filler, {rng.below(filler.size())}, 1, 1, rng);
}

LongDocument LongDocuments::needles(int length, uint64_t seed) const {
  constexpr size_t kNeedles = 10;
  Rng rng(seed);
  const std::vector<TokenId> filler = run_of_text(filler_tokens(length, kNeedles, kNeedles), rng);
  std::vector<size_t> places;
  for (size_t i = 0; i < kNeedles; ++i) places.push_back((2 * i + 1) * filler.size() / (2 * kNeedles));
  return told(filler, places, kNeedles, kNeedles, rng);
}

LongDocument LongDocuments::passages(int length, uint64_t seed) const {
  constexpr size_t kPassages = 100, kAsked = 20;
  Rng rng(seed);
  const size_t size = filler_tokens(length, kPassages, kAsked);
  std::vector<TokenId> filler;
  std::vector<size_t> places;
  for (size_t i = 0; i < kPassages; ++i) {
    places.push_back(filler.size());
    const std::vector<TokenId> passage = run_of_text((i + 1) * size / kPassages - filler.size(), rng);
    filler.insert(filler.end(), passage.begin(), passage.end());
  }
  return told(filler, places, kPassages, kAsked, rng);
}

LongDocument LongDocuments::recurring(int length, uint64_t seed) const {
  constexpr size_t kKeys = 10, kTold = 80;
  Rng rng(seed);
  const std::vector<TokenId> filler = run_of_text(filler_tokens(length, kTold, kKeys), rng);
  std::vector<size_t> places;
  for (size_t i = 0; i < kTold; ++i) places.push_back(i * filler.size() * 3 / 5 / kTold);
  return told(filler, places, kKeys, kKeys, rng);
}

}  // namespace sluice::lab
