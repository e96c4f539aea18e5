#pragma once
// Result<T>: a value or an Error, for what can be expected to go wrong (files, HTTP, configuration, transport).
// Broken invariants use CHECK (base/check.h); "no blocks" and the like use std::optional.

#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "base/check.h"

namespace sluice {

enum class ErrorCode {
  invalid_argument,  // the caller's input is wrong; the message says what would be right
  not_found,
  corrupt_data,      // a file or stream lies about itself or ends early
  unsupported,       // valid, but not something this build can do
  resource_exhausted,  // memory, queue or quota
  unavailable,       // not now: loading, draining
  deadline_exceeded,
  cancelled,
  io,                // the operating system refused
  internal,
};

const char* error_code_name(ErrorCode code);

struct Error {
  ErrorCode code = ErrorCode::internal;
  std::string message;  // what was wrong, where (file, byte, tensor, field), and what would be right
  std::string param;    // the request field or flag at fault, where there is one

  /// The same error with `prefix: ` before its message; used to add the place while it travels up.
  Error in(const std::string& prefix) const { return {code, prefix + ": " + message, param}; }
};

inline Error invalid_argument(std::string message, std::string param = {}) {
  return {ErrorCode::invalid_argument, std::move(message), std::move(param)};
}
inline Error not_found(std::string message) { return {ErrorCode::not_found, std::move(message), {}}; }
inline Error corrupt_data(std::string message) { return {ErrorCode::corrupt_data, std::move(message), {}}; }
inline Error unsupported(std::string message, std::string param = {}) {
  return {ErrorCode::unsupported, std::move(message), std::move(param)};
}
inline Error resource_exhausted(std::string message) { return {ErrorCode::resource_exhausted, std::move(message), {}}; }
inline Error unavailable(std::string message) { return {ErrorCode::unavailable, std::move(message), {}}; }
inline Error io_error(std::string message) { return {ErrorCode::io, std::move(message), {}}; }

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }
  T& value() & { CHECK(ok(), "value() of an error: {}", error().message); return std::get<0>(state_); }
  const T& value() const& { CHECK(ok(), "value() of an error: {}", error().message); return std::get<0>(state_); }
  T&& value() && { CHECK(ok(), "value() of an error: {}", error().message); return std::get<0>(std::move(state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  const Error& error() const { return std::get<1>(state_); }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}
  bool ok() const { return !error_.has_value(); }
  explicit operator bool() const { return ok(); }
  const Error& error() const { return *error_; }

 private:
  std::optional<Error> error_;
};
using Status = Result<void>;

#define SLUICE_CONCAT_(a, b) a##b
#define SLUICE_CONCAT(a, b) SLUICE_CONCAT_(a, b)

/// `SLUICE_TRY(auto x, make_x());` declares x, or returns the error from the enclosing function.
#define SLUICE_TRY(decl, expr)                                       \
  auto SLUICE_CONCAT(result_, __LINE__) = (expr);                    \
  if (!SLUICE_CONCAT(result_, __LINE__).ok())                        \
    return SLUICE_CONCAT(result_, __LINE__).error();                 \
  decl = std::move(SLUICE_CONCAT(result_, __LINE__)).value()

/// Returns the error of a Status from the enclosing function.
#define SLUICE_TRY_STATUS(expr)                                      \
  do {                                                               \
    if (auto status_ = (expr); !status_.ok()) return status_.error(); \
  } while (0)

}  // namespace sluice
