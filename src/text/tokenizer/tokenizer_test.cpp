// Behaviour that needs no large vocabulary: the 512 tokens of stories260K, and small vocabularies written here.

#include "text/tokenizer/tokenizer.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include <nlohmann/json.hpp>

#include "base/rng.h"
#include "text/tokenizer/detokenizer.h"
#include "text/tokenizer/load_tokenizer.h"
#include "text/tokenizer/test_files.h"
#include "text/tokenizer/utf8.h"

namespace sluice {
namespace {

using nlohmann::json;
using Ids = std::vector<TokenId>;

/// A byte-level tokenizer.json: 256 bytes, some merges, and special tokens as given.
json small_tokenizer_json() {
  json vocab = json::object();
  for (int b = 0; b < 256; ++b) vocab[bytes_to_byte_level(std::string(1, static_cast<char>(b)))] = b;
  const char* merged[] = {"he", "ll", "hell", "hello", "\u0120w", "<|", "|>", "en", "end", "<|end", "<|end|>"};
  for (const char* text : merged) vocab[text] = vocab.size();
  json document = {{"model", {{"type", "BPE"}, {"vocab", vocab}}},
                   {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}},
                   {"decoder", {{"type", "ByteLevel"}}}};
  document["model"]["merges"] = {"h e", "l l", "he ll", "hell o", "\u0120 w", "< |",
                                 "| >", "e n", "en d",  "<| end", "<|end |>"};
  document["added_tokens"] =
      json::array({{{"id", 266}, {"content", "<|end|>"}, {"special", true}},
                   {{"id", 267}, {"content", "<tool>"}, {"special", false}},
                   {{"id", 268}, {"content", "    "}, {"special", false}, {"normalized", true}}});
  document["post_processor"] = {{"type", "TemplateProcessing"},
                                {"single", {{{"SpecialToken", {{"id", "<|end|>"}}}}, {{"Sequence", {{"id", "A"}}}}}},
                                {"special_tokens", {{"<|end|>", {{"id", "<|end|>"}, {"ids", {266}}}}}}};
  return document;
}

std::unique_ptr<Tokenizer> load(const json& document, const json& config = {}) {
  const test::ModelDirectory directory;
  directory.write("tokenizer.json", document.dump());
  if (!config.is_null()) directory.write("tokenizer_config.json", config.dump());
  auto tokenizer = load_tokenizer_directory(directory.path());
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  return tokenizer.ok() ? std::move(tokenizer).value() : nullptr;
}

std::unique_ptr<Tokenizer> tok512() {
  auto tokenizer = load_tokenizer_directory(test::repository_data("tok512"));
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  return std::move(tokenizer).value();
}

TEST(Tokenizer, KnowsTheMostTextThatATokenStandsFor) {
  json document = small_tokenizer_json();
  EXPECT_EQ(load(document)->longest_token_bytes(), 7u);  // <|end|>
  document["normalizer"] = {{"type", "NFC"}};
  EXPECT_EQ(load(document)->longest_token_bytes(), 28u);
  document["normalizer"] = {{"type", "Strip"}};
  EXPECT_EQ(load(document)->longest_token_bytes(), std::nullopt);
  document["normalizer"] = nullptr;
  document["added_tokens"][1]["rstrip"] = true;
  EXPECT_EQ(load(document)->longest_token_bytes(), std::nullopt);
  document = small_tokenizer_json();
  document["pre_tokenizer"] = {{"type", "Sequence"},
                               {"pretokenizers", {{{"type", "WhitespaceSplit"}}, document["pre_tokenizer"]}}};
  EXPECT_EQ(load(document)->longest_token_bytes(), std::nullopt);
  document = small_tokenizer_json();
  document["model"]["vocab"].erase("!");
  EXPECT_EQ(load(document)->longest_token_bytes(), std::nullopt);

  // A bound that holds: no text has fewer tokens than its bytes by it.
  EXPECT_EQ(tok512()->longest_token_bytes(), std::nullopt);  // it makes one of many spaces
  const test::ModelDirectory directory;
  directory.link(test::repository_data("tok512/tokenizer.bin"), "tokenizer.bin");
  const auto loaded = load_tokenizer_directory(directory.path());
  ASSERT_TRUE(loaded.ok() && (*loaded)->longest_token_bytes());
  for (const std::string text : {"\u2581\u2581\u2581\u2581 there was a little girl", "Once upon a time, there was"})
    EXPECT_LE(text.size(), (*loaded)->encode(text).size() * *(*loaded)->longest_token_bytes());
}

TEST(Tokenizer, SpecialTokensComeFromTrustedTextOnly) {
  const auto tokenizer = load(small_tokenizer_json());
  ASSERT_TRUE(tokenizer);
  const Ids trusted = tokenizer->encode("hello<|end|>", {.add_special = false, .parse_special = true});
  EXPECT_EQ(trusted, (Ids{259, 266}));
  // The vocabulary's own merges would spell <|end|>; they may not.
  const Ids plain = tokenizer->encode("hello<|end|>", {.add_special = false});
  EXPECT_EQ(plain, (Ids{259, 265, 262}));
  EXPECT_EQ(tokenizer->decode(plain, {.skip_special = true}), "hello<|end|>");
  EXPECT_EQ(tokenizer->decode(trusted), "hello");
  EXPECT_EQ(tokenizer->decode(trusted, {.skip_special = false}), "hello<|end|>");
  // Markup that its file does not call special is control too, but is shown; added words are text.
  EXPECT_EQ(tokenizer->encode("<tool>", {.add_special = false, .parse_special = true}), (Ids{267}));
  EXPECT_EQ(tokenizer->encode("<tool>", {.add_special = false}).size(), 6u);
  EXPECT_EQ(tokenizer->decode(Ids{267}), "<tool>");
  EXPECT_EQ(tokenizer->encode("    ", {.add_special = false}), (Ids{268}));
  EXPECT_EQ(tokenizer->encode("hello"), (Ids{266, 259}));  // the post-processor's prefix
}

TEST(Tokenizer, NoUntrustedTextBecomesControl) {
  const auto small = load(small_tokenizer_json());
  const auto stories = tok512();
  ASSERT_TRUE(small);
  Rng rng(11);
  const std::string_view parts[] = {"<|end|>", "<|",     "end", "|>",    "<tool>", "<s>", "</s>",
                                    "<unk>",   "<0x0A>", " ",   "hello", "<",      ">",   "s"};
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (uint64_t i = 0, n = rng.below(12); i < n; ++i) text += parts[rng.below(std::size(parts))];
    for (const TokenId id : small->encode(text, {.add_special = false})) ASSERT_TRUE(id < 266 || id == 268) << text;
    for (const TokenId id : stories->encode(text, {.add_special = false}))
      ASSERT_FALSE(stories->is_special(id)) << text;
    ASSERT_EQ(small->decode(small->encode(text, {.add_special = false})), text);
  }
}

TEST(Tokenizer, SegmentsChangeNothingButTrust) {
  const auto small = load(small_tokenizer_json());
  const auto stories = tok512();
  Rng rng(12);
  const std::string_view words[] = {"hello",     " w",      "  ", "    ",   "he",         "llo",
                                    "Once upon", " a time", "\n", "\u00e9", "\U0001F44D", "<|"};
  for (const Tokenizer* tokenizer : {small.get(), stories.get()}) {
    for (int round = 0; round < 500; ++round) {
      std::vector<TextSegment> segments;
      std::string whole;
      for (uint64_t i = 0, n = rng.below(8); i < n; ++i) {
        const bool trusted = rng.below(2) == 0;
        std::string text(words[rng.below(std::size(words))]);
        if (trusted && rng.below(3) == 0) text += tokenizer == small.get() ? "<|end|>" : "</s>";
        whole += text;
        segments.push_back({text, trusted});
      }
      ASSERT_EQ(tokenizer->encode_segments(segments, true),
                tokenizer->encode(whole, {.add_special = true, .parse_special = true}))
          << whole;
    }
    // Two halves of a control token in different hands are none.
    const std::string end = tokenizer == small.get() ? "<|end|>" : "</s>";
    const std::vector<TextSegment> halves = {{end.substr(0, 2), true}, {end.substr(2), false}};
    ASSERT_EQ(tokenizer->encode_segments(halves, false), tokenizer->encode(end, {.add_special = false}));
  }
}

TEST(Tokenizer, StreamedTextEqualsTheOneShotDecode) {
  const auto small = load(small_tokenizer_json());
  const auto stories = tok512();
  Rng rng(13);
  for (const Tokenizer* tokenizer : {small.get(), stories.get()}) {
    for (int round = 0; round < 1000; ++round) {
      Ids ids;
      for (uint64_t i = 0, n = rng.below(30); i < n; ++i)  // some ids are no tokens
        ids.push_back(static_cast<TokenId>(rng.below(static_cast<uint64_t>(tokenizer->vocab_size()) + 3)) - 1);
      const DecodeOptions options{.skip_special = rng.below(2) == 0, .strip_leading_space = rng.below(2) == 0};
      Detokenizer detokenizer(*tokenizer, options);
      std::string streamed, bytes;
      for (const TokenId id : ids) {
        const std::string text = detokenizer.push(id);
        ASSERT_EQ(to_valid_utf8(text), text);
        streamed += text;
        if (!options.skip_special || !tokenizer->is_special(id)) bytes += tokenizer->token_bytes(id);
      }
      streamed += detokenizer.finish();
      std::string expected = to_valid_utf8(bytes);
      if (options.strip_leading_space && tokenizer == stories.get() && expected.starts_with(' ')) expected.erase(0, 1);
      ASSERT_EQ(streamed, expected);
      ASSERT_EQ(tokenizer->decode(ids, options), expected);
    }
  }
}

TEST(Tokenizer, ByteFallbackHoldsBackHalfCharacters) {
  const auto tokenizer = tok512();
  const Ids ids = tokenizer->encode("\U0001F44D!", {.add_special = false});
  Detokenizer detokenizer(*tokenizer);
  std::vector<std::string> texts;
  for (const TokenId id : ids) texts.push_back(detokenizer.push(id));
  EXPECT_EQ(texts, (std::vector<std::string>{"", "", "", "", "\U0001F44D", "!"}));  // the first is the dummy space
  EXPECT_EQ(tokenizer->decode(Ids(ids.begin(), ids.end() - 2)), "\uFFFD");
  // Continuing a text keeps the space.
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("a", {.add_special = false}), {.strip_leading_space = false}), " a");
}

TEST(Tokenizer, ManyThreadsShareOne) {
  const auto tokenizer = tok512();
  const std::string text = "Once upon a time there was a \U0001F44D and <s> " + std::string(500, 'a');
  const Ids expected = tokenizer->encode(text);
  std::vector<std::thread> threads;
  std::atomic<int> equal = 0;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 20; ++round)
        equal += tokenizer->encode(text) == expected && tokenizer->decode(expected) == text;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(equal, 80);
}

TEST(Tokenizer, InvalidUtf8IsReadAsReplacement) {
  const auto tokenizer = tok512();
  EXPECT_EQ(tokenizer->encode("a\xff\xe4\xb8z"), tokenizer->encode("a\uFFFD\uFFFDz"));
}

TEST(Tokenizer, GoldenTextOfStories260k) {
  const auto tokenizer = tok512();
  EXPECT_EQ(tokenizer->vocab_size(), 512);
  EXPECT_EQ(tokenizer->bos(), 1);
  EXPECT_EQ(tokenizer->eos(), 2);
  EXPECT_EQ(tokenizer->end_of_generation(), (Ids{2}));
  EXPECT_EQ(tokenizer->encode("Once upon a time"), (Ids{1, 403, 407, 261, 378}));
  EXPECT_EQ(tokenizer->decode(Ids{1, 403, 407, 261, 378}), "Once upon a time");
  auto vocab = read_llama2c_vocab(test::repository_data("tok512/tokenizer.bin"));
  ASSERT_TRUE(vocab.ok()) << vocab.error().message;
  auto same = make_gguf_tokenizer(*vocab);
  ASSERT_TRUE(same.ok()) << same.error().message;
  EXPECT_EQ((*same)->encode("Once upon a time"), (Ids{1, 403, 407, 261, 378}));
  for (TokenId id = 0; id < 512; ++id) EXPECT_EQ((*same)->token_bytes(id), tokenizer->token_bytes(id)) << id;
}

TEST(Tokenizer, ConfigurationBesideTheVocabulary) {
  json document = small_tokenizer_json();
  document.erase("post_processor");
  json config = {{"bos_token", {{"content", "<bos>"}}},
                 {"eos_token", "<|end|>"},
                 {"add_bos_token", true},
                 {"add_eos_token", true}};
  config["added_tokens_decoder"]["300"] = {{"content", "<bos>"}, {"special", true}};
  config["chat_template"] =
      json::array({{{"name", "default"}, {"template", "D"}}, {{"name", "tool_use"}, {"template", "T"}}});
  const auto tokenizer = load(document, config);
  ASSERT_TRUE(tokenizer);
  EXPECT_EQ(tokenizer->bos(), 300);
  EXPECT_EQ(tokenizer->vocab_size(), 301);
  EXPECT_EQ(tokenizer->encode("hello"), (Ids{300, 259, 266}));
  EXPECT_EQ(tokenizer->encode("hello", {.add_special = false}), (Ids{259}));
  EXPECT_EQ(tokenizer->token_bytes(290), "");  // a hole
  EXPECT_EQ(tokenizer->token_id("<bos>"), 300);
  EXPECT_EQ(tokenizer->token_id("hello"), 259);
  EXPECT_FALSE(tokenizer->token_id("<nothing>"));
  EXPECT_EQ(tokenizer->chat_templates().at("tool_use"), "T");
  config["add_bos_token"] = false;
  config["chat_template"] = "one";
  const auto without = load(document, config);
  EXPECT_EQ(without->encode("hello"), (Ids{259, 266}));
  EXPECT_EQ(without->chat_templates().at("default"), "one");
}

TEST(Tokenizer, EndsOfGenerationAndTemplateFiles) {
  const test::ModelDirectory directory;
  directory.write("tokenizer.json", small_tokenizer_json().dump());
  directory.write("generation_config.json", R"({"eos_token_id": [266, 3, 99999]})");
  directory.write("chat_template.jinja", "{{ messages }}");
  directory.write("chat_template.json", R"({"chat_template": "a processor's"})");
  auto tokenizer = load_tokenizer_directory(directory.path());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  EXPECT_EQ((*tokenizer)->end_of_generation(), (Ids{3, 266}));
  EXPECT_TRUE((*tokenizer)->is_end_of_generation(3));
  EXPECT_EQ((*tokenizer)->chat_templates().at("default"), "{{ messages }}");

  const test::ModelDirectory of_processor;
  of_processor.write("tokenizer.json", small_tokenizer_json().dump());
  of_processor.write("chat_template.json", R"({"chat_template": "a processor's"})");
  EXPECT_EQ((*load_tokenizer_directory(of_processor.path()))->chat_templates().at("default"), "a processor's");
  of_processor.write("tokenizer_config.json", R"({"chat_template": "the tokenizer's"})");
  EXPECT_EQ((*load_tokenizer_directory(of_processor.path()))->chat_templates().at("default"), "the tokenizer's");
}

TEST(Tokenizer, UnknownKindsAreNamed) {
  const auto error_with = [](const char* key, const json& value) {
    json document = small_tokenizer_json();
    document[json::json_pointer(key)] = value;
    const test::ModelDirectory directory;
    directory.write("tokenizer.json", document.dump());
    const auto tokenizer = load_tokenizer_directory(directory.path());
    return tokenizer.ok() ? "" : tokenizer.error().message;
  };
  EXPECT_NE(error_with("/model/type", "Odd").find("model of type \"Odd\" (known: BPE, WordPiece, WordLevel, Unigram)"),
            std::string::npos);
  EXPECT_NE(error_with("/normalizer", {{"type", "Odd"}}).find("normalizer of type 'Odd' (known: Sequence, BertNormalizer,"),
            std::string::npos);
  const json nested = {{"type", "Sequence"}, {"pretokenizers", {{{"type", "ByteLevel"}}, {{"type", "Odd"}}}}};
  EXPECT_NE(error_with("/pre_tokenizer", nested).find("pre_tokenizer.pretokenizers[1] of type 'Odd'"), std::string::npos);
  EXPECT_NE(error_with("/decoder", {{"type", "Odd"}}).find("decoder of type 'Odd'"), std::string::npos);
  EXPECT_NE(error_with("/decoder", {{"type", "Strip"}}).find("decoder (Strip): field 'content'"), std::string::npos);
  EXPECT_NE(error_with("/post_processor", {{"type", "Odd"}}).find("post_processor of type 'Odd'"), std::string::npos);
  EXPECT_NE(error_with("/model/dropout", 0.5).find("dropout"), std::string::npos);
  EXPECT_NE(error_with("/model/vocab/hello", 1 << 30).find("id of token 'hello'"), std::string::npos);
  EXPECT_NE(error_with("/model/merges/0", "h").find("merge 0"), std::string::npos);
  EXPECT_NE(error_with("/added_tokens/0/id", 1 << 30).find("'<|end|>' has id"), std::string::npos);
}

}  // namespace
}  // namespace sluice
