// Each kind of part of a tokenizer.json against the package that defined it: parts.json, made by
// tests/golden/make_tokenizer_parts.py.

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "text/tokenizer/load_tokenizer.h"
#include "text/tokenizer/normalizers/normalizer.h"
#include "text/tokenizer/pre_tokenizers/pre_tokenizer.h"
#include "text/tokenizer/test_files.h"

namespace sluice {
namespace {

using nlohmann::json;
using Strings = std::vector<std::string>;

const json& golden_parts() {
  static const json document = json::parse(*read_file(test::repository_data("parts.json")));
  return document;
}

TEST(TokenizerParts, NormalizersEqualThePackage) {
  for (const json& entry : golden_parts()["normalizers"]) {
    const auto normalizer = parse_normalizer(entry["part"]);
    ASSERT_TRUE(normalizer.ok()) << normalizer.error().message;
    for (size_t i = 0; i < golden_parts()["inputs"].size(); ++i) {
      const std::string text = golden_parts()["inputs"][i];
      EXPECT_EQ(normalizer->apply(text, true), entry["outputs"][i].get<std::string>()) << entry["part"] << " of " << text;
    }
  }
}

TEST(TokenizerParts, PreTokenizersEqualThePackage) {
  for (const json& entry : golden_parts()["pre_tokenizers"]) {
    auto pre_tokenizer = parse_pre_tokenizer(entry["part"]);
    ASSERT_TRUE(pre_tokenizer.ok()) << pre_tokenizer.error().message;
    if (pre_tokenizer->byte_level) pre_tokenizer->spell_bytes();
    const json& inputs = entry.contains("inputs") ? entry["inputs"] : golden_parts()["inputs"];
    for (size_t i = 0; i < inputs.size(); ++i) {
      const Pieces pieces = pre_tokenizer->apply(inputs[i], true);
      Strings found;
      for (size_t begin = 0; const size_t end : pieces.ends) {
        found.push_back(pieces.text.substr(begin, end - begin));
        begin = end;
      }
      EXPECT_EQ(found, entry["outputs"][i].get<Strings>()) << entry["part"] << " of " << inputs[i];
    }
  }
}

TEST(TokenizerParts, ModelsEqualThePackage) {
  for (const json& entry : golden_parts()["models"]) {
    const test::ModelDirectory directory;
    directory.write("tokenizer.json", entry["document"].dump());
    const auto tokenizer = load_tokenizer_directory(directory.path());
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
    for (size_t i = 0; i < golden_parts()["model_texts"].size(); ++i)
      EXPECT_EQ((*tokenizer)->encode(golden_parts()["model_texts"][i].get<std::string>()), entry["ids"][i].get<std::vector<TokenId>>())
          << entry["document"]["model"]["type"] << " of " << golden_parts()["model_texts"][i] << ": " << entry["document"].dump().substr(0, 700);
  }
}

TEST(TokenizerParts, DecodersEqualThePackage) {
  json vocab = json::object();
  for (const Strings tokens : golden_parts()["tokens"])
    for (const std::string& token : tokens) vocab.emplace(token, vocab.size());
  for (const json& entry : golden_parts()["decoders"]) {
    const test::ModelDirectory directory;
    directory.write("tokenizer.json",
                    json({{"model", {{"type", "WordLevel"}, {"vocab", vocab}, {"unk_token", "a"}}}, {"decoder", entry["part"]}}).dump());
    const auto tokenizer = load_tokenizer_directory(directory.path());
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
    for (size_t i = 0; i < golden_parts()["tokens"].size(); ++i) {
      const Strings tokens = golden_parts()["tokens"][i];
      if (entry["outputs"][i].is_null()) continue;  // where the package fails
      std::vector<TokenId> ids;
      for (const std::string& token : tokens) ids.push_back(vocab[token].get<TokenId>());
      EXPECT_EQ((*tokenizer)->decode(ids), entry["outputs"][i].get<std::string>()) << entry["part"] << " of " << golden_parts()["tokens"][i];
    }
  }
}

}  // namespace
}  // namespace sluice
