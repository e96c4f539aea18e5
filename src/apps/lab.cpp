// sluice lab: shows that each technique works, one experiment per technique (docs/adr/0009-lab.md).

#include <fmt/ranges.h>
#include <stdlib.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "apps/command.h"
#include "apps/progress.h"
#include "apps/text_file.h"
#include "base/clock.h"
#include "base/machine.h"
#include "base/mapped_file.h"
#include "base/options.h"
#include "lab/catalog.h"
#include "lab/gain_plot.h"
#include "lab/report.h"

namespace sluice {
namespace {

/// A folder that is removed when the command ends.
class ScratchFolder {
 public:
  static Result<ScratchFolder> make() {
    std::string path = (std::filesystem::temp_directory_path() / "sluice-lab-XXXXXX").string();
    if (::mkdtemp(path.data()) == nullptr)
      return io_error(fmt::format("no folder could be made for the experiments' files: {}", path));
    return ScratchFolder(std::move(path));
  }
  ScratchFolder(ScratchFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  ~ScratchFolder() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }

 private:
  explicit ScratchFolder(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

Result<int> list() {
  std::string_view group;
  for (const lab::Experiment* x : lab::catalog()) {
    if (x->group != group) std::fputs(fmt::format("{}{}:\n", group.empty() ? "" : "\n", x->group).c_str(), stdout);
    group = x->group;
    std::fputs(fmt::format("  {:<8} {:<22} {}{}\n", x->ids, x->name, x->technique,
                           x->run == nullptr ? " (no experiment: see docs/techniques.md)" : "").c_str(), stdout);
  }
  return 0;
}

Result<int> document(const std::string& path) {
  SLUICE_TRY(const std::string json, read_file(path));
  SLUICE_TRY(const std::string text, lab::document(json, path));
  std::fputs(text.c_str(), stdout);
  return 0;
}

/// "paged, windowed, length-buckets".
std::string readers_of_traces() {
  std::vector<std::string_view> names;
  for (const lab::Experiment* x : lab::catalog())
    if (x->reads_trace) names.push_back(x->name);
  return fmt::format("{}", fmt::join(names, ", "));
}

lab::Entry run_one(const lab::Experiment& experiment, const lab::Setting& setting) {
  RealClock clock;
  const Nanos start = clock.now();
  lab::Entry entry{&experiment, {}, {}, 0};
  auto found = experiment.run(setting);
  if (found.ok()) entry.finding = std::move(found).value();
  else entry.error = found.error().message;
  entry.seconds = static_cast<double>(clock.now() - start) / 1e9;
  return entry;
}

Result<int> run(const std::vector<const lab::Experiment*>& experiments, lab::Setting setting, const std::string& json_path,
                const std::string& plot_folder) {
  SLUICE_TRY(const ScratchFolder scratch, ScratchFolder::make());
  std::vector<lab::Entry> entries;
  int failed = 0, broken = 0, absent = 0;  // broken: of those that failed, those that found nothing
  for (size_t i = 0; i < experiments.size(); ++i) {
    const lab::Experiment& experiment = *experiments[i];
    setting.scratch = scratch.path() + "/" + std::string(experiment.name);
    std::filesystem::create_directory(setting.scratch);
    {
      Progress progress(fmt::format("lab: {}", experiment.name));
      progress.update(static_cast<double>(i), static_cast<double>(experiments.size()));
      entries.push_back(run_one(experiment, setting));
    }
    std::error_code ignored;
    std::filesystem::remove_all(setting.scratch, ignored);
    failed += entries.back().failed();
    broken += !entries.back().error.empty();
    absent += !entries.back().failed() && entries.back().finding.state() == lab::Finding::State::precondition_absent;
    std::fputs((lab::row_text(entries.back()) + "\n").c_str(), stdout);
    if (!entries.back().finding.table.empty()) std::fputs(("\n" + entries.back().finding.table + "\n").c_str(), stdout);
    std::fflush(stdout);
  }
  std::fputs(fmt::format("{} held, {} not held, {} without their precondition{}\n", static_cast<int>(entries.size()) - failed - absent,
                         failed - broken, absent, broken > 0 ? fmt::format(", {} could not run", broken) : "").c_str(), stdout);
  if (!json_path.empty()) {
    const lab::ReportHead head{SLUICE_VERSION, fmt::format("{}, {} cores", cpu_model(), usable_cores()), setting.quick ? "quick" : "full"};
    SLUICE_TRY_STATUS(write_text_file(json_path, lab::to_json(entries, head)));
  }
  if (!plot_folder.empty()) {
    std::error_code failed_to;
    std::filesystem::create_directories(plot_folder, failed_to);
    SLUICE_TRY_STATUS(write_text_file(plot_folder + "/gains.svg", lab::gain_plot(entries)));
    for (const lab::Entry& entry : entries)
      for (const lab::Page& page : entry.finding.pages) SLUICE_TRY_STATUS(write_text_file(plot_folder + "/" + page.name, page.content));
  }
  return failed == 0 ? 0 : 1;
}

}  // namespace

Result<int> lab_main(const std::vector<std::string>& args) {
  lab::Setting setting;
  setting.model = "models/sluice-tiny-2m";
  setting.text = "models/sluice-tiny-2m-32k/held-out.txt";
  std::vector<std::string> names;
  std::string json_path, plot_folder;
  bool all = false, full = false;
  OptionSet options(
      "sluice lab",
      "Shows that each technique works: an experiment per technique, with its baseline, what must hold, and the effect.\n\n"
      "  sluice lab list                     what there is\n"
      "  sluice lab run NAME|GROUP|ID ...    runs these; --all runs all\n"
      "  sluice lab document FILE            docs/techniques.md, from what 'run --all --json FILE' found");
  options.add("--names,names", names, "experiments, groups or ids to run; or the file to make the document from");
  options.add("--all", all, "run every experiment");
  options.add("--full", full, "longer workloads and more repetitions");
  options.add("--model", setting.model, "a trained model, for experiments that need one");
  options.add("--text", setting.text, "a text that the model was not trained on, for long-context");
  options.add("--trace", setting.trace, "a trace in place of the workload of " + readers_of_traces());
  options.add("-t,--threads", setting.threads, "worker threads; 0: the usable cores");
  options.add("--json", json_path, "write what was found to this file too");
  options.add("--plot", plot_folder, "write gains.svg, the effects side by side, to this folder, and what else experiments have to show");
  const bool has_verb = !args.empty() && !args[0].starts_with("-");
  const std::string verb = has_verb ? args[0] : "";
  SLUICE_TRY(const auto outcome, options.parse({args.begin() + has_verb, args.end()}));
  if (outcome == OptionSet::Outcome::done) return 0;
  setting.quick = !full;
  if (verb == "list" && names.empty()) return list();
  if (verb == "document" && names.size() == 1) return document(names[0]);
  if (verb != "run")
    return invalid_argument(fmt::format("the lab does not know '{}'; it knows: list, run NAME ..., document FILE",
                                        fmt::join(args, " ")));
  if (all != names.empty())
    return invalid_argument("name experiments or groups to run, or give --all; 'sluice lab list' shows them", "--names");
  std::vector<const lab::Experiment*> experiments;
  for (const lab::Experiment* x : lab::catalog())
    if (all && x->run != nullptr) experiments.push_back(x);
  for (const std::string& name : names) {
    SLUICE_TRY(const auto found, lab::find_experiments(name));
    experiments.insert(experiments.end(), found.begin(), found.end());
  }
  if (!setting.trace.empty() && std::ranges::none_of(experiments, &lab::Experiment::reads_trace))
    return invalid_argument(fmt::format("no experiment that was chosen reads a trace; these do: {}", readers_of_traces()), "--trace");
  return run(experiments, setting, json_path, plot_folder);
}

}  // namespace sluice
