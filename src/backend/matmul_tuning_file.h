#pragma once
// Measured plans as a JSON file, one per machine, table and thread count.

#include <span>
#include <string>
#include <vector>

#include "backend/matmul_tuning.h"

namespace sluice {

/// What a measurement holds for.
struct TuningKey {
  std::string cpu;  // cpu_model()
  std::string isa;
  int threads = 1;
};

/// A name of [a-z0-9-] and ".json" that says all of the key, and the version.
std::string tuning_file_name(const TuningKey& key);
std::string tuning_text(const TuningKey& key, std::span<const TunedPlan> tuned);
/// What tuning_text() wrote. corrupt_data for what it cannot have written, plans included that are no candidates here;
/// unsupported for another key's or version's file.
Result<std::vector<TunedPlan>> parse_tuning(const std::string& text, const TuningKey& key, const OpTable& table);

}  // namespace sluice
