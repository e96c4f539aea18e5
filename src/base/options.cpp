#include "base/options.h"

#include <yaml-cpp/yaml.h>
#include <CLI/CLI.hpp>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <deque>

#include "base/edit_distance.h"

namespace sluice {
namespace {

std::string env_name(const std::string& long_name) {
  std::string name = "SLUICE_";
  for (const char c : long_name)
    name += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return name;
}

template <class T>
Status parse_number(const std::string& text, T& target) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    return invalid_argument(
        fmt::format("'{}' is not {}", text, std::is_floating_point_v<T> ? "a number" : "a whole number that fits"));
  target = value;
  return {};
}

template <class T>
std::string text_of(const std::optional<T>& value) {
  return value ? fmt::format("{}", *value) : "";
}

thread_local std::set<std::string>* noted_variables = nullptr;  // within variables_of()

Status parse_bool(const std::string& text, bool& target) {
  if (text == "true" || text == "1" || text == "yes" || text == "on" || text.empty())
    target = true;
  else if (text == "false" || text == "0" || text == "no" || text == "off")
    target = false;
  else
    return invalid_argument(fmt::format("'{}' is neither true nor false", text));
  return {};
}

}  // namespace

Result<ByteSize> parse_byte_size(const std::string& text) {
  size_t used = 0;
  double value = -1;
  try {
    value = std::stod(text, &used);
  } catch (const std::exception&) {}
  std::string suffix = text.substr(std::min(used, text.size()));
  for (const char* tail : {"iB", "ib", "B", "b"})
    if (suffix.ends_with(tail)) {
      suffix.resize(suffix.size() - std::string(tail).size());
      break;
    }
  const std::string units = "KMGT";
  if (suffix.size() == 1 && units.find(static_cast<char>(std::toupper(suffix[0]))) != std::string::npos)
    value *= std::pow(1024.0, static_cast<double>(units.find(static_cast<char>(std::toupper(suffix[0]))) + 1));
  else if (!suffix.empty())
    value = -1;
  if (!(value >= 0) || value > 9e18)
    return invalid_argument(fmt::format("'{}' is not a size such as 4G, 512M or 1048576", text));
  return ByteSize{static_cast<int64_t>(value)};
}

std::string format_bytes(double bytes) {
  const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  int unit = 0;
  while (bytes >= 1024 && unit < 4) bytes /= 1024, ++unit;
  return unit == 0 ? fmt::format("{} B", static_cast<int64_t>(bytes)) : fmt::format("{:.2f} {}", bytes, units[unit]);
}

void OptionSet::add_option(const std::string& names, const std::string& help, std::string type,
                           std::function<Status(const std::vector<std::string>&)> set,
                           std::function<std::string()> get) {
  Option option;
  option.names = names;
  const size_t dashes = names.find("--");
  CHECK(dashes != std::string::npos, "option '{}' needs a long name", names);
  option.long_name = names.substr(dashes + 2, names.find(',', dashes) - dashes - 2);
  // CLI11 takes one letter after one dash; "-np", as llama.cpp spells it, is translated before it sees the arguments.
  for (const std::string& name : CLI::detail::split(names, ',')) {
    if (name.size() > 2 && name[0] == '-' && name[1] != '-')
      option.aliases.push_back(name);
    else
      option.parsed_names += (option.parsed_names.empty() ? "" : ",") + name;
  }
  option.help = help;
  option.group = group_;
  option.type = std::move(type);
  option.set = std::move(set);
  option.get = std::move(get);
  options_.push_back(std::move(option));
}

void OptionSet::add(const std::string& names, std::string& target, const std::string& help) {
  add_option(
      names, help, "TEXT",
      [&target](const auto& v) {
        target = v.back();
        return Status();
      },
      [&target] { return target; });
}
void OptionSet::add(const std::string& names, int& target, const std::string& help) {
  add_option(
      names, help, "INT", [&target](const auto& v) { return parse_number(v.back(), target); },
      [&target] { return std::to_string(target); });
}
void OptionSet::add(const std::string& names, int64_t& target, const std::string& help) {
  add_option(
      names, help, "INT", [&target](const auto& v) { return parse_number(v.back(), target); },
      [&target] { return std::to_string(target); });
}
void OptionSet::add(const std::string& names, uint64_t& target, const std::string& help) {
  add_option(
      names, help, "INT", [&target](const auto& v) { return parse_number(v.back(), target); },
      [&target] { return std::to_string(target); });
}
void OptionSet::add(const std::string& names, double& target, const std::string& help) {
  add_option(
      names, help, "NUMBER", [&target](const auto& v) { return parse_number(v.back(), target); },
      [&target] { return fmt::format("{}", target); });
}
void OptionSet::add(const std::string& names, std::optional<int>& target, const std::string& help) {
  add_option(
      names, help, "INT", [&target](const auto& v) { return parse_number(v.back(), target.emplace()); },
      [&target] { return text_of(target); });
}
void OptionSet::add(const std::string& names, std::optional<int64_t>& target, const std::string& help) {
  add_option(
      names, help, "INT", [&target](const auto& v) { return parse_number(v.back(), target.emplace()); },
      [&target] { return text_of(target); });
}
void OptionSet::add(const std::string& names, std::optional<double>& target, const std::string& help) {
  add_option(
      names, help, "NUMBER", [&target](const auto& v) { return parse_number(v.back(), target.emplace()); },
      [&target] { return text_of(target); });
}
void OptionSet::add(const std::string& names, ByteSize& target, const std::string& help) {
  add_option(
      names, help, "SIZE",
      [&target](const auto& v) -> Status {
        SLUICE_TRY(target, parse_byte_size(v.back()));
        return {};
      },
      [&target] { return target.bytes == 0 ? "0" : format_bytes(static_cast<double>(target.bytes)); });
}
void OptionSet::add(const std::string& names, std::vector<std::string>& target, const std::string& help) {
  add_option(
      names, help, "TEXT,...",
      [&target](const auto& v) {
        target.clear();
        for (const std::string& part : v)
          for (std::string& item : CLI::detail::split(part, ',')) target.push_back(std::move(item));
        return Status();
      },
      [&target] {
        std::string text;
        for (const auto& s : target) text += (text.empty() ? "" : ",") + s;
        return text;
      });
  options_.back().is_list = true;
}
void OptionSet::add(const std::string& names, bool& target, const std::string& help) {
  add_option(
      names, help, "", [&target](const auto& v) { return parse_bool(v.back(), target); },
      [&target] { return target ? "true" : "false"; });
  options_.back().is_flag = true;
}

std::set<std::string> OptionSet::variables_of(const std::function<void()>& run_all) {
  std::set<std::string> names;
  noted_variables = &names;
  run_all();
  noted_variables = nullptr;
  return names;
}

bool OptionSet::noting_variables() { return noted_variables != nullptr; }

Result<OptionSet::Outcome> OptionSet::parse(const std::vector<std::string>& args) {
  if (noted_variables != nullptr) {
    for (const Option& option : options_) noted_variables->insert(env_name(option.long_name));
    return Outcome::done;
  }
  std::vector<std::string> translated = args;
  for (std::string& arg : translated)
    for (const Option& option : options_)
      for (const std::string& alias : option.aliases)
        if (arg == alias) arg = "--" + option.long_name;
  CLI::App app(description_, command_);
  app.allow_extras();   // what it does not know is told below
  app.set_help_flag();  // ours, so that it prints what we say and nothing is thrown for it
  bool wants_help = false;
  std::string config;
  app.add_flag("-h,--help", wants_help);
  app.add_option("--config", config);
  std::vector<std::vector<std::string>> values(options_.size());
  std::deque<bool> flags(options_.size());
  std::vector<CLI::Option*> parsed;
  for (size_t i = 0; i < options_.size(); ++i) {
    const Option& option = options_[i];
    CLI::Option* made;
    if (option.is_flag) {
      made = app.add_flag(option.parsed_names + ",!--no-" + option.long_name, flags[i]);
    } else {
      made = app.add_option(option.parsed_names, values[i]);
      made->expected(1)->allow_extra_args(false)->multi_option_policy(
          option.is_list ? CLI::MultiOptionPolicy::TakeAll : CLI::MultiOptionPolicy::TakeLast);
      // A list that has a position takes all that stand there.
      if (option.is_list && made->get_positional()) made->expected(1, 1 << 20)->allow_extra_args(true);
    }
    parsed.push_back(made);
  }
  try {
    std::reverse(translated.begin(), translated.end());
    app.parse(std::move(translated));
  } catch (const CLI::Error& e) {
    return invalid_argument(fmt::format("{} (see '{} --help')", e.what(), command_));
  }
  if (app.remaining_size() > 0) return unexpected(app.remaining());
  if (wants_help) {
    std::fputs(help().c_str(), stdout);
    return Outcome::done;
  }
  if (config.empty())
    if (const char* from_env = std::getenv("SLUICE_CONFIG")) config = from_env;
  if (!config.empty()) SLUICE_TRY_STATUS(apply_config(config));
  SLUICE_TRY_STATUS(apply_environment());
  for (size_t i = 0; i < options_.size(); ++i) {
    if (parsed[i]->count() == 0) continue;
    Option& option = options_[i];
    if (option.is_flag) values[i] = {flags[i] ? "true" : "false"};
    if (const Status status = option.set(values[i]); !status.ok()) return status.error().in("--" + option.long_name);
    option.source = "command line";
  }
  return Outcome::run;
}

std::string OptionSet::closest(const std::string& name) const {
  std::string dashed = name;
  std::ranges::replace(dashed, '_', '-');
  if (const auto at = elsewhere_.find(dashed); at != elsewhere_.end()) return fmt::format("; here that is {}", at->second);
  std::vector<std::string> known = {"--help", "--config"};
  for (const Option& option : options_) {
    for (const std::string& each : CLI::detail::split(option.names, ','))
      if (each[0] == '-') known.push_back(each);  // not a position's
    if (option.is_flag) known.push_back("--no-" + option.long_name);
  }
  const auto distance = [&](const std::string& other) { return edit_distance(name, other); };
  const std::string best = *std::ranges::min_element(known, {}, distance);
  const size_t letters = name.size() - std::min(name.find_first_not_of('-'), name.size());
  return 2 * distance(best) <= letters ? fmt::format("; the closest that is known is {}", best) : "";
}

Error OptionSet::unexpected(const std::vector<std::string>& arguments) const {
  // A flag comes first: what else is left over may be its value, or the position of which its value took the place.
  for (const std::string& argument : arguments) {
    if (argument == "--") break;
    if (argument.size() < 2 || argument[0] != '-' || std::isdigit(static_cast<unsigned char>(argument[1]))) continue;
    const std::string flag = argument.substr(0, argument.find('='));
    return invalid_argument(fmt::format("there is no flag {}{} (see '{} --help')", flag, closest(flag), command_),
                            flag);
  }
  const auto first = std::ranges::find_if(arguments, [](const std::string& a) { return a != "--"; });
  return invalid_argument(fmt::format("the argument '{}' was not expected (see '{} --help')",
                                      first != arguments.end() ? *first : "--", command_));
}

Status OptionSet::apply_environment() {
  for (Option& option : options_) {
    const std::string name = env_name(option.long_name);
    const char* value = std::getenv(name.c_str());
    if (value == nullptr || *value == '\0') continue;  // set to nothing, as containers do, is not set
    if (const Status status = option.set({value}); !status.ok())
      return status.error().in("environment variable " + name);
    option.source = "environment " + name;
  }
  return {};
}

Status OptionSet::apply_config(const std::string& path) {
  try {
    const YAML::Node root = YAML::LoadFile(path);
    if (!root.IsMap() && !root.IsNull())
      return invalid_argument(fmt::format("{}: a map of flags to values is wanted", path));
    for (const auto& entry : root) {
      std::string key = entry.first.as<std::string>();
      std::replace(key.begin(), key.end(), '_', '-');
      const auto option =
          std::find_if(options_.begin(), options_.end(), [&](const Option& o) { return o.long_name == key; });
      const std::string where = fmt::format("{}:{}: {}", path, entry.first.Mark().line + 1, key);
      if (option == options_.end())
        return invalid_argument(fmt::format("{} is no flag of '{}'{}", where, command_, closest("--" + key)));
      std::vector<std::string> values;
      if (entry.second.IsSequence() && option->is_list)
        for (const auto& item : entry.second) values.push_back(item.as<std::string>());
      else if (entry.second.IsScalar())
        values = {entry.second.as<std::string>()};
      else
        return invalid_argument(fmt::format("{}: a single value is wanted", where));
      if (const Status status = option->set(values); !status.ok()) return status.error().in(where);
      option->source = fmt::format("file {}", path);
    }
  } catch (const YAML::BadFile&) {
    return not_found(fmt::format("--config: cannot read {}", path));
  } catch (const YAML::Exception& e) {
    return invalid_argument(fmt::format("{}:{}: {}", path, e.mark.line + 1, e.msg));
  }
  return {};
}

std::string OptionSet::show() const {
  std::string out;
  for (const Option& option : options_) {
    const bool secret = option.long_name.ends_with("api-key") && !option.get().empty();
    out += fmt::format("{:<28} {:<32} {}\n", option.long_name, secret ? "(hidden)" : option.get(), option.source);
  }
  return out;
}

bool OptionSet::given(const std::string& long_name) const {
  for (const Option& option : options_)
    if (option.long_name == long_name) return option.source != "default";
  CHECK(false, "no option {}", long_name);
}

std::vector<std::string> OptionSet::given() const {
  std::vector<std::string> names;
  for (const Option& option : options_)
    if (option.source != "default") names.push_back(option.long_name);
  return names;
}

std::string OptionSet::help() const {
  std::string out = fmt::format("{}\n\nusage: {}", description_, command_);
  auto position_of = [](const Option& o) {
    const size_t comma = o.names.rfind(',');
    const std::string last = comma == std::string::npos ? o.names : o.names.substr(comma + 1);
    return last[0] == '-' ? std::string() : last;
  };
  for (const Option& option : options_)
    if (const std::string position = position_of(option); !position.empty()) out += " [" + position + "]";
  out += " [flags]\n";
  std::string group;
  for (const Option& option : options_) {
    if (option.group != group) {
      group = option.group;
      out += "\n" + group + ":\n";
    }
    std::string names = option.names;
    if (const std::string position = position_of(option); !position.empty())
      names.resize(names.size() - position.size() - 1);
    std::string left;
    for (const char c : names) left += c == ',' ? std::string(", ") : std::string(1, c);
    if (option.is_flag) left.insert(left.find("--") + 2, "[no-]");
    if (!option.type.empty()) left += " " + option.type;
    std::string text = option.help;
    if (const std::string value = option.get(); !value.empty()) text += " [" + value + "]";
    // Wrapped at 100 columns behind a margin of 38.
    constexpr size_t kMargin = 38, kWidth = 66;
    out += fmt::format("  {:<{}}", left, kMargin - 2);
    if (left.size() >= kMargin - 2) out += "\n" + std::string(kMargin, ' ');
    while (text.size() > kWidth) {
      size_t cut = text.rfind(' ', kWidth);
      if (cut == std::string::npos) cut = kWidth;
      out += text.substr(0, cut) + "\n" + std::string(kMargin, ' ');
      text = text.substr(cut + 1);
    }
    out += text + "\n";
  }
  out += fmt::format(
      "\nEvery flag can also be set by an environment variable (SLUICE_MAX_MODEL_LEN for --max-model-len) or in a\n"
      "YAML file (--config FILE; key max-model-len). The command line wins over the environment, which wins over\n"
      "the file.\n");
  return out;
}

}  // namespace sluice
