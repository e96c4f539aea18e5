#pragma once
// What an experiment is, and what it finds: docs/adr/0009-lab.md. One experiment is one file below this folder and one
// line in catalog.cpp.

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace sluice::lab {

enum class Better : uint8_t { higher, lower };

/// Something measured twice: without the technique and with it.
struct Effect {
  std::string what, unit;
  double baseline = 0, technique = 0;
  Better better = Better::lower;
  bool timed = false;  // by a real clock: shown, but no failure when it goes the wrong way

  /// How many times better the technique is: above 1 as expected.
  double gain() const { return better == Better::lower ? baseline / technique : technique / baseline; }
  bool as_expected() const { return gain() >= 1; }
  /// An experiment whose checks say all has none.
  bool none() const { return what.empty(); }
};

/// A count that explains the effect.
struct Counter {
  std::string what;
  double baseline = 0, technique = 0;
};

/// An equality, an invariant or a bound.
struct Check {
  std::string what;
  bool held = false;
  std::string seen;  // figures, above all where it did not hold
};

/// A file that `--plot` writes: a table, or a plot of it.
struct Page {
  std::string name, content;
};

class Finding {
 public:
  enum class State : uint8_t { held, not_held, precondition_absent };

  void must(std::string what, bool held, std::string seen = {}) {
    checks.push_back({std::move(what), held, std::move(seen)});
  }
  void count(std::string what, double baseline, double technique) {
    counters.push_back({std::move(what), baseline, technique});
  }
  /// This model or workload cannot show the effect: `why` holds the figure that says so. Checks still count.
  void absent(std::string why) { absent_ = std::move(why); }
  const std::string& why_absent() const { return absent_; }

  State state() const;

  Effect effect;
  std::vector<Check> checks;
  std::vector<Counter> counters;
  std::string table;        // printed below the row
  std::vector<Page> pages;

 private:
  std::string absent_;
};

/// What experiments run on; `sluice lab run` fills it from its flags.
struct Setting {
  std::string model;   // path of a model that was trained
  std::string text;    // a long one that the model was not trained on
  std::string trace;   // in place of the workload of experiments that read one; "": theirs
  int threads = 0;     // 0: the usable cores
  bool quick = true;   // seconds each; else longer workloads and more repetitions
  std::string scratch; // a folder for files that an experiment makes, empty at first
};

struct Experiment {
  std::string_view name;       // `sluice lab run NAME`
  std::string_view ids;        // in the surveys' catalogue, "V7"
  std::string_view group;      // of the document, and `sluice lab run GROUP`: "kv", "attention", "batching", ...
  std::string_view technique;  // its name in the literature
  std::string_view paper;      // authors, venue, year; "-" where there is none
  std::string_view file;       // where the technique is
  std::string_view flag;       // how it is switched
  std::string_view test;       // what holds it to its promise besides
  std::string_view baseline, workload, holds;
  Result<Finding> (*run)(const Setting&) = nullptr;
  bool reads_trace = false;  // Setting::trace, where it is given
  // Of a technique that no experiment of minutes can show, in place of `run`: what was measured, and by which command.
  std::string_view elsewhere = {};
};

}  // namespace sluice::lab
