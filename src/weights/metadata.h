#pragma once
// A model's own description: GGUF key-values, or Hugging Face's config.json, read through one interface.
// Nested JSON objects are reached with dots: "rope_scaling.factor".

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"

namespace sluice {

enum class MetadataKind { huggingface, gguf };

/// A scalar or a homogeneous array.
using MetadataValue = std::variant<bool, int64_t, double, std::string, std::vector<int64_t>, std::vector<double>,
                                   std::vector<std::string>>;

class Metadata {
 public:
  Metadata() = default;
  Metadata(MetadataKind kind, std::string origin) : kind_(kind), origin_(std::move(origin)) {}

  MetadataKind kind() const { return kind_; }
  /// The file this came from, for error messages.
  const std::string& origin() const { return origin_; }
  /// config.json's architectures[0] ("LlamaForCausalLM"), or GGUF's general.architecture ("llama").
  std::string architecture() const;

  void set(std::string key, MetadataValue value);
  /// Forgets every key that begins so.
  void remove_prefix(std::string_view prefix);
  /// Notes that the file gives null for `key`, where that differs from not naming it.
  void set_null(std::string key);
  const std::map<std::string, MetadataValue, std::less<>>& values() const { return values_; }
  bool has(std::string_view key) const { return values_.find(key) != values_.end(); }
  const std::set<std::string, std::less<>>& nulls() const { return nulls_; }
  bool is_null(std::string_view key) const { return nulls_.find(key) != nulls_.end(); }

  /// Typed reads. A missing key or a wrong type gives an error naming origin, key and the type wanted; a JSON null
  /// counts as missing. Integers are accepted where a double is wanted.
  Result<int64_t> integer(std::string_view key) const;
  Result<double> number(std::string_view key) const;
  Result<bool> boolean(std::string_view key) const;
  Result<std::string> string(std::string_view key) const;
  Result<std::vector<double>> numbers(std::string_view key) const;
  /// Arrays in place, without a copy (a vocabulary's tokens, merges, types, scores); null when absent or of another
  /// type.
  const std::vector<std::string>* strings(std::string_view key) const;
  const std::vector<int64_t>* integers(std::string_view key) const;
  const std::vector<double>* doubles(std::string_view key) const;

  int64_t integer_or(std::string_view key, int64_t otherwise) const;
  double number_or(std::string_view key, double otherwise) const;
  bool boolean_or(std::string_view key, bool otherwise) const;
  std::string string_or(std::string_view key, std::string_view otherwise) const;

 private:
  MetadataKind kind_ = MetadataKind::huggingface;
  std::string origin_;
  std::map<std::string, MetadataValue, std::less<>> values_;
  std::set<std::string, std::less<>> nulls_;
};

}  // namespace sluice
