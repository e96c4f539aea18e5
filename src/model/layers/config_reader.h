#pragma once
// Reads a model's settings under either of their names, with bounds, and refuses the ones that would change the output
// in a way that the family does not compute. Every error names the file and the key.

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "weights/metadata.h"

namespace sluice {

/// One setting under its two names; an empty name means that this kind of file does not have it. GGUF names stand
/// without the architecture that prefixes them in the file: "embedding_length".
struct ConfigKey {
  std::string_view hf, gguf;  // which outlive the reader
};

/// The number with the fewest digits for which `same` holds, near `value`; as float32, where that is what it is of.
double simplest_number(double value, const std::function<bool(double)>& same);
double simplest_number(double value);

class ConfigReader {
 public:
  explicit ConfigReader(const Metadata& metadata) : metadata_(metadata) {}

  const Metadata& metadata() const { return metadata_; }
  bool is_gguf() const { return metadata_.kind() == MetadataKind::gguf; }
  /// The key as it stands in this file: "hidden_size", "llama.embedding_length"; empty when this kind has none.
  std::string name(ConfigKey key) const;
  bool has(ConfigKey key) const;
  /// Whether the file says null: "none", where a missing key may mean a default.
  bool is_null(ConfigKey key) const;

  /// An integer in [lo, hi]; an error when missing.
  Result<int64_t> integer(ConfigKey key, int64_t lo, int64_t hi) const;
  /// As integer(), but `otherwise` when missing.
  Result<int64_t> integer_or(ConfigKey key, int64_t otherwise, int64_t lo, int64_t hi) const;
  /// A finite number in [lo, hi]; an error when missing.
  Result<double> number(ConfigKey key, double lo, double hi) const;
  Result<double> number_or(ConfigKey key, double otherwise, double lo, double hi) const;
  Result<bool> boolean_or(ConfigKey key, bool otherwise) const;
  Result<std::string> string_or(ConfigKey key, std::string_view otherwise) const;

  /// An array of so many integers or numbers in [lo, hi] each; a single one stands for all of them.
  Result<std::vector<int64_t>> integers(ConfigKey key, size_t count, int64_t lo, int64_t hi) const;
  Result<std::vector<double>> numbers(ConfigKey key, size_t count, double lo, double hi) const;

  /// What a converter writes down in the other kind of file: every setting that was read, defaults included. A family adds what
  /// it derived, and takes back what does not apply.
  void note(ConfigKey key, MetadataValue value) const;
  void forget(ConfigKey key) const;
  /// Of a GGUF: config.json has to say null, since leaving the key out means something else there.
  void note_null(std::string_view hf) const { nulls_.push_back(hf); }
  const std::vector<std::string_view>& nulls() const { return nulls_; }
  /// Of a GGUF, which has biases or has not: config.json says so under this key.
  void note_biases(std::string_view hf) const { biases_.push_back(hf); }
  const std::vector<std::string_view>& biases() const { return biases_; }
  const std::vector<std::pair<ConfigKey, MetadataValue>>& notes() const { return notes_; }
  /// Where `differs`: the model has a setting that the other kind of file has no key for ("num_experts is 3").
  void cannot_be_said(bool differs, std::string what) const {
    if (differs && unsaid_.empty()) unsaid_ = std::move(what);
  }
  const std::string& unsaid() const { return unsaid_; }

  /// Fails unless the key is missing or has exactly this value.
  Status only(ConfigKey key, const MetadataValue& value) const;

  /// "config.json: hidden_size <problem>".
  Error invalid(ConfigKey key, std::string_view problem) const;
  Error refused(ConfigKey key, std::string_view problem) const;

 private:
  const Metadata& metadata_;
  mutable std::vector<std::pair<ConfigKey, MetadataValue>> notes_;
  mutable std::vector<std::string_view> nulls_, biases_;
  mutable std::string unsaid_;
};

}  // namespace sluice
