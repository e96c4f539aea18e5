#pragma once
// Patterns as tokenizer files write them (for Oniguruma or Rust's regex) in the words of PCRE2.

#include <string>
#include <string_view>

#include "base/result.h"

namespace sluice {

Result<std::string> to_pcre2(std::string_view pattern);

}  // namespace sluice
