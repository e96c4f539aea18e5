// vocab.json with merges.txt (GPT-2, Qwen2), and the same under the names of Llama 3.

#include "base/log.h"
#include "base/mapped_file.h"
#include "text/tokenizer/formats/byte_level_vocab.h"
#include "text/tokenizer/catalog.h"
#include "text/tokenizer/json_fields.h"
#include "text/tokenizer/pre_tokenizers/pre_patterns.h"
#include "text/tokenizer/utf8.h"

namespace sluice {
namespace {

using nlohmann::json;

// The merges in the text of the file at `path`, which holds them.
Result<std::vector<MergeText>> parse_merges(std::string_view text, const std::string& path) {
  std::vector<MergeText> merges;
  for (size_t at = 0; at < text.size();) {
    size_t end = text.find('\n', at);
    if (end == std::string_view::npos) end = text.size();
    std::string_view line = text.substr(at, end - at);
    if (line.ends_with('\r')) line.remove_suffix(1);
    const bool header = at == 0 && line.starts_with("#version");
    at = end + 1;
    if (line.empty() || header) continue;
    const auto merge = split_merge(line, merges.size());
    if (!merge.ok()) return merge.error().in(path);
    merges.push_back(*merge);
  }
  return merges;
}

/// These files do not say how text is split; the class of the tokenizer or the type of the model does.
Result<std::string> pre_name(const std::string& directory, const TokenizerConfig& config,
                             const std::string& otherwise) {
  std::string family = config.tokenizer_class;
  if (const std::string path = directory + "/config.json"; family.empty() && file_exists(path)) {
    SLUICE_TRY(const std::string text, read_file(path));
    SLUICE_TRY(const json document, parse_json(text, path));
    if (const json* type = find_field(document, "model_type"); type != nullptr && type->is_string())
      family = type->get<std::string>();
  }
  if (family.starts_with("Qwen") || family.starts_with("qwen")) return std::string("qwen2");
  if (family.starts_with("GPT2") || family == "gpt2") return std::string("gpt-2");
  log_warn("{}: no tokenizer_class or model_type that names a pre-tokenizer; taking that of {}", directory, otherwise);
  return otherwise;
}

Result<std::unique_ptr<Tokenizer>> load(const std::string& vocab_path, const std::string& merges_path,
                                        const std::string& pre_name, const TokenizerConfig& config) {
  SLUICE_TRY(const PrePatterns pre, find_pre_patterns(pre_name));
  SLUICE_TRY(const std::string text, read_file(vocab_path));
  SLUICE_TRY(const json document, parse_json(text, vocab_path));
  auto vocabulary = parse_vocabulary(document);
  if (!vocabulary.ok()) return vocabulary.error().in(vocab_path);
  SLUICE_TRY(const std::string merges_file, read_file(merges_path));
  const std::string merges_text = to_valid_utf8(merges_file);
  SLUICE_TRY(const std::vector<MergeText> merges, parse_merges(merges_text, merges_path));

  TokenizerParts parts;
  const auto id_of = [&](const std::string& content) -> std::optional<TokenId> {
    const auto it = document.find(content);
    if (it == document.end()) return std::nullopt;
    return it->get<TokenId>();
  };
  const auto build = [&]() -> Status {
    SLUICE_TRY_STATUS(apply_tokenizer_config(config, id_of, parts));
    std::optional<TokenId> unknown;
    if (!config.unk_token.empty()) unknown = id_of(config.unk_token);
    SLUICE_TRY_STATUS(set_byte_level_bpe(parts, *vocabulary, merges, pre.ignore_merges, unknown));
    SLUICE_TRY(parts.pre_tokenizer, byte_level_pre_tokenizer(pre.patterns));
    if (pre.nfc) parts.normalizer.add(normal_form(NormalForm::nfc), kNormalFormShrinks);
    return finish_tokens(parts);
  };
  if (const Status built = build(); !built.ok()) return built.error().in(vocab_path + " with " + merges_path);
  return std::make_unique<Tokenizer>(std::move(parts));
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> load_vocab_and_merges(const std::string& directory, const TokenizerConfig& config) {
  SLUICE_TRY(const std::string pre, pre_name(directory, config, "gpt-2"));
  return load(directory + "/vocab.json", directory + "/merges.txt", pre, config);
}

Result<std::unique_ptr<Tokenizer>> load_encoder_and_bpe(const std::string& directory, const TokenizerConfig& config) {
  return load(directory + "/encoder.json", directory + "/vocab.bpe", "llama-bpe", config);
}

}  // namespace sluice
