// The tuner's table and its file. That no plan changes a bit is in matmul_fused_test.cpp; nothing here depends on a time.

#include "backend/matmul_tuning.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <tuple>

#include "backend/matmul_tuning_file.h"
#include "backend/op_table.h"
#include "backend/ops.h"
#include "quant/weight/weight_format.h"

namespace sluice {
namespace {

const TuningKey kKey{"A CPU (family 1, model 2)", "avx2", 3};

// Some entries that a measurement could have made.
std::vector<TunedPlan> some_plans(const OpTable& table) {
  std::vector<TunedPlan> tuned;
  for (const DType dtype : {DType::q8_0, DType::q4_k})
    for (int row_class = 0; row_class < static_cast<int>(kRowClasses.size()); ++row_class) {
      const std::vector<MatmulPlan> plans = candidate_plans(table, dtype, row_class);
      for (int depth = 0; depth < static_cast<int>(kDepthClasses.size()); ++depth)
        tuned.push_back({dtype, depth, row_class, plans.front(), plans.back(), 100.25, 90.125, 1.11, 1.25});
    }
  return tuned;
}

std::string message_of(const Result<std::vector<TunedPlan>>& result) {
  return result.ok() ? "" : result.error().message;
}

TEST(MatmulTuning, MeasuresEveryClassWhereThereIsAChoice) {
  const OpTable& table = *select_op_table().value();
  ThreadPool pool(2);
  TuningBudget tiny;
  tiny.cold_bytes = 32 << 20;
  tiny.pass_bytes = 1 << 16;
  tiny.pass_operations = 1e6;
  tiny.least_rounds = tiny.most_rounds = 1;
  std::vector<DType> dtypes = {DType::i32};  // no weights' type
  for (const WeightFormat* format : weight_formats()) dtypes.push_back(format->dtype);
  std::set<std::tuple<DType, int, int>> want, got;
  for (const WeightFormat* format : weight_formats())
    for (int d = 0; d < static_cast<int>(kDepthClasses.size()); ++d)
      for (int r = 0; r < static_cast<int>(kRowClasses.size()); ++r)
        if (candidate_plans(table, format->dtype, r).size() > 1) want.insert({format->dtype, d, r});

  int last = -1, all = 0;
  const auto tuned = tune_matmul(table, pool, dtypes, tiny, [&](int done, int of) {
    EXPECT_EQ(done, last + 1);
    last = done, all = of;
  });
  ASSERT_TRUE(tuned.ok()) << tuned.error().message;
  const MatmulPlans plans = with_tuned(table, *tuned);
  for (const TunedPlan& t : *tuned) {
    EXPECT_TRUE(got.insert({t.dtype, t.depth_class, t.row_class}).second);
    const std::vector<MatmulPlan> candidates = candidate_plans(table, t.dtype, t.row_class);
    EXPECT_TRUE(t.usual == candidates.front());
    EXPECT_NE(std::ranges::find(candidates, t.chosen), candidates.end());
    if (t.chosen == t.usual) {
      EXPECT_TRUE(t.gain == 1 && t.gain_alone == 1);
    } else {
      EXPECT_GE(t.gain * t.gain_alone, tiny.least_gain * tiny.least_gain * 0.9999);
      EXPECT_GE(std::min(t.gain, t.gain_alone), 1 - tiny.most_loss);
    }
    EXPECT_GT(t.usual_us, 0);
    EXPECT_GT(t.chosen_us, 0);
    const int64_t k = t.depth_class == 0 ? kDepthClasses[0] : kDepthClasses[0] + 1;
    EXPECT_TRUE(plans.of(t.dtype, k, kRowClasses[static_cast<size_t>(t.row_class)]) == t.chosen);
  }
  EXPECT_EQ(got, want);
  EXPECT_EQ(last + 1, all);
  EXPECT_EQ(all, static_cast<int>(want.size()));
}

TEST(MatmulTuning, WhereTheKernelIsTheReferenceThereIsNoChoice) {
  ThreadPool pool(1);
  const DType dtypes[] = {DType::q4_0, DType::f32};
  EXPECT_TRUE(tune_matmul(kRefOps, pool, dtypes).value().empty());
}

TEST(MatmulTuningFile, ReadsWhatItWrote) {
  const std::vector<TunedPlan> tuned = some_plans(kAvx2Ops);
  const auto read = parse_tuning(tuning_text(kKey, tuned), kKey, kAvx2Ops);
  ASSERT_TRUE(read.ok()) << message_of(read);
  ASSERT_EQ(read->size(), tuned.size());
  for (size_t i = 0; i < tuned.size(); ++i) {
    const TunedPlan &a = tuned[i], &b = (*read)[i];
    EXPECT_EQ(std::tie(a.dtype, a.depth_class, a.row_class, a.usual_us, a.chosen_us, a.gain, a.gain_alone),
              std::tie(b.dtype, b.depth_class, b.row_class, b.usual_us, b.chosen_us, b.gain, b.gain_alone));
    EXPECT_TRUE(a.usual == b.usual && a.chosen == b.chosen) << i;
  }
}

TEST(MatmulTuningFile, IsOfOneMachine) {
  const std::string text = tuning_text(kKey, some_plans(kAvx2Ops));
  std::set<std::string> names = {tuning_file_name(kKey)};
  for (const TuningKey& other :
       {TuningKey{"Another CPU", "avx2", 3}, TuningKey{kKey.cpu, "avx512", 3}, TuningKey{kKey.cpu, "avx2", 4}}) {
    EXPECT_EQ(parse_tuning(text, other, kAvx2Ops).error().code, ErrorCode::unsupported);
    EXPECT_TRUE(names.insert(tuning_file_name(other)).second);
  }
  EXPECT_EQ(*names.find(tuning_file_name(kKey)), "matmul-a-cpu-family-1-model-2-avx2-3-threads-v2.json");
  // A name that would leave the folder.
  EXPECT_EQ(tuning_file_name({"../../x\n", "ref", 1}), "matmul-x-ref-1-threads-v2.json");
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(MatmulTuningFile, WhatCannotHaveBeenWrittenIsRefused) {
  const std::string text = tuning_text(kKey, some_plans(kAvx2Ops));
  EXPECT_EQ(parse_tuning(replaced(text, "\"version\": 2", "\"version\": 1"), kKey, kAvx2Ops).error().code,
            ErrorCode::unsupported);
  const std::pair<const char*, const char*> lies[] = {
      {"\"plans\": [", "\"plans\": 3, \"other\": ["},
      {"\"type\": \"Q8_0\"", "\"type\": \"Q9_0\""},
      {"\"type\": \"Q8_0\"", "\"type\": 8"},
      {"\"most_k\": 1024", "\"most_k\": 1025"},
      {"\"most_rows\": 1,", "\"most_rows\": -1,"},
      {"\"most_rows\": 1,", "\"most_rows\": 2,"},  // one class twice, another never
      {"\"way\": \"flat\"", "\"way\": \"round\""},
      {"\"ahead_lines\": 64", "\"ahead_lines\": 65"},
      {"\"ahead_lines\": 64", "\"ahead_lines\": 1e99"},
      {"\"usual_us\": 100.25", "\"usual_us\": 0"},
      {"\"gain\": 1.11", "\"gain\": \"much\""},
      {"\"chosen\"", "\"chose\""},
  };
  for (const auto& [from, to] : lies)
    EXPECT_EQ(parse_tuning(replaced(text, from, to), kKey, kAvx2Ops).error().code, ErrorCode::corrupt_data) << to;
  for (size_t end = 0; end + 2 < text.size(); end += 97)
    EXPECT_EQ(parse_tuning(text.substr(0, end), kKey, kAvx2Ops).error().code, ErrorCode::corrupt_data) << end;
}

}  // namespace
}  // namespace sluice
