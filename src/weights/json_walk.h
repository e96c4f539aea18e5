#pragma once
// Walks a JSON text leaf by leaf without building a tree: memory is bounded by the depth of the text, not by its size.

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "base/result.h"

namespace sluice {

struct JsonNull {};
struct JsonEmpty {};  // [] or {}
/// Unsigned integers above the range of int64 come as double.
using JsonLeaf = std::variant<JsonNull, JsonEmpty, bool, int64_t, double, std::string>;

/// One step from the root to a leaf: an object's key, or an array's index (then `key` is empty).
struct JsonStep {
  std::string key;
  int64_t index = -1;
};

/// Calls `leaf` for each scalar and each empty container, in document order; stops at its first error. The root must be
/// an object. Nesting past 16 levels and invalid JSON are corrupt_data errors that name `origin` and the byte.
Status walk_json(std::string_view text, const std::string& origin,
                 const std::function<Status(std::span<const JsonStep>, JsonLeaf&)>& leaf);

/// "a.b.0": the steps joined by dots.
std::string json_path(std::span<const JsonStep> path);

}  // namespace sluice
