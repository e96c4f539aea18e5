#pragma once
// The text side of a model: tokenizer, chat template, default sampling; from a Hugging Face directory or a GGUF file.

#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "sched/request.h"
#include "text/chat/chat_template.h"
#include "text/tokenizer/tokenizer.h"
#include "weights/tensor_source.h"

namespace sluice {

struct ModelText {
  std::unique_ptr<Tokenizer> tokenizer;
  std::unique_ptr<ChatTemplate> chat;       // null: the model has none and no flag names one
  std::unique_ptr<ChatTemplate> tool_chat;  // in its place where tools are given, as with Hermes 2 Pro; null: the same
  std::string chat_origin;                  // where they came from, for people
};

/// `chat_template`: "" takes the model's own, else the name of a built-in one or a file.
Result<ModelText> load_model_text(const std::string& path, const TensorSource& source,
                                  const std::string& chat_template);

/// generation_config.json as request defaults: temperature, top_k, top_p, min_p, repetition_penalty, and the ends of
/// generation in addition to the tokenizer's. Fields that the file does not have keep OpenAI's defaults.
struct GenerationDefaults {
  SamplingParams sampling;
  std::vector<TokenId> eos_token_ids;
  std::optional<int> max_tokens;
};
Result<GenerationDefaults> load_generation_defaults(const std::string& path, const Tokenizer& tokenizer);

}  // namespace sluice
