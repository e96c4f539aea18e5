#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/mapped_file.h"
#include "lab/kv/long_context_load.h"
#include "lab/report.h"

namespace sluice::lab {
namespace {

using Json = nlohmann::json;

/// The model with another rotation: the same files beside another config.json.
Result<std::string> rotated(const Setting& setting, const std::string& name, Json config, Json rotation, int64_t positions) {
  const std::filesystem::path folder = std::filesystem::path(setting.scratch) / name;
  std::filesystem::create_directories(folder);
  for (const auto& file : std::filesystem::directory_iterator(setting.model))
    if (file.path().filename() != "config.json") std::filesystem::create_symlink(std::filesystem::absolute(file.path()), folder / file.path().filename());
  config["rope_parameters"] = std::move(rotation);
  config["max_position_embeddings"] = positions;
  if (!(std::ofstream(folder / "config.json") << config.dump(1))) return io_error(fmt::format("{} cannot be written", (folder / "config.json").string()));
  return folder.string();
}

Result<Finding> run_rope_scaling(const Setting& setting) {
  Finding f;
  if (!std::filesystem::exists(std::filesystem::path(setting.model) / "config.json")) {
    f.absent(fmt::format("{} has no config.json whose rotation could be changed (0 asked)", setting.model));
    return f;
  }
  SLUICE_TRY(const std::string text, read_file((std::filesystem::path(setting.model) / "config.json").string()));
  const Json config = Json::parse(text, nullptr, false);
  SLUICE_TRY(const auto bench, Bench::open(setting));
  SLUICE_TRY(const auto tokenizer, tokenizer_of(setting.model));
  auto facts = FactTokens::of(*tokenizer);
  const auto says = [&](const char* key) { return config.contains(key) && !config[key].is_null(); };
  const Json plain = says("rope_parameters") ? config["rope_parameters"] : Json{{"rope_type", "default"}, {"rope_theta", config.value("rope_theta", 10000.0)}};
  if (!facts.ok() || plain.value("rope_type", "default") != "default" || says("rope_scaling")) {
    f.absent(facts.ok() ? "the model's rotation is scaled already (factor above 1)" : facts.error().message + " (0 asked)");
    return f;
  }
  const int trained = bench->max_positions();
  if (2 * trained <= LongDocuments::kLeast) {
    f.absent(fmt::format("the model has {} positions; the kit's documents have {} tokens and more", trained, LongDocuments::kLeast));
    return f;
  }
  SLUICE_TRY(const LongDocuments kit, LongDocuments::make(setting, *facts));

  const int times = setting.quick ? 2 : 16, longest = times * trained;
  const double theta = plain.value("rope_theta", 10000.0), dims = bench->model().info().head_dim;
  const auto with = [&](Json more) {
    Json rotation = plain;
    rotation.update(more);
    return rotation;
  };
  const auto yarn = [&](int factor) { return with({{"rope_type", "yarn"}, {"factor", factor}, {"original_max_position_embeddings", trained}}); };
  struct Scaling {
    const char* name;
    Json rotation;
    std::vector<LongScore> scores = {};  // by length
  };
  std::vector<Scaling> scalings = {{"as it is", plain},
                                   {"linear", with({{"rope_type", "linear"}, {"factor", times}})},
                                   {"a higher base", with({{"rope_theta", theta * std::pow(times, dims / (dims - 2))}})},
                                   {"YaRN", yarn(times)}};
  std::vector<LongSet> sets;
  for (int length = 2 * trained; length <= longest; length *= 2) sets.push_back(LongSet::make(kit, length));
  f.table = "| rotation |";
  std::string line = "\n|---|";
  for (const LongSet& set : sets) f.table += fmt::format(" {} |", set.heading()), line += "---|";
  f.table += line + "\n";
  for (Scaling& s : scalings) {
    Setting scaled = setting;
    SLUICE_TRY(scaled.model, rotated(setting, s.name, config, s.rotation, longest));
    SLUICE_TRY(const auto model, Bench::open(scaled));
    f.table += fmt::format("| {} |", s.name);
    for (const LongSet& set : sets) {
      SLUICE_TRY(LongScore score_of, score(*model, set, retained("none", 0, set.length), kKvF32));
      f.table += fmt::format(" {} |", score_of.cell());
      s.scores.push_back(std::move(score_of));
    }
    f.table += "\n";
  }
  f.table += fmt::format("\nFor {} times the positions that the model was trained on, by the rotation alone. Answered right of the questions about a passkey · needles · passages · recurring\n"
                         "facts, and the perplexity of the needles' text.\n", times);

  Setting same = setting;
  SLUICE_TRY(same.model, rotated(setting, "by 1", config, yarn(1), trained));
  SLUICE_TRY(const auto unscaled, Bench::open(same));
  std::vector<TokenId> some = kit.needles(LongDocuments::kLeast, 1).tokens;
  some.resize(static_cast<size_t>(std::min(trained - 1, LongDocuments::kLeast)));
  SLUICE_TRY(const Stream of_plain, stream(*bench, retained("none", 0, trained), some));
  SLUICE_TRY(const Stream of_one, stream(*unscaled, retained("none", 0, trained), some));
  f.must("YaRN by a factor of 1 is the plain rotation, to the bit", of_plain.nll == of_one.nll, fmt::format("{} logprobs", of_one.nll.size()));

  const LongScore &before = scalings.front().scores.front(), &after = scalings.back().scores.front();
  const int asked = sets.front().asked();
  f.effect = {fmt::format("answered right of {} at {} tokens, twice as many as trained on: as it is, and YaRN", asked, number(sets.front().length)), "",
              static_cast<double>(before.answers()), static_cast<double>(after.answers()), Better::higher, false};
  if (2 * after.answers() < asked || after.answers() < before.answers() + asked / 8)
    f.absent(fmt::format("YaRN answers {} of {}, the model as it is {}", after.answers(), asked, before.answers()));
  for (size_t i = 1; i < scalings.size(); ++i) {
    if (i + 1 < scalings.size()) f.count(fmt::format("the same, {}", scalings[i].name), before.answers(), scalings[i].scores.front().answers());
    f.count(fmt::format("perplexity, {}", scalings[i].name), before.perplexity(), scalings[i].scores.front().perplexity());
  }
  if (sets.size() > 1) f.pages.push_back({"rope-scaling.md", fmt::format("# Scaled rotations\n\nMade by `sluice lab run rope-scaling --full --plot docs/lab`, model `{}`, text `{}`.\n\n{}", setting.model, setting.text, f.table)});
  return f;
}

}  // namespace

extern const Experiment kRopeScaling;
const Experiment kRopeScaling = {
    .name = "rope-scaling",
    .ids = "W7",
    .group = "kv",
    .technique = "Rotations scaled for longer contexts: linear, a higher base, YaRN",
    .paper = "Chen et al., Position Interpolation, 2023; Peng et al., YaRN, ICLR 2024",
    .file = "src/model/layers/rope_config.cpp",
    .flag = "the model's config (`rope_parameters`, `rope_scaling`)",
    .test = "`src/model/model_test.cpp`, `tests/fidelity/tiny_model_test.cpp` (YaRN, 16,384 tokens)",
    .baseline = "the rotation as it was trained, at positions that it has not seen",
    .workload = "the 42 questions of `long-context` at twice the length that the model was trained on; to 16 times with --full: [table](lab/rope-scaling.md)",
    .holds = "scaled by 1 it is the plain rotation",
    .run = run_rope_scaling};

}  // namespace sluice::lab
