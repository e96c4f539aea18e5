#pragma once
// A prompt schema: text that many prompts are put together from, in modules whose KV is computed once.
// After the Prompt Markup Language of Prompt Cache (Gim et al., MLSys 2024), section 3.2; the format is in docs/prompt-schema.md.

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace sluice {

/// A run of text, or a parameter: so many positions that an argument may fill.
struct SchemaPart {
  std::string text;
  std::string parameter;  // its name; empty: this is text
  int tokens = 0;         // of a parameter
};

struct SchemaModule {
  std::string name;  // empty: text outside of any module, which every prompt has
  std::vector<SchemaPart> parts;
  int union_number = -1;  // modules of one union have one number, and one place; -1: of none
  int line = 0;
};

struct PromptSchema {
  std::string name, origin;
  std::vector<SchemaModule> modules;  // in the order of the file
  std::vector<std::vector<std::string>> scaffolds;  // names of modules that are encoded together where all are used
};

inline constexpr int kMostSchemaModules = 4096, kMostParameterTokens = 4096;

/// `origin` is the file's name, which every error begins with, and the line: "trip.xml:12: ...".
Result<PromptSchema> parse_prompt_schema(std::string_view text, const std::string& origin);

}  // namespace sluice
