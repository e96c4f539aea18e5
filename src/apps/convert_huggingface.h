#pragma once
// sluice convert to a Hugging Face directory.

#include <string>

#include "base/options.h"

namespace sluice {

struct ToHuggingfaceFlags {
  std::string input, output, type;
  ByteSize shard;
};

/// Writes the GGUF or native pack as a directory with its tokenizer, and says what it wrote.
Status convert_to_huggingface(const ToHuggingfaceFlags& flags);

/// Whether a path without a word on it (--to) is meant as a directory: it ends in a slash, is one, or has no ending and is not there.
bool means_directory(const std::string& path);

}  // namespace sluice
