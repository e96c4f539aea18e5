#pragma once
// Jinja source -> tokens, with the whitespace rules that Hugging Face sets: trim_blocks and lstrip_blocks.

#include <string>
#include <string_view>
#include <vector>

namespace sluice::jinja {

enum class TokenKind : uint8_t {
  data,            // text to output
  block_begin,     // {%
  block_end,
  variable_begin,  // {{
  variable_end,
  name,
  string,   // text holds the decoded string
  integer,  // text holds the digits, without underscores
  real,
  op,  // an operator or bracket
  end,
};

struct Token {
  TokenKind kind = TokenKind::end;
  std::string text;
  int line = 1;
};

/// The tokens of `source`, closed by one of kind end. Throws TemplateError on malformed input. Linear time.
std::vector<Token> tokenize(std::string_view source);

}  // namespace sluice::jinja
