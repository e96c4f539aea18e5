#include "apps/model_text.h"

#include <algorithm>
#include <filesystem>

#include "base/mapped_file.h"
#include "sched/sampling_limits.h"
#include "text/tokenizer/load_tokenizer.h"
#include "weights/gguf_model_keys.h"
#include "weights/hf_config.h"

namespace sluice {

namespace {

Result<std::unique_ptr<Tokenizer>> load_tokenizer(const std::string& path, const TensorSource& source) {
  if (source.metadata().kind() == MetadataKind::gguf) {
    SLUICE_TRY(const GgufVocab vocab, read_gguf_vocab(source.metadata()));
    return make_gguf_tokenizer(vocab);
  }
  return load_tokenizer_directory(is_directory(path) ? path : std::filesystem::path(path).parent_path().string());
}

}  // namespace

Result<ModelText> load_model_text(const std::string& path, const TensorSource& source,
                                  const std::string& chat_template) {
  ModelText text;
  SLUICE_TRY(text.tokenizer, load_tokenizer(path, source));
  std::string jinja, tool_jinja;
  if (!chat_template.empty()) {
    if (const auto builtin = builtin_chat_template(chat_template); builtin.ok()) {
      jinja = *builtin;
      text.chat_origin = "built-in " + chat_template;
    } else {
      auto read = read_file(chat_template, size_t{1} << 20);
      if (!read.ok())
        return invalid_argument(fmt::format("--chat-template '{}' is no file that can be read, and {}", chat_template,
                                            builtin.error().message));
      jinja = *read;
      text.chat_origin = chat_template;
    }
  } else {
    // As transformers chooses: "tool_use" where tools are given, else "default".
    const std::map<std::string, std::string>& own = text.tokenizer->chat_templates();
    if (const auto it = own.find("default"); it != own.end()) jinja = it->second;
    if (const auto it = own.find("tool_use"); it != own.end()) tool_jinja = it->second;
    text.chat_origin = tool_jinja.empty() ? "the model's" : "the model's, with another for tools";
  }
  if (!jinja.empty()) {
    SLUICE_TRY(text.chat, ChatTemplate::parse(jinja, text.chat_origin));
  }
  if (!tool_jinja.empty()) {
    SLUICE_TRY(text.tool_chat, ChatTemplate::parse(tool_jinja, "the model's for tools"));
  }
  return text;
}

Result<GenerationDefaults> load_generation_defaults(const std::string& path, const Tokenizer& tokenizer) {
  GenerationDefaults defaults;
  defaults.eos_token_ids = tokenizer.end_of_generation();
  SLUICE_TRY(const Metadata config, load_generation_config(path));
  SamplingParams& s = defaults.sampling;
  const std::pair<const NumberLimits*, float*> numbers[] = {{&kTemperatureLimits, &s.temperature},
                                                            {&kTopPLimits, &s.top_p},
                                                            {&kMinPLimits, &s.min_p},
                                                            {&kRepetitionPenaltyLimits, &s.repetition_penalty}};
  for (const auto& [limits, target] : numbers) {
    const double value = config.number_or(limits->name, *target);
    if (!limits->allow(value))
      return corrupt_data(
          fmt::format("{}: {} is {}; it must be {}", config.origin(), limits->name, value, limits->text()));
    *target = static_cast<float>(value);
  }
  s.top_k = static_cast<int>(std::clamp<int64_t>(config.integer_or("top_k", 0), 0, INT32_MAX));
  if (config.has("do_sample") && !config.boolean_or("do_sample", true)) s.temperature = 0;
  settle_sampling(s);
  if (config.has("max_new_tokens"))
    defaults.max_tokens = static_cast<int>(std::clamp<int64_t>(config.integer_or("max_new_tokens", 16), 1, INT32_MAX));
  return defaults;
}

}  // namespace sluice
