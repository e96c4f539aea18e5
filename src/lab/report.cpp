#include "lab/report.h"

#include <fmt/format.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "lab/catalog.h"

namespace sluice::lab {
namespace {

using OrderedJson = nlohmann::ordered_json;

OrderedJson effect_json(const Effect& e) {
  return {{"what", e.what}, {"unit", e.unit}, {"baseline", e.baseline}, {"technique", e.technique},
          {"better", e.better == Better::lower ? "lower" : "higher"}, {"timed", e.timed},
          {"gain", std::isfinite(e.gain()) ? e.gain() : 0}, {"as_expected", e.as_expected()}};
}

/// An object of a report. An error names the field, and by `where` the file and the experiment.
struct Fields {
  const OrderedJson& j;
  std::string where;

  Error wrong(const char* key, const char* wanted) const {
    return corrupt_data(fmt::format("{}{} is {}; {} is wanted", where, key, j.contains(key) ? j[key].dump() : "absent", wanted));
  }
  Result<std::string> text(const char* key) const {
    if (!j.contains(key) || !j[key].is_string()) return wrong(key, "a text");
    return j[key].get<std::string>();
  }
  Result<std::string> text_or_none(const char* key) const { return j.contains(key) ? text(key) : std::string(); }
  Result<double> number(const char* key) const {
    if (!j.contains(key) || !j[key].is_number()) return wrong(key, "a number");
    return j[key].get<double>();
  }
  Result<bool> boolean(const char* key) const {
    if (!j.contains(key) || !j[key].is_boolean()) return wrong(key, "true or false");
    return j[key].get<bool>();
  }
};

Result<Effect> read_effect(const Fields& line) {
  if (!line.j.contains("effect")) return Effect{};
  if (!line.j["effect"].is_object()) return line.wrong("effect", "an object");
  const Fields fields{line.j["effect"], line.where + "effect."};
  Effect e;
  SLUICE_TRY(e.what, fields.text("what"));
  SLUICE_TRY(e.unit, fields.text("unit"));
  SLUICE_TRY(e.baseline, fields.number("baseline"));
  SLUICE_TRY(e.technique, fields.number("technique"));
  SLUICE_TRY(const std::string better, fields.text("better"));
  if (better != "lower" && better != "higher") return fields.wrong("better", "\"lower\" or \"higher\"");
  e.better = better == "lower" ? Better::lower : Better::higher;
  SLUICE_TRY(e.timed, fields.boolean("timed"));
  return e;
}

Result<std::vector<Counter>> read_counters(const Fields& line) {
  if (!line.j.contains("counters") || !line.j["counters"].is_array()) return line.wrong("counters", "an array");
  std::vector<Counter> counters;
  for (const OrderedJson& j : line.j["counters"]) {
    const Fields fields{j, fmt::format("{}counters[{}].", line.where, counters.size())};
    Counter c;
    SLUICE_TRY(c.what, fields.text("what"));
    SLUICE_TRY(c.baseline, fields.number("baseline"));
    SLUICE_TRY(c.technique, fields.number("technique"));
    counters.push_back(std::move(c));
  }
  return counters;
}

std::string counters_text(const std::vector<Counter>& counters) {
  std::string text;
  for (const Counter& c : counters)
    text += fmt::format("{}{} {} to {}", text.empty() ? "" : "; ", c.what, number(c.baseline), number(c.technique));
  return text;
}

}  // namespace

std::string_view state_name(const Entry& entry) {
  if (!entry.error.empty()) return "error";
  switch (entry.finding.state()) {
    case Finding::State::held: return "held";
    case Finding::State::not_held: return "NOT HELD";
    case Finding::State::precondition_absent: return "precondition absent";
  }
  return "";
}

std::string number(double value) {
  if (std::fabs(value) < 100) {
    const int digits = value == 0 ? 0 : std::max(0, 2 - static_cast<int>(std::floor(std::log10(std::fabs(value)))));
    return fmt::format("{:.{}f}", value, value == std::floor(value) ? 0 : digits);
  }
  std::string digits = fmt::format("{:.0f}", value);
  for (int i = static_cast<int>(digits.size()) - 3; i > (value < 0 ? 1 : 0); i -= 3)
    digits.insert(static_cast<size_t>(i), ",");
  return digits;
}

std::string effect_text(const Effect& e) {
  if (e.none()) return "";
  return fmt::format("{}: {} to {}{}{} ({:.2f}x{})", e.what, number(e.baseline), number(e.technique),
                     e.unit.empty() ? "" : " ", e.unit, e.gain(), e.as_expected() ? "" : ", NOT as expected");
}

std::string row_text(const Entry& entry) {
  const Experiment& x = *entry.experiment;
  std::string text = fmt::format("{:<8} {:<22} {:<8}", x.ids, x.name, state_name(entry));
  if (!entry.error.empty()) return text + " " + entry.error;
  const std::string counters = counters_text(entry.finding.counters);
  const char* before = " ";
  for (const std::string& part : {entry.finding.why_absent(), effect_text(entry.finding.effect), counters})
    if (!part.empty()) text += before + part, before = "; ";
  for (const Check& check : entry.finding.checks)
    if (!check.held) text += fmt::format("\n         did not hold: {} ({})", check.what, check.seen);
  return text;
}

std::string to_json(const std::vector<Entry>& entries, const ReportHead& head) {
  OrderedJson out = {{"version", head.version}, {"machine", head.machine}, {"setting", head.setting}};
  for (const Entry& entry : entries) {
    const Finding& f = entry.finding;
    OrderedJson checks = OrderedJson::array(), counters = OrderedJson::array();
    for (const Check& c : f.checks) checks.push_back({{"what", c.what}, {"held", c.held}, {"seen", c.seen}});
    for (const Counter& c : f.counters)
      counters.push_back({{"what", c.what}, {"baseline", c.baseline}, {"technique", c.technique}});
    OrderedJson line = {{"name", entry.experiment->name}, {"ids", entry.experiment->ids}, {"state", state_name(entry)},
                 {"seconds", std::round(entry.seconds * 100) / 100}};
    if (!entry.error.empty()) line["error"] = entry.error;
    if (!f.why_absent().empty()) line["absent"] = f.why_absent();
    if (!f.effect.none()) line["effect"] = effect_json(f.effect);
    line["counters"] = std::move(counters);
    line["checks"] = std::move(checks);
    out["experiments"].push_back(std::move(line));
  }
  return out.dump(1) + "\n";
}

namespace {
/// A bar would end the table's cell.
std::string in_cell(std::string_view text) {
  std::string out;
  for (const char c : text) out += c == '|' ? std::string("\\|") : std::string(1, c);
  return out;
}
}  // namespace

Result<std::string> document(const std::string& json, const std::string& origin) {
  const OrderedJson in = OrderedJson::parse(json, nullptr, false);
  if (in.is_discarded() || !in.contains("experiments") || !in["experiments"].is_array())
    return invalid_argument(origin + " is no report of 'sluice lab run --json'", origin);
  const Fields head{in, origin + ": "};
  SLUICE_TRY(const std::string machine, head.text_or_none("machine"));
  SLUICE_TRY(const std::string setting, head.text_or_none("setting"));
  SLUICE_TRY(const std::string version, head.text_or_none("version"));
  std::map<std::string, const OrderedJson*> found;
  for (size_t i = 0; i < in["experiments"].size(); ++i) {
    const OrderedJson& line = in["experiments"][i];
    SLUICE_TRY(const std::string name, (Fields{line, fmt::format("{}: experiments[{}].", origin, i)}.text("name")));
    found[name] = &line;
  }
  std::string text = fmt::format(
      "# Techniques\n\n"
      "Made by `sluice lab document docs/lab/lab.json`; what it shows was found by `sluice lab run --all --json docs/lab/lab.json --plot docs/lab` on\n"
      "{}, {} setting, sluice {}.\n"
      "Only what works has a row. *Effect* is the baseline's figure, then the technique's; behind it the counts that explain it. Figures of the\n"
      "simulator and counts are the same on every machine; times are this one's. `sluice lab run NAME` shows a row again, on any model (`--model`).\n\n"
      "![How many times better each technique is than its baseline](lab/gains.svg)\n",
      machine, setting, version);
  std::string_view group;
  for (const Experiment* x : catalog()) {
    if (x->group != group) {
      group = x->group;
      text += fmt::format("\n## {}\n\n| id | technique | source | file | flag | must hold | effect | test |\n"
                          "|---|---|---|---|---|---|---|---|\n", group);
    }
    std::string effect(x->elsewhere);
    if (x->run != nullptr) {
      const auto line = found.find(std::string(x->name));
      if (line == found.end())
        return invalid_argument(fmt::format("{} lacks the experiment '{}': run 'sluice lab run --all --json {}'", origin,
                                            x->name, origin), origin);
      const Fields fields{*line->second, fmt::format("{}: {}: ", origin, x->name)};
      SLUICE_TRY(const Effect measured, read_effect(fields));
      SLUICE_TRY(const std::vector<Counter> counters, read_counters(fields));
      SLUICE_TRY(const std::string state, fields.text("state"));
      SLUICE_TRY(const std::string absent, fields.text_or_none("absent"));
      effect = fmt::format("`{}`, {}: {}", x->name, state, x->workload);
      for (const std::string& part : {effect_text(measured), counters_text(counters), absent})
        if (!part.empty()) effect += "; " + part;
    }
    text += fmt::format("| {} | {} | {} | `{}` | {} | {} | {} | {} |\n", x->ids, in_cell(x->technique), in_cell(x->paper), x->file, in_cell(x->flag),
                        in_cell(x->holds), in_cell(effect), in_cell(x->test));
  }
  return text;
}

}  // namespace sluice::lab
