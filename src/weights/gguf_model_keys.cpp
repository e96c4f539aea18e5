#include "weights/gguf_model_keys.h"

#include <cmath>
#include <numbers>

namespace sluice {
namespace {

constexpr int32_t kUnusedToken = 5;
constexpr const char *kTemplate = "tokenizer.chat_template", *kTemplateNames = "tokenizer.chat_templates",
                     *kDefaultTemplate = "default";

void add_architecture(std::vector<GgufKey>& keys, const GgufHyperparameters& m) {
  const std::string at = m.arch + ".";
  keys.push_back(GgufKey::u32(at + "block_count", m.layers));
  keys.push_back(GgufKey::u32(at + "context_length", m.context));
  keys.push_back(GgufKey::u32(at + "embedding_length", m.hidden));
  keys.push_back(GgufKey::u32(at + "feed_forward_length", m.ffn));
  keys.push_back(GgufKey::u32(at + "attention.head_count", m.heads));
  keys.push_back(GgufKey::u32(at + "attention.head_count_kv", m.kv_heads));
  keys.push_back(GgufKey::u32(at + "attention.key_length", m.head_dim));
  keys.push_back(GgufKey::u32(at + "attention.value_length", m.head_dim));
  keys.push_back(GgufKey::f32(at + "attention.layer_norm_rms_epsilon", m.norm_eps));
  keys.push_back(GgufKey::u32(at + "rope.dimension_count", m.head_dim));
  keys.push_back(GgufKey::f32(at + "rope.freq_base", m.rope_theta));
  keys.push_back(GgufKey::u32(at + "vocab_size", m.vocab));
}

void add_templates(std::vector<GgufKey>& keys, const GgufVocab& v) {
  std::vector<std::string> names;
  for (const auto& [name, text] : v.chat_templates) {
    if (name != kDefaultTemplate) names.push_back(name);
    keys.push_back(GgufKey::text(name == kDefaultTemplate ? kTemplate : std::string(kTemplate) + "." + name, text));
  }
  if (!names.empty()) keys.push_back(GgufKey::array(kTemplateNames, GgufType::string, std::move(names)));
}

void add_vocabulary(std::vector<GgufKey>& keys, const GgufVocab& v, size_t rows) {
  const std::string at = "tokenizer.ggml.";
  std::vector<std::string> tokens = v.tokens;
  std::vector<int64_t> types(v.token_types.begin(), v.token_types.end());
  std::vector<double> scores(v.scores.begin(), v.scores.end());
  types.resize(tokens.size(), 1);
  if (!scores.empty() || v.model == "llama" || v.model == "t5") scores.resize(rows, 0.0);
  while (tokens.size() < rows) {
    tokens.push_back(fmt::format("[PAD{}]", tokens.size()));
    types.push_back(kUnusedToken);
  }
  keys.push_back(GgufKey::text(at + "model", v.model));
  if (!v.pre.empty()) keys.push_back(GgufKey::text(at + "pre", v.pre));
  keys.push_back(GgufKey::array(at + "tokens", GgufType::string, std::move(tokens)));
  if (!scores.empty()) keys.push_back(GgufKey::array(at + "scores", GgufType::f32, std::move(scores)));
  keys.push_back(GgufKey::array(at + "token_type", GgufType::i32, std::move(types)));
  if (!v.merges.empty() || v.model == "gpt2" || v.model == "gemma4") keys.push_back(GgufKey::array(at + "merges", GgufType::string, v.merges));
  auto add_id = [&](const char* name, const std::optional<TokenId>& id) {
    if (id) keys.push_back(GgufKey::u32(at + name, *id));
  };
  auto add_flag = [&](const char* name, const std::optional<bool>& flag) {
    if (flag) keys.push_back(GgufKey::boolean(at + name, *flag));
  };
  add_id("bos_token_id", v.bos);
  add_id("eos_token_id", v.eos);
  add_id("unknown_token_id", v.unk);
  add_id("padding_token_id", v.pad);
  add_id("eot_token_id", v.eot);
  add_id("seperator_token_id", v.sep);  // GGUF spells it so
  add_id("cls_token_id", v.cls);
  add_id("mask_token_id", v.mask);
  add_flag("add_bos_token", v.add_bos);
  add_flag("add_eos_token", v.add_eos);
  add_flag("add_sep_token", v.add_sep);
  add_flag("add_space_prefix", v.add_space_prefix);
  add_flag("remove_extra_whitespaces", v.remove_extra_whitespaces);
  add_flag("normalizer.lowercase", v.lowercase);
  add_flag("normalizer.strip_accents", v.strip_accents);
  if (!v.character_map.empty()) {
    std::vector<int64_t> bytes;
    for (const char c : v.character_map) bytes.push_back(static_cast<unsigned char>(c));
    keys.push_back(GgufKey::array(at + "precompiled_charsmap", GgufType::u8, std::move(bytes)));
  }
  add_templates(keys, v);
}

/// Every tokenizer.chat_template.NAME, listed or not; what is listed has to be there.
Result<std::map<std::string, std::string>> read_templates(const Metadata& metadata) {
  std::map<std::string, std::string> templates;
  const std::string prefix = std::string(kTemplate) + ".";
  for (const auto& [key, value] : metadata.values()) {
    if (!key.starts_with(prefix)) continue;
    SLUICE_TRY(templates[key.substr(prefix.size())], metadata.string(key));
  }
  if (metadata.has(kTemplate)) {
    SLUICE_TRY(templates[kDefaultTemplate], metadata.string(kTemplate));
  }
  const std::vector<std::string>* names = metadata.strings(kTemplateNames);
  if (names == nullptr && metadata.has(kTemplateNames))
    return corrupt_data(fmt::format("{}: {} is no array of strings", metadata.origin(), kTemplateNames));
  for (size_t i = 0; names != nullptr && i < names->size(); ++i)
    if (!templates.contains((*names)[i]))
      return corrupt_data(fmt::format("{}: {} lists \"{}\", but {}{} is missing", metadata.origin(), kTemplateNames,
                                      (*names)[i], prefix, (*names)[i]));
  std::erase_if(templates, [](const auto& entry) { return entry.second.empty(); });
  return templates;
}

}  // namespace

Result<GgufVocab> read_gguf_vocab(const Metadata& metadata) {
  GgufVocab vocab;
  const std::string prefix = "tokenizer.ggml.";
  SLUICE_TRY(vocab.model, metadata.string(prefix + "model"));
  vocab.pre = metadata.string_or(prefix + "pre", "");
  const std::vector<std::string>* tokens = metadata.strings(prefix + "tokens");
  if (tokens == nullptr)
    return corrupt_data(fmt::format("{}: tokenizer.ggml.tokens is missing or is no array of strings", metadata.origin()));
  vocab.tokens = *tokens;
  if (const auto* merges = metadata.strings(prefix + "merges")) vocab.merges = *merges;
  if (metadata.has(prefix + "scores")) {
    SLUICE_TRY(const std::vector<double> scores, metadata.numbers(prefix + "scores"));
    vocab.scores.assign(scores.begin(), scores.end());
  }
  if (metadata.has(prefix + "token_type")) {
    SLUICE_TRY(const std::vector<double> types, metadata.numbers(prefix + "token_type"));
    for (const double type : types) vocab.token_types.push_back(static_cast<int32_t>(type));
  }
  // -1, in 32 bits with or without a sign, is how converters write that there is none.
  auto id = [&](const char* name) -> Result<std::optional<TokenId>> {
    const std::string key = prefix + name;
    if (!metadata.has(key)) return std::optional<TokenId>();
    SLUICE_TRY(const int64_t value, metadata.integer(key));
    if (value == -1 || value == UINT32_MAX) return std::optional<TokenId>();
    if (value < 0 || value >= static_cast<int64_t>(vocab.tokens.size()))
      return corrupt_data(fmt::format("{}: {} is {}; it must be from 0 to {}, or -1 for none", metadata.origin(), key,
                                      value, static_cast<int64_t>(vocab.tokens.size()) - 1));
    return std::optional(static_cast<TokenId>(value));
  };
  auto flag = [&](const char* name) -> Result<std::optional<bool>> {
    const std::string key = prefix + name;
    if (!metadata.has(key)) return std::optional<bool>();
    SLUICE_TRY(const bool value, metadata.boolean(key));
    return std::optional(value);
  };
  SLUICE_TRY(vocab.bos, id("bos_token_id"));
  SLUICE_TRY(vocab.eos, id("eos_token_id"));
  SLUICE_TRY(vocab.unk, id("unknown_token_id"));
  SLUICE_TRY(vocab.pad, id("padding_token_id"));
  SLUICE_TRY(vocab.eot, id("eot_token_id"));
  SLUICE_TRY(vocab.sep, id("seperator_token_id"));
  SLUICE_TRY(vocab.cls, id("cls_token_id"));
  SLUICE_TRY(vocab.mask, id("mask_token_id"));
  SLUICE_TRY(vocab.add_bos, flag("add_bos_token"));
  SLUICE_TRY(vocab.add_eos, flag("add_eos_token"));
  SLUICE_TRY(vocab.add_sep, flag("add_sep_token"));
  SLUICE_TRY(vocab.add_space_prefix, flag("add_space_prefix"));
  SLUICE_TRY(vocab.remove_extra_whitespaces, flag("remove_extra_whitespaces"));
  SLUICE_TRY(vocab.lowercase, flag("normalizer.lowercase"));
  SLUICE_TRY(vocab.strip_accents, flag("normalizer.strip_accents"));
  if (metadata.has(prefix + "precompiled_charsmap")) {
    SLUICE_TRY(const std::vector<double> bytes, metadata.numbers(prefix + "precompiled_charsmap"));
    for (const double byte : bytes) vocab.character_map.push_back(static_cast<char>(static_cast<int>(byte)));
  }
  SLUICE_TRY(vocab.chat_templates, read_templates(metadata));
  return vocab;
}

void add_rope_scaling(std::vector<GgufKey>& keys, const std::string& arch, const GgufRopeScaling& rope) {
  const std::string at = arch + ".rope.scaling.";
  keys.push_back(GgufKey::text(at + "type", rope.type));
  keys.push_back(GgufKey::f32(at + "factor", rope.factor));
  if (rope.original_context > 0) keys.push_back(GgufKey::u32(at + "original_context_length", rope.original_context));
  if (rope.attention_factor) keys.push_back(GgufKey::f32(at + "attn_factor", *rope.attention_factor));
  if (rope.beta_fast) keys.push_back(GgufKey::f32(at + "yarn_beta_fast", *rope.beta_fast));
  if (rope.beta_slow) keys.push_back(GgufKey::f32(at + "yarn_beta_slow", *rope.beta_slow));
}

Result<std::vector<GgufKey>> gguf_model_keys(const std::string& arch, const std::string& name, std::vector<GgufKey> own, int64_t rows,
                                             const GgufVocab& vocabulary, const QuantRecipe& recipe) {
  if (vocabulary.tokens.size() > static_cast<size_t>(rows))
    return invalid_argument(fmt::format("the tokenizer has {} tokens, but the model's embedding has {} rows",
                                        vocabulary.tokens.size(), rows));
  std::vector<GgufKey> keys;
  keys.push_back(GgufKey::text("general.architecture", arch));
  keys.push_back(GgufKey::text("general.name", name));
  keys.push_back(GgufKey::u32("general.file_type", recipe.file_type));
  keys.push_back(GgufKey::u32("general.quantization_version", 2));
  keys.insert(keys.end(), std::make_move_iterator(own.begin()), std::make_move_iterator(own.end()));
  add_vocabulary(keys, vocabulary, static_cast<size_t>(rows));
  return keys;
}

Result<std::vector<GgufKey>> gguf_model_keys(const GgufHyperparameters& model, const GgufVocab& vocabulary, const QuantRecipe& recipe) {
  std::vector<GgufKey> own;
  add_architecture(own, model);
  return gguf_model_keys(model.arch, model.name, std::move(own), model.vocab, vocabulary, recipe);
}

std::vector<float> llama3_rope_factors(int64_t head_dim, double theta, double factor, double low_freq_factor,
                                       double high_freq_factor, double original_context) {
  const double low_wavelength = original_context / low_freq_factor,
               high_wavelength = original_context / high_freq_factor;
  std::vector<float> factors;
  for (int64_t i = 0; i < head_dim; i += 2) {
    const double frequency = 1.0 / std::pow(theta, static_cast<double>(i) / static_cast<double>(head_dim));
    const double wavelength = 2 * std::numbers::pi / frequency;
    double divisor = 1;
    if (wavelength > low_wavelength) {
      divisor = factor;
    } else if (wavelength >= high_wavelength && high_freq_factor > low_freq_factor) {
      const double smooth = (original_context / wavelength - low_freq_factor) / (high_freq_factor - low_freq_factor);
      divisor = 1 / ((1 - smooth) / factor + smooth);
    }
    factors.push_back(static_cast<float>(divisor));
  }
  return factors;
}

}  // namespace sluice
