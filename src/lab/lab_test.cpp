#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "lab/catalog.h"
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
  EXPECT_GT(find_experiments("V7")->size(), 1u);  // the tree, and the order of the queue that goes with it
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
