// Damaged and lying files: an error that says what and where, never a crash or a hang.

#include <gtest/gtest.h>

#include <chrono>
#include <nlohmann/json.hpp>

#include "base/rng.h"
#include "text/tokenizer/load_tokenizer.h"
#include "text/tokenizer/test_files.h"
#include "text/tokenizer/utf8.h"

namespace sluice {
namespace {

using nlohmann::json;

std::string load_error(const test::ModelDirectory& directory) {
  const auto tokenizer = load_tokenizer_directory(directory.path());
  return tokenizer.ok() ? "" : tokenizer.error().message;
}

/// Truncates `content` at every stride-th byte and mutates it at random; what loads must still encode and decode.
void damage(const std::string& file, const std::string& content, const std::string& beside = "",
            const std::string& beside_text = "") {
  Rng rng(5);
  const test::ModelDirectory directory;
  directory.write("config.json", R"({"model_type": "gpt2"})");
  if (!beside.empty()) directory.write(beside, beside_text);
  const auto survive = [&](const std::string& damaged) {
    directory.write(file, damaged);
    const auto tokenizer = load_tokenizer_directory(directory.path());
    if (!tokenizer.ok()) {
      EXPECT_NE(tokenizer.error().message.find(file), std::string::npos) << tokenizer.error().message;
      return;
    }
    const std::string text = "Once upon a <s> time \n \u00e9\U0001F44D <|end|> 123";
    const auto ids = (*tokenizer)->encode(text, {.add_special = true, .parse_special = true});
    for (const TokenId id : ids) ASSERT_TRUE(id >= 0 && id < (*tokenizer)->vocab_size());
    const std::string decoded = (*tokenizer)->decode(ids);
    EXPECT_EQ(to_valid_utf8(decoded), decoded);
  };
  for (size_t size = 0; size < content.size(); size += content.size() / 80 + 1) survive(content.substr(0, size));
  for (int round = 0; round < 150; ++round) {
    std::string damaged = content;
    for (uint64_t i = 0, n = rng.below(4) + 1; i < n; ++i) {
      const size_t at = rng.below(damaged.size());
      switch (rng.below(4)) {
        case 0:
          damaged[at] = static_cast<char>(rng.below(256));
          break;
        case 1:
          damaged[at] ^= static_cast<char>(1 << rng.below(8));
          break;
        case 2:
          damaged.erase(at, rng.below(20));
          break;
        default:
          damaged.insert(at, damaged.substr(rng.below(damaged.size()), rng.below(20)));
          break;
      }
      if (damaged.empty()) damaged = "x";
    }
    survive(damaged);
  }
}

TEST(LoadTokenizer, ManyAddedTokensLoadInLinearTime) {
  json vocab = json::object(), added = json::array(), decoder = json::object();
  for (int b = 0; b < 256; ++b) vocab[bytes_to_byte_level(std::string(1, static_cast<char>(b)))] = b;
  for (int i = 256; i < 80'000; ++i) {
    const json token = {{"content", fmt::format("<extra_{}>", i)}, {"special", true}};
    decoder[std::to_string(i)] = token;
    added.push_back(token);
    added.back()["id"] = i;
  }
  const json document = {{"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", json::array()}}},
                         {"pre_tokenizer", {{"type", "ByteLevel"}}},
                         {"added_tokens", added}};
  const test::ModelDirectory directory;
  directory.write("tokenizer.json", document.dump());
  directory.write("tokenizer_config.json", json({{"added_tokens_decoder", decoder}}).dump());
  const auto start = std::chrono::steady_clock::now();
  const auto tokenizer = load_tokenizer_directory(directory.path());
  // 1 s where it is linear, a minute where it is quadratic.
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  EXPECT_EQ((*tokenizer)->vocab_size(), 80'000);
  EXPECT_EQ((*tokenizer)->token_id("<extra_79999>"), 79'999);
}

json tiny_json() {
  json vocab = {{"<unk>", 0}, {"<s>", 1}, {"<0x0A>", 2}, {"<0xC3>", 3},  {"\u2581", 4},
                {"O", 5},     {"n", 6},   {"On", 7},     {"\u2581On", 8}};
  return {{"version", "1.0"},
          {"added_tokens", {{{"id", 1}, {"content", "<s>"}, {"special", true}, {"lstrip", true}, {"rstrip", true}}}},
          {"normalizer",
           {{"type", "Sequence"},
            {"normalizers",
             {{{"type", "Prepend"}, {"prepend", "\u2581"}},
              {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "\u2581"}},
              {{"type", "NFC"}}}}}},
          {"pre_tokenizer",
           {{"type", "Sequence"},
            {"pretokenizers",
             {{{"type", "Split"}, {"pattern", {{"Regex", "\\d+|\\s+(?!\\S)"}}}, {"behavior", "Isolated"}},
              {{"type", "Digits"}}}}}},
          {"decoder",
           {{"type", "Sequence"},
            {"decoders",
             {{{"type", "Replace"}, {"pattern", {{"String", "\u2581"}}}, {"content", " "}},
              {{"type", "ByteFallback"}},
              {{"type", "Fuse"}},
              {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}}}}}},
          {"post_processor",
           {{"type", "TemplateProcessing"},
            {"single", {{{"SpecialToken", {{"id", "<s>"}}}}, {{"Sequence", {{"id", "A"}}}}}},
            {"special_tokens", {{"<s>", {{"id", "<s>"}, {"ids", {1}}}}}}}},
          {"model",
           {{"type", "BPE"},
            {"unk_token", "<unk>"},
            {"byte_fallback", true},
            {"fuse_unk", true},
            {"vocab", vocab},
            {"merges", {"O n", "\u2581 On"}}}}};
}

TEST(LoadTokenizer, DamagedFilesFailCleanly) {
  damage("tokenizer.model", *read_file(test::repository_data("tok512/tokenizer.model")));
  damage("tokenizer.bin", *read_file(test::repository_data("tok512/tokenizer.bin")));
  damage("tokenizer.json", tiny_json().dump());
  std::string vocab = "{", merges = "#version: 0.2\n";
  for (int b = 0; b < 256; ++b)
    vocab += json(bytes_to_byte_level(std::string(1, static_cast<char>(b)))).dump() + ":" + std::to_string(b) + ",";
  damage("vocab.json", vocab + R"("On":256,"ti":257})", "merges.txt", merges + "O n\nt i\n");
  damage("merges.txt", merges + "O n\nt i\n", "vocab.json", vocab + R"("On":256,"ti":257})");
}

TEST(LoadTokenizer, ErrorsSayWhatIsMissing) {
  const test::ModelDirectory empty;
  EXPECT_NE(load_error(empty).find("looked for tokenizer.json, tekken.json, *.tiktoken, tokenizer.model, vocab.json with"),
            std::string::npos);
  const test::ModelDirectory directory;
  directory.write("tokenizer.json", tiny_json().dump());
  EXPECT_EQ(load_error(directory), "");
  directory.write("tokenizer_config.json", "{\"bos_token\": ");
  EXPECT_NE(load_error(directory).find("tokenizer_config.json: not valid JSON at byte"), std::string::npos);
  directory.write("tokenizer_config.json", R"({"added_tokens_decoder": {"x": {"content": "a"}}})");
  EXPECT_NE(load_error(directory).find("key 'x' is not a token id"), std::string::npos);
}

TEST(LoadTokenizer, WordModelsOfSentencepieceAreRefused) {
  const test::ModelDirectory directory;
  // One piece "a", and trainer_spec.model_type = WORD.
  directory.write("tokenizer.model", std::string("\x0a\x03\x0a\x01"
                                                 "a"
                                                 "\x12\x02\x18\x03",
                                                 9));
  EXPECT_NE(load_error(directory).find("a sentencepiece word model"), std::string::npos) << load_error(directory);
}

TEST(LoadTokenizer, FilesOfTiktokenTekkenRwkvAndBert) {
  const std::string lines = "YQ== 0\nYg== 1\nYWI= 2\n";  // a, b, ab
  for (size_t size = 0; size < lines.size(); ++size) {  // its special tokens make each vocabulary a large one
    const test::ModelDirectory cut;
    cut.write("r50k_base.tiktoken", lines.substr(0, size));
    const std::string error = load_error(cut);
    EXPECT_TRUE(error.empty() || error.find("r50k_base.tiktoken: ") != std::string::npos) << error;
  }
  damage("rwkv_vocab_v1.txt", "1 'a' 1\n2 'b' 1\n3 b'\\xe4\\xb8' 2\n4 '\\n\\n' 2\n5 \"'\" 1\n");
  damage("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\nonce\n##upon\ntime\n");
  const json tekken = {{"config", {{"pattern", "\\p{L}+|.|\\s"}, {"default_vocab_size", 6}, {"default_num_special_tokens", 3}}},
                       {"vocab",
                        {{{"rank", 0}, {"token_bytes", "YQ=="}}, {{"rank", 1}, {"token_bytes", "Yg=="}}, {{"rank", 2}, {"token_bytes", "YWI="}}}}};
  damage("tekken.json", tekken.dump());
  const test::ModelDirectory directory;
  directory.write("tekken.json", tekken.dump());
  const auto tokenizer = load_tokenizer_directory(directory.path());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  EXPECT_EQ((*tokenizer)->encode("abb"), (std::vector<TokenId>{1, 5, 4}));  // <s>, ab, b
  EXPECT_EQ((*tokenizer)->encode("ab"), (std::vector<TokenId>{1, 5}));
  const test::ModelDirectory unknown;
  unknown.write("mine.tiktoken", lines);
  EXPECT_NE(load_error(unknown).find("a vocabulary of 3 ranks (known: "), std::string::npos) << load_error(unknown);
  unknown.write("mine.tiktoken", "YQ== 0\nYg==\n");
  EXPECT_NE(load_error(unknown).find("mine.tiktoken: line 2 is not a token"), std::string::npos) << load_error(unknown);
}

TEST(LoadTokenizer, GgufVocabulariesOverCharacters) {
  const auto encode = [](const GgufVocab& vocab, const std::string& text) {
    const auto tokenizer = make_gguf_tokenizer(vocab);
    EXPECT_TRUE(tokenizer.ok()) << tokenizer.error().message;
    return tokenizer.ok() ? (*tokenizer)->encode(text) : std::vector<TokenId>{};
  };
  GgufVocab vocab{.model = "gpt2",
                  .tokens = {"\u2581", "a", "b", "ab", "\u2581ab", "\n", "<0xC3>", "<0xA9>", "\n\n", "<u>"},
                  .token_types = {1, 1, 1, 1, 1, 1, 1, 1, 1, 2},
                  .merges = {"a b", "\u2581 ab", "\n \n"},
                  .unk = 9};
  for (const char* pre : {"gemma4", "granite-embed-multi-311m", "sarvam-moe"}) {
    vocab.pre = pre;
    EXPECT_EQ(encode(vocab, "ab ab\n\né ba?"), (std::vector<TokenId>{3, 4, 8, 6, 7, 0, 2, 1, 9})) << pre;
    EXPECT_EQ((*make_gguf_tokenizer(vocab))->decode({{4, 8, 6, 7}}), " ab\n\né");
    EXPECT_EQ(write_huggingface_tokenizer(vocab).error().message,
              fmt::format("a vocabulary over characters (pre-tokenizer '{}') is not written as a Hugging Face directory's", pre));
  }
  for (const auto& [model, pre] : {std::pair("gpt2", "whitespace"), std::pair("whitespace", "whitespace")}) {
    vocab.model = model;
    vocab.pre = pre;
    EXPECT_EQ(encode(vocab, " ab \tba\n\nA"), (std::vector<TokenId>{3, 2, 1, 9}));
    vocab.lowercase = true;
    EXPECT_EQ(encode(vocab, " AB\n\nA"), (std::vector<TokenId>{3, 1}));
    vocab.lowercase.reset();
  }
}

TEST(LoadTokenizer, LyingGgufMetadata) {
  const auto error = [](const GgufVocab& vocab) {
    const auto tokenizer = make_gguf_tokenizer(vocab);
    return tokenizer.ok() ? "" : tokenizer.error().message;
  };
  GgufVocab good{.model = "llama",
                 .tokens = {"<unk>", "a", "b", "ab"},
                 .scores = {0, -1, -2, 0},
                 .token_types = {2, 1, 1, 1},
                 .unk = 0};
  EXPECT_EQ(error(good), "");
  const auto broken = [&](auto change) {
    GgufVocab vocab = good;
    change(vocab);
    return error(vocab);
  };
  EXPECT_NE(broken([](GgufVocab& v) { v.model = "odd"; }).find("'odd' (supported: llama, gpt2, gemma4, bert, t5, rwkv, plamo2, whitespace)"), std::string::npos);
  EXPECT_NE(broken([](GgufVocab& v) { v.scores.pop_back(); }).find("tokenizer.ggml.scores has 3 entries, expected 4"),
            std::string::npos);
  EXPECT_NE(broken([](GgufVocab& v) { v.token_types.pop_back(); }).find("token_type has 3"), std::string::npos);
  EXPECT_NE(broken([](GgufVocab& v) { v.eos = 4; }).find("eos_token_id is 4"), std::string::npos);
  EXPECT_NE(broken([](GgufVocab& v) { v.scores[1] = NAN; }).find("score of token 1"), std::string::npos);
  EXPECT_NE(broken([](GgufVocab& v) { v.token_types[1] = 6; }).find("token 1 is a byte"), std::string::npos);
  EXPECT_NE(broken([](GgufVocab& v) { v.tokens.clear(); }).find("tokens is empty"), std::string::npos);
  EXPECT_EQ(broken([](GgufVocab& v) { v.tokens[3] = "\xff\xc3"; }), "");  // read as U+FFFD
  GgufVocab bpe{.model = "gpt2", .pre = "gpt-2", .tokens = {"a", "b", "ab"}, .merges = {"a b"}};
  EXPECT_EQ(error(bpe), "");
  bpe.merges = {"ab"};
  EXPECT_NE(error(bpe).find("merge 0"), std::string::npos);
  bpe.merges = {};
  bpe.pre = "odd";
  EXPECT_NE(error(bpe).find("pre-tokenizer 'odd' (known: gpt-2"), std::string::npos);
}

}  // namespace
}  // namespace sluice
