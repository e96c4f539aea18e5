#pragma once
// One subcommand of the binary: one file and one line in main.cpp.

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace sluice {

/// Runs with the arguments after the subcommand's name; returns the exit code, or an error for main() to print.
using CommandMain = Result<int> (*)(const std::vector<std::string>& args);

struct Command {
  std::string_view name, help;
  CommandMain main;
};

Result<int> run_main(const std::vector<std::string>& args);
Result<int> serve_main(const std::vector<std::string>& args);
Result<int> bench_main(const std::vector<std::string>& args);
Result<int> inspect_main(const std::vector<std::string>& args);
Result<int> convert_main(const std::vector<std::string>& args);
Result<int> lab_main(const std::vector<std::string>& args);
Result<int> simulate_main(const std::vector<std::string>& args);
Result<int> tune_main(const std::vector<std::string>& args);

}  // namespace sluice
