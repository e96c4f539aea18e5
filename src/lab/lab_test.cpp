#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "lab/catalog.h"
#include "lab/gain_plot.h"
#include "lab/long_context.h"
#include "lab/report.h"
#include "lab/workloads.h"

namespace sluice::lab {
namespace {

Finding with_effect(double baseline, double technique, bool timed) {
  Finding f;
  f.effect = {"time", "ms", baseline, technique, Better::lower, timed};
  return f;
}

TEST(Finding, FailsWhereACheckOrACountedEffectDoes) {
  EXPECT_EQ(with_effect(10, 5, false).state(), Finding::State::held);
  EXPECT_EQ(with_effect(5, 10, false).state(), Finding::State::not_held);
  EXPECT_EQ(with_effect(5, 10, true).state(), Finding::State::held);  // no test asserts a time
  Finding f = with_effect(10, 5, true);
  f.absent("no room");
  EXPECT_EQ(f.state(), Finding::State::precondition_absent);
  f.must("equal", false, "1 and 2");
  EXPECT_EQ(f.state(), Finding::State::not_held);
  const Entry entry{catalog()[0], f, {}, 0};
  EXPECT_TRUE(entry.failed());
  EXPECT_NE(row_text(entry).find("did not hold: equal (1 and 2)"), std::string::npos) << row_text(entry);
}

TEST(Finding, WithoutAnEffectItHoldsByItsChecks) {
  Finding f;
  f.must("equal", true);
  EXPECT_EQ(f.state(), Finding::State::held);
  const std::string json = to_json({{catalog()[0], f, {}, 1}}, {"1", "a machine", "quick"});
  EXPECT_EQ(json.find("effect"), std::string::npos) << json;
  EXPECT_EQ(gain_plot({{catalog()[0], f, {}, 1}}).find(std::string(catalog()[0]->name) + " ("), std::string::npos) << "a bar of nothing";
  f.must("ordered", false);
  EXPECT_EQ(f.state(), Finding::State::not_held);
}

TEST(Finding, NumbersHaveThreeDigitsThatCount) {
  EXPECT_EQ(number(1234567.8), "1,234,568");
  EXPECT_EQ(number(0.01234), "0.0123");
  EXPECT_EQ(number(12.345), "12.3");
  EXPECT_EQ(number(7), "7");
  EXPECT_EQ(number(-1500), "-1,500");
  EXPECT_EQ(number(-150), "-150");
}

TEST(Catalog, NamesAreDistinctAndTheFilesExist) {
  std::set<std::string_view> names;
  for (const Experiment* x : catalog()) {
    EXPECT_TRUE(names.insert(x->name).second) << x->name;
    EXPECT_TRUE(std::filesystem::exists(std::filesystem::path(SLUICE_SOURCE_DIR) / x->file)) << x->file;
    EXPECT_EQ(x->run == nullptr, !x->elsewhere.empty()) << x->name;
    for (const std::string_view text : {x->group, x->technique, x->paper, x->flag, x->test, x->holds})
      EXPECT_FALSE(text.empty()) << x->name;
  }
  EXPECT_GE(find_experiments("V7")->size(), 2u);  // the tree, and the order of the queue that goes with it
  EXPECT_GT(find_experiments("kv")->size(), 1u);
  const auto unknown = find_experiments("V");
  ASSERT_FALSE(unknown.ok());
  EXPECT_NE(unknown.error().message.find("radix"), std::string::npos);
}

TEST(Document, IsMadeFromAReportAndMissesNothing) {
  std::vector<Entry> entries;
  for (const Experiment* x : catalog()) entries.push_back({x, with_effect(10, 5, true), {}, 1});
  const auto text = document(to_json(entries, {"1", "a machine", "quick"}), "lab.json");
  ASSERT_TRUE(text.ok()) << text.error().message;
  for (const Experiment* x : catalog()) EXPECT_NE(text->find(x->technique), std::string::npos) << x->name;
  entries.pop_back();
  const auto lacking = document(to_json(entries, {"1", "a machine", "quick"}), "lab.json");
  ASSERT_FALSE(lacking.ok());
  EXPECT_NE(lacking.error().message.find("lacks"), std::string::npos);
  EXPECT_FALSE(document("{}", "lab.json").ok());
}

TEST(Document, NamesTheExperimentAndTheFieldThatIsWrong) {
  std::vector<Entry> entries;
  for (const Experiment* x : catalog()) entries.push_back({x, with_effect(10, 5, true), {}, 1});
  entries[0].finding.count("blocks", 1, 2);
  const std::string first(catalog()[0]->name);
  const nlohmann::json good = nlohmann::json::parse(to_json(entries, {"1", "a machine", "quick"}));
  const auto refused = [](const nlohmann::json& report) {
    const auto text = document(report.dump(), "lab.json");
    if (text.ok()) return std::string("it was taken");
    EXPECT_EQ(text.error().code, ErrorCode::corrupt_data);
    return text.error().message;
  };
  using Path = nlohmann::json::json_pointer;
  for (const auto& [at, value, message] : std::vector<std::tuple<const char*, nlohmann::json, std::string>>{
           {"/experiments/0/effect/baseline", "ten", first + ": effect.baseline is \"ten\"; a number is wanted"},
           {"/experiments/0/effect/better", "more", first + ": effect.better is \"more\"; \"lower\" or \"higher\" is wanted"},
           {"/experiments/0/effect/timed", 1, first + ": effect.timed is 1; true or false is wanted"},
           {"/experiments/0/effect", 1, first + ": effect is 1; an object is wanted"},
           {"/experiments/0/counters/0/technique", nullptr, first + ": counters[0].technique is null; a number is wanted"},
           {"/experiments/0/counters/0", 7, first + ": counters[0].what is absent; a text is wanted"},
           {"/experiments/0/counters", 7, first + ": counters is 7; an array is wanted"},
           {"/experiments/0/state", 7, first + ": state is 7; a text is wanted"},
           {"/experiments/0/absent", 7, first + ": absent is 7; a text is wanted"},
           {"/experiments/0/name", 7, "experiments[0].name is 7; a text is wanted"},
           {"/experiments/0", 7, "experiments[0].name is absent; a text is wanted"},
           {"/machine", 7, "machine is 7; a text is wanted"}}) {
    nlohmann::json bad = good;
    bad[Path(at)] = value;
    EXPECT_EQ(refused(bad), "lab.json: " + message);
  }
  EXPECT_EQ(refused({{"experiments", {{{"name", first}}}}}),
            "lab.json: " + first + ": counters is absent; an array is wanted");
}

TEST(GainPlot, HasABarForEveryEffectAndEscapesItsText) {
  std::vector<Entry> entries{{catalog()[0], with_effect(10, 5, true), {}, 1}, {catalog()[1], with_effect(1, 100, false), {}, 1}, {catalog()[2], {}, "no model", 1}};
  entries[0].finding.effect.what = "a < b & c";
  const std::string svg = gain_plot(entries);
  EXPECT_NE(svg.find("2x</text>"), std::string::npos) << svg;
  EXPECT_NE(svg.find("0.01x</text>"), std::string::npos);
  EXPECT_NE(svg.find("a &lt; b &amp; c"), std::string::npos);
  EXPECT_EQ(svg.find(std::string(catalog()[2]->name) + " ("), std::string::npos) << "what could not run has no bar";
}

// --- the long-context kit ----------------------------------------------------------------------------------------

const std::string kModel = SLUICE_SOURCE_DIR "/models/sluice-tiny-2m-32k";
const Setting kLong{.model = kModel, .text = kModel + "/held-out.txt"};

struct Facts {
  FactTokens words;
  std::vector<size_t> of(const std::vector<TokenId>& tokens, TokenId name) const {  // where they are told or asked for
    std::vector<size_t> at;
    for (size_t i = 0; i + 1 < tokens.size(); ++i)
      if (tokens[i] == words.key && tokens[i + 1] == name) at.push_back(i);
    return at;
  }
};

TEST(LongDocuments, TellWhatTheyAskFor) {
  const auto tokenizer = tokenizer_of(kModel);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  const auto words = FactTokens::of(**tokenizer);
  ASSERT_TRUE(words.ok()) << words.error().message;
  const auto kit = LongDocuments::make(kLong, *words);
  ASSERT_TRUE(kit.ok()) << kit.error().message;
  const Facts facts{*words};
  struct Kind {
    LongDocument (LongDocuments::*make)(int, uint64_t) const;
    size_t asked, told;
    double last;  // place of the last fact, at most; facts take room too
  };
  for (const Kind& kind : {Kind{&LongDocuments::passkey, 1, 1, 1}, {&LongDocuments::needles, 10, 1, 0.96}, {&LongDocuments::passages, 20, 1, 1}, {&LongDocuments::recurring, 10, 8, 0.72}})
    for (const int length : {1000, 4095}) {
      const LongDocument d = ((*kit).*kind.make)(length, 3), again = ((*kit).*kind.make)(length, 3), other = ((*kit).*kind.make)(length, 4);
      EXPECT_EQ(d.tokens.size(), static_cast<size_t>(length));
      EXPECT_EQ(d.tokens, again.tokens);
      EXPECT_NE(d.tokens, other.tokens);
      ASSERT_EQ(d.answers.size(), kind.asked);
      for (const int answer : d.answers) {
        const auto place = static_cast<size_t>(answer);
        const std::vector<size_t> at = facts.of(d.tokens, d.tokens[place - 1]);
        ASSERT_EQ(at.size(), kind.told + 1) << "told so often, and asked for once";
        EXPECT_EQ(at.back() + 2, place);
        for (const size_t told : at) EXPECT_EQ(d.tokens[told + 2], d.tokens[place]);
        EXPECT_LE(static_cast<double>(at[at.size() - 2]), kind.last * length);
      }
      std::vector<bool> fact(d.tokens.size() + 1);  // its four tokens, and the one behind
      for (size_t i = 0; i < d.tokens.size(); ++i)
        if (d.tokens[i] == words->key) std::fill_n(fact.begin() + static_cast<int64_t>(i), 5, true);
      EXPECT_EQ(d.prose.size(), static_cast<size_t>(std::count(fact.begin() + 2, fact.end() - 1, false)));  // behind <s> and the first token
      for (const int place : d.prose) EXPECT_FALSE(fact[static_cast<size_t>(place)]) << place;
    }
}

TEST(LongDocuments, OnePassAnswersAsAPromptThatEndsWithTheQuestion) {
  const auto tokenizer = tokenizer_of(kModel);
  ASSERT_TRUE(tokenizer.ok());
  const auto kit = LongDocuments::make(kLong, FactTokens::of(**tokenizer).value());
  ASSERT_TRUE(kit.ok()) << kit.error().message;
  const auto bench = Bench::open(kLong);
  ASSERT_TRUE(bench.ok()) << bench.error().message;
  const LongDocument d = kit->needles(1000, 1);
  Load load{{forced_request(d.tokens, 1)}, {}};
  load.requests[0].prompt_logprobs = 1;
  for (const int answer : d.answers) load.requests.push_back(forced_request({d.tokens.begin(), d.tokens.begin() + answer}, 1));
  const auto run = (*bench)->run(engine_options(1008, 12 * 1008), load);
  ASSERT_TRUE(run.ok()) << run.error().message;
  int right = 0;
  for (size_t i = 0; i < d.answers.size(); ++i) {
    const auto place = static_cast<size_t>(d.answers[i]);
    EXPECT_EQ(run->likeliest.at(0)[place - 1], run->outputs.at({i + 1, 0}).tokens.at(0)) << i;
    right += run->likeliest.at(0)[place - 1] == d.tokens[place];
  }
  EXPECT_GE(right, 9);
}

TEST(Workloads, AreFunctionsOfTheirArguments) {
  const Load a = mixed_lengths(100, {.n = 50, .rate = 2}), b = mixed_lengths(100, {.n = 50, .rate = 2});
  ASSERT_EQ(a.requests.size(), 50u);
  EXPECT_EQ(a.arrivals, b.arrivals);
  EXPECT_TRUE(std::ranges::is_sorted(a.arrivals));
  for (size_t i = 0; i < 50; ++i) EXPECT_EQ(a.requests[i].prompt, b.requests[i].prompt);
  const Load shared = shared_prefix(100, 3, 40, 5, 2);
  EXPECT_TRUE(std::equal(shared.requests[0].prompt.begin(), shared.requests[0].prompt.begin() + 40, shared.requests[2].prompt.begin()));
  EXPECT_NE(shared.requests[0].prompt, shared.requests[2].prompt);
}

}  // namespace
}  // namespace sluice::lab
