#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "lab/kv/long_context_load.h"
#include "lab/report.h"
#include "quant/kv/kv_format.h"
#include "sim/svg_plot.h"

namespace sluice::lab {
namespace {

/// What a row of the table does to the cache.
struct Method {
  std::string name;
  KvFormats kv = kKvF16;
  std::string_view retention = "none";
  int sinks = RetentionOptions{}.sinks;
  double share = 1;  // of the tokens, that stay
  double bytes = 0;  // for each token of the context, what a policy remembers of those that stay included

  Result<LongScore> on(Bench& bench, const LongSet& set) const {
    return score(bench, set, retained(retention, static_cast<int>(share * set.length) / 16 * 16, set.length, sinks), kv);
  }
};

constexpr int kLayersToMerge = 4;  // of which the upper half is a pair

/// The setting's model; where its positions are too few, the one beside it that was stretched.
Result<std::unique_ptr<Bench>> open_long(Setting& setting, int positions) {
  SLUICE_TRY(auto bench, Bench::open(setting));
  const std::string stretched = setting.model + "-32k";
  if (bench->max_positions() >= positions || !std::filesystem::exists(stretched)) return bench;
  setting.model = stretched;
  return Bench::open(setting);
}

/// Formats that keep every token, then what keeps a part of them in f16, in as many bytes as kivi2 takes.
std::vector<Method> methods(Model& model) {
  std::vector<Method> out;
  const auto bytes = [&](const KvFormats& kv) { return kv_token_bytes(model, kv); };
  for (const KvFormat* kv : kv_formats())
    if (kv != &kKvF32) out.push_back({.name = std::string(kv->name), .kv = *kv, .bytes = bytes(*kv)});
  const int layers = model.info().layers;
  if (layers >= kLayersToMerge) {
    auto merged = KvFormats::parse(fmt::format("kivi4,minicache:{}-{}", layers - 2, layers - 1));
    CHECK(merged.ok(), "the format of the upper layers was not understood");
    out.push_back({.name = merged->name(), .kv = *merged, .bytes = bytes(*merged)});
  }
  const double equal = bytes(kKvKivi2), row = bytes(kKvF16);
  out.push_back({.name = "window", .retention = "sink-window", .sinks = 0, .share = equal / row, .bytes = equal});
  for (const RetentionEntry& policy : retention_catalog()) {
    if (policy.name == "none") continue;
    // A score and a position, for every KV head of a layer.
    const double books = policy.make({})->wants_scores() ? 8.0 * model.info().kv_heads * layers : 0;
    out.push_back({.name = std::string(policy.name), .retention = policy.name, .share = equal / (row + books), .bytes = equal});
  }
  return out;
}

struct Row {
  Method method;
  std::map<int, LongScore> scores;  // by length; none where the precondition is absent
};

/// Of all methods at all lengths, the full cache first.
struct Table {
  std::vector<LongSet> sets;        // by length
  std::vector<std::string> absent;  // what could not be asked, and the figure that says why
  std::vector<Row> rows;

  int asked_at(int length) const {
    return std::ranges::find(sets, length, &LongSet::length)->asked();
  }
  std::string text() const {
    std::string out = "| method | bytes a token |", line = "|---|---|";
    for (const LongSet& set : sets) {
      out += fmt::format(" {} |", set.heading());
      line += "---|";
    }
    out += "\n" + line + "\n";
    for (const auto& [method, scores] : rows) {
      out += fmt::format("| {}{} | {:.0f} |", method.name, method.share < 1 ? fmt::format(", {:.1f} % of the tokens", 100 * method.share) : "", method.bytes);
      for (const LongSet& set : sets) {
        const auto s = scores.find(set.length);
        out += fmt::format(" {} |", s == scores.end() ? "precondition absent" : s->second.cell());
      }
      out += "\n";
    }
    out += "\nAnswered right of the questions about a passkey · needles · passages · recurring facts, and the perplexity of the needles' text. Formats keep every token;\n"
           "policies keep a share of them in f16 that takes, with the scores that they go by, as many bytes as kivi2.\n";
    for (const std::string& why : absent) out += fmt::format("\nPrecondition absent: {}.\n", why);
    return out;
  }

  /// What is answered right, and perplexity, against length: formats on the left, policies on the right.
  std::string plot() const {
    std::string svg;
    int x = 0, width = 0, height = 0;
    for (const bool policies : {false, true}) {
      Plot right{policies ? "Retention, in as many bytes as kivi2: answered right" : "Formats: answered right", "tokens of context", "%", {}};
      Plot perplexity{"Perplexity of the text", "tokens of context", "", {}};
      for (const auto& [method, scores] : rows) {
        const bool full = &method == &rows.front().method, f16 = method.share == 1 && method.kv.single() != nullptr && method.kv.single()->elem_bits == 16;
        if (!full && ((method.share < 1) != policies || f16)) continue;
        right.lines.push_back({method.name, {}});
        perplexity.lines.push_back({method.name, {}});
        for (const LongSet& set : sets) {
          const auto s = scores.find(set.length);
          if (s == scores.end()) continue;
          right.lines.back().points.emplace_back(set.length, 100.0 * s->second.answers() / set.asked());
          perplexity.lines.back().points.emplace_back(set.length, s->second.perplexity());
        }
      }
      for (const auto& [y, panel] : {std::pair{0, &right}, {Plot::kHeight, &perplexity}})
        svg += fmt::format("<g transform=\"translate({} {})\">\n{}</g>\n", x, y, panel->to_svg());
      x += Plot::kWidth;
      width = x, height = 2 * Plot::kHeight;
    }
    return fmt::format("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\">\n{2}</svg>\n", width, height, svg);
  }
};

Result<Finding> run_long_context(const Setting& asked) {
  Setting setting = asked;
  std::vector<int> lengths = {4096};
  if (!setting.quick) lengths = {4096, 8192, 16384, 32768};
  SLUICE_TRY(const auto bench, open_long(setting, lengths.back()));
  SLUICE_TRY(const auto tokenizer, tokenizer_of(setting.model));
  Finding f;
  auto facts = FactTokens::of(*tokenizer);
  if (!facts.ok()) {
    f.absent(fmt::format("{}, so questions of the kit's form mean nothing to it (0 asked)", facts.error().message));
    return f;
  }
  SLUICE_TRY(const LongDocuments kit, LongDocuments::make(setting, *facts));

  Table table;
  const Method whole{.name = "full cache (f32)", .kv = kKvF32, .bytes = kv_token_bytes(bench->model(), kKvF32)};
  table.rows.push_back({whole, {}});
  for (Method& method : methods(bench->model())) table.rows.push_back({std::move(method), {}});
  const int layers = bench->model().info().layers;
  if (layers < kLayersToMerge) table.absent.push_back(fmt::format("minicache merges two layers of the upper half, and this model has {} in all", layers));
  for (const int length : lengths) {
    table.sets.push_back(LongSet::make(kit, length));
    const LongSet& set = table.sets.back();
    if (bench->max_positions() < length) {
      table.absent.push_back(fmt::format("the model has {} positions, which {} tokens exceed", number(bench->max_positions()), number(length)));
      continue;
    }
    SLUICE_TRY(const LongScore full, whole.on(*bench, set));
    if (2 * full.answers() < set.asked()) {
      table.absent.push_back(fmt::format("with its full cache the model answers {} of {} at {} tokens ({}), and its perplexity is {:.2f}", full.answers(), set.asked(), number(length),
                                         fmt::join(full.right, " · "), full.perplexity()));
      continue;
    }
    for (Row& row : table.rows) {
      const Method& method = row.method;
      SLUICE_TRY(const LongScore s, &row == &table.rows.front() ? Result<LongScore>(full) : method.on(*bench, set));
      row.scores[length] = s;
      if (method.share < 1)
        f.must(fmt::format("{} holds no more than its share of {} tokens", method.name, length), s.peak_slots <= method.share * length,
               fmt::format("{} slots", s.peak_slots));
      else if (method.kv.single() != nullptr && method.kv.single()->elem_bits >= 8)
        f.must(fmt::format("{} answers what the full cache does, less one in twelve, at {} tokens", method.name, length), s.answers() >= full.answers() - set.asked() / 12,
               fmt::format("{} of {}, {}", s.answers(), set.asked(), full.answers()));
    }
  }

  f.table = table.text();
  const std::map<int, LongScore>& full = table.rows.front().scores;
  if (full.empty()) {
    f.absent(table.absent.back());
    return f;
  }
  const int longest = full.rbegin()->first;
  for (const auto& [method, scores] : table.rows) {
    if (method.name == whole.name) continue;
    f.count(fmt::format("{} ({:.0f} bytes a token), of {} answered right", method.name, method.bytes, table.asked_at(longest)), full.at(longest).answers(), scores.at(longest).answers());
    f.count(fmt::format("{}, perplexity", method.name), full.at(longest).perplexity(), scores.at(longest).perplexity());
  }
  // Of a format whose answers are checked above; those of the others are only counted.
  f.effect = {fmt::format("KV bytes a token, f16 to int8, at {} tokens", number(longest)), "", kv_token_bytes(bench->model(), kKvF16), kv_token_bytes(bench->model(), kKvInt8), Better::lower, false};
  if (full.size() > 1) {
    f.pages.push_back({"long-context.md", fmt::format("# Long contexts\n\nMade by `sluice lab run long-context --full --plot docs/lab`, model `{}`, text `{}`.\n\n{}\n![answers and perplexity against length](long-context.svg)\n",
                                                      setting.model, setting.text, f.table)});
    f.pages.push_back({"long-context.svg", table.plot()});
  }
  return f;
}

}  // namespace

extern const Experiment kLongContext;
const Experiment kLongContext = {
    .name = "long-context",
    .ids = "W7",
    .group = "kv",
    .technique = "Long-context kit: passkey, needles, passages and streamed text, for every KV format and retention policy at equal bytes",
    .paper = "after Mohtashami and Jaggi, Landmark Attention (passkey), 2023; Kamradt, Needle in a Haystack, 2023; Liu et al., Lost in the Middle, 2023",
    .file = "src/lab/long_context.h",
    .flag = "`--kv-cache-dtype`, `--kv-retention`",
    .test = "`src/lab/lab_test.cpp` (the kit), `tests/fidelity/tiny_model_test.cpp` (its questions against transformers)",
    .baseline = "the full cache in float32; a window of as many bytes",
    .workload = "42 questions at the end of 4,096 tokens: a key alone, one of 10, of 100 passages, and of 10 that the text comes back to; the same at 8,192, 16,384 and 32,768 with --full: [table](lab/long-context.md)",
    .holds = "8-bit and wider formats answer what the full cache answers; a policy holds no more than its share",
    .run = run_long_context};

}  // namespace sluice::lab
