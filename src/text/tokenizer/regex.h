#pragma once
// A compiled pattern (PCRE2, JIT, UTF and UCP). Tokenizer files are written for other engines, so what means something
// else to PCRE2 is rewritten: \s is White_Space of Unicode, \w letters, marks, digits and connectors, \h a hexadecimal
// digit, [a&&[b]] an intersection; and ^ and $ stand at every line.

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace sluice {

class Regex {
 public:
  /// `subject` of the pattern is valid UTF-8. An error gives the offset in the pattern. With `counted` every item that
  /// matching tries is a step in tokenizer_steps, for tests.
  static Result<Regex> compile(std::string_view pattern, bool counted = false);

  struct Match {
    size_t begin = 0, end = 0;
  };
  enum class Outcome { match, none, gave_up /* the pattern needs more steps than a sane one does */ };
  /// The first match at or after `from`; `subject` must be valid UTF-8.
  Outcome find(std::string_view subject, size_t from, Match& match) const;

 private:
  struct Code;
  explicit Regex(std::shared_ptr<const Code> code) : code_(std::move(code)) {}
  std::shared_ptr<const Code> code_;
};

}  // namespace sluice
