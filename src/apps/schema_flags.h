#pragma once
// --prompt-schema and --enable-chunk-reuse: prompts that are put together from parts whose KV is reused.

#include <string>
#include <vector>

#include "base/options.h"
#include "serve/openai/modular_prompt.h"

namespace sluice {

struct SchemaFlags {
  std::vector<std::string> paths;
  bool chunks = false;

  void declare(OptionSet& options);
  bool any() const { return chunks || !paths.empty(); }
  /// Reads every file, and of every folder its *.xml and *.pml.
  Result<std::vector<PromptSchema>> read() const;
};

}  // namespace sluice
