#include "apps/model_text.h"

#include <filesystem>

#include "base/mapped_file.h"
#include "text/tokenizer/load_tokenizer.h"
#include "weights/hf_config.h"

namespace sluice {

Result<GgufVocab> gguf_vocab(const Metadata& metadata) {
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
  auto id = [&](const char* key) -> std::optional<TokenId> {
    const int64_t value = metadata.integer_or(prefix + key, -1);
    return value < 0 || value > INT32_MAX ? std::nullopt : std::optional(static_cast<TokenId>(value));
  };
  auto flag = [&](const char* key) -> std::optional<bool> {
    return metadata.has(prefix + key) ? std::optional(metadata.boolean_or(prefix + key, false)) : std::nullopt;
  };
  vocab.bos = id("bos_token_id");
  vocab.eos = id("eos_token_id");
  vocab.unk = id("unknown_token_id");
  vocab.pad = id("padding_token_id");
  vocab.eot = id("eot_token_id");
  vocab.add_bos = flag("add_bos_token");
  vocab.add_eos = flag("add_eos_token");
  vocab.add_space_prefix = flag("add_space_prefix");
  vocab.remove_extra_whitespaces = flag("remove_extra_whitespaces");
  vocab.chat_template = metadata.string_or("tokenizer.chat_template", "");
  return vocab;
}

GgufVocabulary to_gguf_vocabulary(const GgufVocab& v) {
  return {v.model, v.pre, v.tokens, v.scores, v.token_types, v.merges, v.bos, v.eos, v.unk, v.pad, v.eot,
          v.add_bos, v.add_eos, v.add_space_prefix, v.remove_extra_whitespaces, v.chat_template};
}

namespace {

Result<std::unique_ptr<Tokenizer>> load_tokenizer(const std::string& path, const TensorSource& source) {
  if (source.metadata().kind() == MetadataKind::gguf) {
    SLUICE_TRY(const GgufVocab vocab, gguf_vocab(source.metadata()));
    return make_gguf_tokenizer(vocab);
  }
  return load_tokenizer_directory(is_directory(path) ? path : std::filesystem::path(path).parent_path().string());
}

}  // namespace

Result<ModelText> load_model_text(const std::string& path, const TensorSource& source, const std::string& chat_template) {
  ModelText text;
  SLUICE_TRY(text.tokenizer, load_tokenizer(path, source));
  std::string jinja;
  if (!chat_template.empty()) {
    if (const auto builtin = builtin_chat_template(chat_template); builtin.ok()) {
      jinja = *builtin;
      text.chat_origin = "built-in " + chat_template;
    } else {
      auto read = read_file(chat_template, size_t{1} << 20);
      if (!read.ok())
        return invalid_argument(fmt::format("--chat-template '{}' is no file that can be read, and {}", chat_template, builtin.error().message));
      jinja = *read;
      text.chat_origin = chat_template;
    }
  } else if (const auto it = text.tokenizer->chat_templates().find("default"); it != text.tokenizer->chat_templates().end()) {
    jinja = it->second;
    text.chat_origin = "the model's";
  }
  if (!jinja.empty()) {
    SLUICE_TRY(text.chat, ChatTemplate::parse(jinja, text.chat_origin));
  }
  return text;
}

Result<GenerationDefaults> load_generation_defaults(const std::string& path, const Tokenizer& tokenizer) {
  GenerationDefaults defaults;
  defaults.eos_token_ids = tokenizer.end_of_generation();
  SLUICE_TRY(const Metadata config, load_generation_config(path));
  SamplingParams& s = defaults.sampling;
  s.temperature = static_cast<float>(config.number_or("temperature", 1.0));
  s.top_k = static_cast<int>(config.integer_or("top_k", 0));
  s.top_p = static_cast<float>(config.number_or("top_p", 1.0));
  s.min_p = static_cast<float>(config.number_or("min_p", 0.0));
  s.repetition_penalty = static_cast<float>(config.number_or("repetition_penalty", 1.0));
  if (config.has("do_sample") && !config.boolean_or("do_sample", true)) s.temperature = 0;
  if (config.has("max_new_tokens")) defaults.max_tokens = static_cast<int>(config.integer_or("max_new_tokens", 16));
  auto wrong = [&](const char* field, double value, const char* range) {
    return corrupt_data(fmt::format("{}: {} is {}; it must be {}", config.origin(), field, value, range));
  };
  if (!(s.temperature >= 0)) return wrong("temperature", s.temperature, "at least 0");
  if (!(s.top_p > 0 && s.top_p <= 1)) return wrong("top_p", s.top_p, "above 0 and at most 1");
  if (!(s.min_p >= 0 && s.min_p <= 1)) return wrong("min_p", s.min_p, "from 0 to 1");
  if (!(s.repetition_penalty > 0)) return wrong("repetition_penalty", s.repetition_penalty, "above 0");
  if (s.top_k < 0) s.top_k = 0;
  return defaults;
}

}  // namespace sluice
