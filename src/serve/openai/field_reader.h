#pragma once
// Reads the fields of a JSON object once each, remembers which were read, and keeps the first error. An absent field
// and null leave the target as it is. Every error names the field, what was given and what is right.

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "sched/sampling_limits.h"
#include "serve/openai/json_text.h"

namespace sluice {

class FieldReader {
 public:
  /// `path` stands before the names in errors, as in "stream_options.". The object must outlive the reader.
  explicit FieldReader(const Json& object, std::string path = {}) : object_(object), path_(std::move(path)) {}

  // True when the field is there and right.
  bool boolean(const char* name, bool& target);
  bool integer(const char* name, int& target, int64_t low, int64_t high);
  bool integer(const char* name, int64_t& target, int64_t low, int64_t high);
  bool number(const NumberLimits& limits, float& target);
  bool string(const char* name, std::string& target);
  /// A string or an array of strings.
  bool strings(const char* name, std::vector<std::string>& target);
  bool integers(const char* name, std::vector<int32_t>& target, int64_t low, int64_t high);
  /// The value as it is; null when absent or null.
  const Json* any(const char* name);
  const Json* array(const char* name, const char* want);
  const Json* object(const char* name, const char* want);
  /// A known field without effect on the answer: any value will do.
  void ignore(const char* name) { seen_.insert(name); }
  /// A known field that is not honoured: only the values of the JSON array `neutral`, which change nothing, are
  /// accepted.
  void only(const char* name, const char* neutral, const char* why);

  /// "temperature is "hot" (a string); it must be a number from 0 to 2". Only the first failure is kept.
  void fail(const std::string& name, const Json& given, const std::string& want);
  void fail(Error error);
  bool failed() const { return error_.has_value(); }
  const Error& error() const { return *error_; }
  /// Fields that nobody asked for, in their order.
  std::vector<std::string> unknown() const;

 private:
  const Json& object_;
  std::string path_;
  std::set<std::string, std::less<>> seen_;
  std::optional<Error> error_;
};

/// The value of a JSON number without a fraction (5 or 5.0), if it fits.
std::optional<int64_t> integral_value(const Json& value);

}  // namespace sluice
