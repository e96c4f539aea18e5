// A Hugging Face tokenizer as GGUF metadata, for converters: tokens by id, merges or scores, and the name of the
// pre-tokenizer.

#include <algorithm>
#include <array>
#include <unordered_map>

#include "base/mapped_file.h"
#include "text/tokenizer/json_fields.h"
#include "text/tokenizer/load_tokenizer.h"
#include "text/tokenizer/pre_tokenizers/pre_patterns.h"

namespace sluice {
namespace {

using nlohmann::json;

/// The patterns that split text, in order; GGUF knows such lists by name only.
void collect_patterns(const json& node, int depth, std::vector<std::string>& out) {
  if (depth > 8 || !node.is_object()) return;
  const std::string type = node.value("type", "");
  if (type == "Sequence" && node.contains("pretokenizers") && node["pretokenizers"].is_array())
    for (const json& entry : node["pretokenizers"]) collect_patterns(entry, depth + 1, out);
  if (type == "Split" && node.contains("pattern") && node["pattern"].contains("Regex"))
    out.push_back(node["pattern"]["Regex"].get<std::string>());
  if (type == "Digits") out.emplace_back(R"(\p{N})");
  if (type == "ByteLevel" && node.value("use_regex", true)) out.emplace_back(kGpt2Pattern);
}

Result<std::string> pre_name_of(const json& document) {
  std::vector<std::string> patterns;
  collect_patterns(document.value("pre_tokenizer", json()), 0, patterns);
  for (const char* name : {"llama-bpe", "qwen2", "gpt-2", "smollm", "gpt-4o", "tekken", "deepseek-v3", "deepseek-coder", "falcon"}) {
    const auto known = find_pre_patterns(name);
    if (known.ok() && std::ranges::equal(known->patterns, patterns)) return std::string(name);
  }
  std::string list;
  for (const std::string& p : patterns) list += "\n  " + p;
  return unsupported("GGUF has no name known here for a pre_tokenizer with these patterns:" + list);
}

Status read_bpe(const json& document, GgufVocab& vocab) {
  const json* model = find_field(document, "model");
  const json* tokens = model == nullptr ? nullptr : find_field(*model, "vocab");
  const json* merges = model == nullptr ? nullptr : find_field(*model, "merges");
  if (tokens == nullptr || !tokens->is_object() || merges == nullptr || !merges->is_array())
    return unsupported("only a BPE model with 'vocab' and 'merges' can be written as GGUF");
  auto put = [&](const std::string& text, int64_t id, GgufTokenType type) -> Status {
    if (id < 0 || id > 4'000'000) return corrupt_data(fmt::format("token '{}' has id {}", text, id));
    if (static_cast<size_t>(id) >= vocab.tokens.size()) {
      const size_t old = vocab.tokens.size();
      vocab.tokens.resize(static_cast<size_t>(id) + 1);
      vocab.token_types.resize(vocab.tokens.size(), static_cast<int32_t>(GgufTokenType::unused));
      for (size_t hole = old; hole < vocab.tokens.size(); ++hole) vocab.tokens[hole] = fmt::format("[PAD{}]", hole);
    }
    vocab.tokens[static_cast<size_t>(id)] = text;
    vocab.token_types[static_cast<size_t>(id)] = static_cast<int32_t>(type);
    return {};
  };
  const bool byte_fallback = model->value("byte_fallback", false);
  for (const auto& [text, id] : tokens->items()) {
    if (!id.is_number_integer()) return corrupt_data(fmt::format("the id of token '{}' is no whole number", text));
    const bool byte = byte_fallback && text.size() == 6 && text.starts_with("<0x") && text.back() == '>';
    SLUICE_TRY_STATUS(put(text, id.get<int64_t>(), byte ? GgufTokenType::byte : GgufTokenType::normal));
  }
  if (const json* added = find_field(document, "added_tokens"); added != nullptr && added->is_array())
    for (const json& token : *added) {
      SLUICE_TRY(const int64_t id, int_field(token, "id"));
      SLUICE_TRY(const std::string content, string_field(token, "content"));
      SLUICE_TRY(const bool special, bool_field(token, "special", false));
      SLUICE_TRY_STATUS(put(content, id, special ? GgufTokenType::control : GgufTokenType::user_defined));
    }
  std::vector<std::array<std::string, 2>> pairs;
  for (const json& entry : *merges) {
    if (entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_string()) {
      pairs.push_back({entry[0].get<std::string>(), entry[1].get<std::string>()});
    } else if (entry.is_string()) {
      const std::string text = entry.get<std::string>();
      const size_t space = text.find(' ', 1);
      if (space == std::string::npos) return corrupt_data(fmt::format("merge '{}' is no pair", text));
      pairs.push_back({text.substr(0, space), text.substr(space + 1)});
    } else {
      return corrupt_data("a merge is neither a string nor a pair of strings");
    }
  }
  if (!byte_fallback) {
    vocab.model = "gpt2";
    SLUICE_TRY(vocab.pre, pre_name_of(document));
    for (const auto& [left, right] : pairs) vocab.merges.push_back(left + " " + right);
    return {};
  }
  // Sentencepiece's BPE as a list of ranked merges: the rank of the merge that makes a piece is its score.
  vocab.model = "llama";
  vocab.scores.assign(vocab.tokens.size(), -1e6f);
  std::unordered_map<std::string, size_t> rank;
  for (size_t i = 0; i < pairs.size(); ++i) rank.emplace(pairs[i][0] + pairs[i][1], i);
  for (size_t id = 0; id < vocab.tokens.size(); ++id)
    if (const auto it = rank.find(vocab.tokens[id]); it != rank.end()) vocab.scores[id] = -static_cast<float>(it->second);
  const std::string normalizer = document.value("normalizer", json()).dump(), splitter = document.value("pre_tokenizer", json()).dump();
  vocab.add_space_prefix = normalizer.find("Prepend") != std::string::npos ||
                           (splitter.find("Metaspace") != std::string::npos && splitter.find("\"never\"") == std::string::npos);
  return {};
}

/// BOS, EOS and the like, and the templates, as the loaded tokenizer understood its configuration.
void take_specials(const Tokenizer& tokenizer, GgufVocab& vocab) {
  vocab.bos = tokenizer.bos();
  vocab.eos = tokenizer.eos();
  vocab.pad = tokenizer.pad();
  const std::vector<TokenId> plain = tokenizer.encode("a", {.add_special = false}), whole = tokenizer.encode("a");
  vocab.add_bos = vocab.bos && !whole.empty() && whole.front() == *vocab.bos && whole.size() > plain.size();
  vocab.add_eos = vocab.eos && !whole.empty() && whole.back() == *vocab.eos && whole.size() > plain.size();
  for (const TokenId id : tokenizer.end_of_generation())
    if (vocab.eos && id != *vocab.eos) vocab.eot = id;
  vocab.chat_templates = tokenizer.chat_templates();
}

}  // namespace

Result<GgufVocab> read_huggingface_vocab(const std::string& directory) {
  SLUICE_TRY(const auto tokenizer, load_tokenizer_directory(directory));
  GgufVocab vocab;
  if (const std::string model = directory + "/tokenizer.model"; file_exists(model)) {
    SLUICE_TRY(vocab, read_sentencepiece_vocab(model));
  } else if (const std::string path = directory + "/tokenizer.json"; file_exists(path)) {
    SLUICE_TRY(const std::string text, read_file(path));
    SLUICE_TRY(const json document, parse_json(text, path));
    if (const Status read = read_bpe(document, vocab); !read.ok()) return read.error().in(path);
  } else {
    return unsupported(fmt::format("{}: tokenizer.json or tokenizer.model is needed to convert a tokenizer", directory));
  }
  take_specials(*tokenizer, vocab);
  return vocab;
}

}  // namespace sluice
