#pragma once
// A prompt schema in tokens: every module has its place among the positions, whichever modules a prompt takes.

#include <cstdint>
#include <string>
#include <vector>

#include "base/ids.h"
#include "text/schema/prompt_schema.h"
#include "text/tokenizer/tokenizer.h"

namespace sluice {

struct PromptLayout {
  struct Parameter {
    std::string name;
    int first = 0, tokens = 0;  // positions that are kept free for it
  };
  struct Module {
    std::string name;  // empty: part of every prompt
    int union_number = -1;
    std::vector<TokenId> tokens;     // of its text
    std::vector<int32_t> positions;  // of these
    std::vector<Parameter> parameters;
    int end = 0;  // the position behind it
  };
  std::string name;
  std::vector<TokenId> lead;  // what the tokenizer puts before a text, and the schema's own text before its first module; from position 0 on
  std::vector<Module> modules;  // ascending
  std::vector<std::vector<size_t>> scaffolds;  // of modules, ascending
  int positions = 0;  // in all
};

/// Tokenizes each run of text by itself; control tokens written in a schema are control tokens, since it is the server's own.
/// A union is as long as its longest module.
PromptLayout lay_out(const PromptSchema& schema, const Tokenizer& tokenizer);

}  // namespace sluice
