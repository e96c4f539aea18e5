#pragma once
// The interpreter's own exception. It never leaves this folder: ChatTemplate turns it into an Error.

#include <fmt/core.h>

#include <string>

#include "base/result.h"

namespace sluice::jinja {

struct TemplateError {
  ErrorCode code = ErrorCode::invalid_argument;
  std::string kind;     // jinja2's class of exception: TypeError, UndefinedError, TemplateSyntaxError, ...
  std::string message;  // worded as jinja2 or Python words it
  int line = 0;         // of the template; 0 where the thrower does not know it
};

[[noreturn]] inline void fail(const char* kind, std::string message) {
  throw TemplateError{ErrorCode::invalid_argument, kind, std::move(message), 0};
}
[[noreturn]] inline void fail_type(std::string message) { fail("TypeError", std::move(message)); }
[[noreturn]] inline void fail_value(std::string message) { fail("ValueError", std::move(message)); }
[[noreturn]] inline void fail_unsupported(std::string message) {
  throw TemplateError{ErrorCode::unsupported, "Unsupported", std::move(message), 0};
}
[[noreturn]] inline void fail_limit(std::string message) {
  throw TemplateError{ErrorCode::resource_exhausted, "Limit", std::move(message), 0};
}
[[noreturn]] inline void fail_syntax(std::string message, int line) {
  throw TemplateError{ErrorCode::invalid_argument, "TemplateSyntaxError", std::move(message), line};
}

}  // namespace sluice::jinja
