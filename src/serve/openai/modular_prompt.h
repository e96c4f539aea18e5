#pragma once
// The field "prompt_cache" of both endpoints: which modules of a schema, or which chunks of text, a prompt is put together from
// besides its own text (docs/prompt-schema.md).

#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "sched/kv_reuse.h"
#include "serve/openai/field_reader.h"
#include "text/schema/prompt_layout.h"

namespace sluice {

struct PromptCacheFields {
  struct Module {
    std::string name;
    std::vector<std::pair<std::string, std::string>> parameters;  // with their arguments
  };
  std::string schema;
  std::vector<Module> modules;
  std::vector<std::string> chunks;  // in place of a schema
  std::string preamble;             // before the chunks
  std::optional<float> recompute;
  RecomputeRule rule = RecomputeRule::deviation;
};

inline constexpr float kDefaultChunkRecompute = 0.15f;  // CacheBlend's
inline constexpr size_t kMostChunks = 256;

/// Nothing where the request has no such field; failures stay in the reader.
std::optional<PromptCacheFields> read_prompt_cache(FieldReader& in);

struct ModularPrompt {
  std::vector<TokenId> tokens;
  KvReuse reuse;
};
/// What a server has for such prompts.
struct ModularPrompts {
  std::vector<PromptLayout> schemas;
  bool chunks = false;  // --enable-chunk-reuse

  /// `own`: the tokens of the request's own text, which come last. Errors name the part of prompt_cache at fault.
  Result<ModularPrompt> assemble(const PromptCacheFields& fields, std::vector<TokenId> own, const Tokenizer& tokenizer) const;

 private:
  Result<ModularPrompt> from_schema(const PromptCacheFields& fields, const Tokenizer& tokenizer, int& next_position) const;
  Result<ModularPrompt> from_chunks(const PromptCacheFields& fields, const Tokenizer& tokenizer) const;
};

}  // namespace sluice
