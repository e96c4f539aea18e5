#pragma once
// The flags of one subcommand. Every flag can come from the command line, the environment (SLUICE_MAX_MODEL_LEN for
// --max-model-len) or a YAML file (max-model-len: 4096, under --config), in this order of precedence. An environment
// variable without a value counts as absent.

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"

namespace sluice {

/// A size on the command line: "4G", "512MiB", "1048576". Suffixes K, M, G, T are powers of 1024, with or without iB or
/// B.
struct ByteSize {
  int64_t bytes = 0;
};
Result<ByteSize> parse_byte_size(const std::string& text);
/// "1.50 GiB", for people.
std::string format_bytes(double bytes);

class OptionSet {
 public:
  OptionSet(std::string command, std::string description)
      : command_(std::move(command)), description_(std::move(description)) {}

  /// Shown in --help as a heading for the options added after it.
  void group(std::string name) { group_ = std::move(name); }
  /// `names` is CLI11's form: "-m,--model,model" is a short and a long name and a position. The target holds the
  /// default, and may be given another until parse().
  void add(const std::string& names, std::string& target, const std::string& help);
  void add(const std::string& names, int& target, const std::string& help);
  void add(const std::string& names, int64_t& target, const std::string& help);
  void add(const std::string& names, uint64_t& target, const std::string& help);
  void add(const std::string& names, double& target, const std::string& help);
  void add(const std::string& names, ByteSize& target, const std::string& help);
  void add(const std::string& names, std::vector<std::string>& target, const std::string& help);
  /// Empty unless given.
  void add(const std::string& names, std::optional<int>& target, const std::string& help);
  void add(const std::string& names, std::optional<int64_t>& target, const std::string& help);
  void add(const std::string& names, std::optional<double>& target, const std::string& help);
  /// --name, --name=false and --no-name.
  void add(const std::string& names, bool& target, const std::string& help);

  /// What a flag that users of another program give is called here ("--ctx-size": "--max-model-len"): told to who gives it.
  void called_elsewhere(const std::string& there, std::string here) { elsewhere_[there] = std::move(here); }

  enum class Outcome { run, done };  // done: help was printed
  /// Fills the targets. Unknown flags and keys, and values of a wrong type, are errors that name them.
  Result<Outcome> parse(const std::vector<std::string>& args);
  /// The environment variables of all flags of the commands that `run_all` runs: within it, parse() on this thread only
  /// notes what its set has, and says `done`.
  static std::set<std::string> variables_of(const std::function<void()>& run_all);
  /// Whether the caller runs within variables_of().
  static bool noting_variables();

  /// One line per option: its value and where it came from.
  std::string show() const;
  /// Whether the value came from anywhere but the default.
  bool given(const std::string& long_name) const;
  /// The long names of all those, in the order of their declaration.
  std::vector<std::string> given() const;
  /// Every option with its value as the default: meant before parse(), which prints it for --help.
  std::string help() const;

 private:
  struct Option {
    std::string names, parsed_names, long_name, help, group, type;
    std::vector<std::string> aliases;  // "-np": more than one letter after one dash
    bool is_flag = false, is_list = false;
    std::function<Status(const std::vector<std::string>&)> set;
    std::function<std::string()> get;
    std::string source = "default";
  };
  void add_option(const std::string& names, const std::string& help, std::string type,
                  std::function<Status(const std::vector<std::string>&)> set, std::function<std::string()> get);
  /// That there is more than the flags and positions that are known; `arguments` is not empty.
  Error unexpected(const std::vector<std::string>& arguments) const;
  /// What may have been meant by a flag that is not known, as the end of a sentence; empty when nothing is near.
  std::string closest(const std::string& name) const;
  Status apply_environment();
  Status apply_config(const std::string& path);

  std::string command_, description_, group_ = "Options";
  std::vector<Option> options_;
  std::map<std::string, std::string> elsewhere_;
};

}  // namespace sluice
