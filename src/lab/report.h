#pragma once
// What the lab says: rows for people, JSON, and docs/techniques.md.

#include <string>
#include <vector>

#include "lab/experiment.h"

namespace sluice::lab {

/// One experiment and what it found, or why it could not run.
struct Entry {
  const Experiment* experiment = nullptr;
  Finding finding;
  std::string error;  // not empty: it could not run
  double seconds = 0;

  bool failed() const { return !error.empty() || finding.state() == Finding::State::not_held; }
};

/// "held", "NOT HELD", "precondition absent" or "error".
std::string_view state_name(const Entry& entry);
/// 1234.5 as "1,235" and 0.01234 as "0.0123": three digits that count, or whole numbers with commas.
std::string number(double value);
/// "TTFT of the later requests: 310 to 12.0 ms (25.8x)".
std::string effect_text(const Effect& effect);
/// A row, and below it the checks that failed.
std::string row_text(const Entry& entry);

struct ReportHead {
  std::string version, machine, setting;
};
std::string to_json(const std::vector<Entry>& entries, const ReportHead& head);
/// The document: every experiment of the catalog, with what `json` (as to_json() wrote it) says it found. Errors name
/// an experiment that the file lacks, or the field of one that is not as it should be.
Result<std::string> document(const std::string& json, const std::string& origin);

}  // namespace sluice::lab
