#pragma once
// What the tests of conversions share: a vocabulary, and a plan's file, written and read again.

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "quant/weight/weight_format.h"
#include "weights/gguf_model_keys.h"
#include "weights/gguf_writer.h"
#include "weights/quant_recipe.h"
#include "weights/tensor_source.h"
#include "weights/test_files.h"

namespace sluice {

inline const QuantRecipe& recipe(std::string_view name) { return **find_quant_recipe(name); }

inline GgufVocab vocabulary(size_t size) {
  GgufVocab v;
  v.model = "llama";
  for (size_t i = 0; i < size; ++i) v.tokens.push_back(fmt::format("t{}", i));
  v.scores.assign(size, -1.0f);
  v.token_types.assign(size, 1);
  v.bos = 1;
  v.eos = 2;
  return v;
}

/// Writes the plan and opens the result.
inline std::shared_ptr<TensorSource> write_and_open(const TempDir& dir, const std::string& name,
                                                    const Result<GgufPlan>& plan) {
  EXPECT_TRUE(plan.ok()) << plan.error().message;
  if (!plan.ok()) return nullptr;
  ThreadPool pool(2);
  const auto size = write_gguf(dir.file(name), *plan, pool);
  EXPECT_TRUE(size.ok()) << size.error().message;
  auto source = open_tensor_source(dir.file(name));
  EXPECT_TRUE(source.ok()) << source.error().message;
  return source.ok() ? *source : nullptr;
}

inline std::vector<float> decoded(const TensorSource& source, const std::string& name) {
  const TensorInfo* info = source.find(name);
  EXPECT_NE(info, nullptr) << name;
  if (info == nullptr) return {};
  std::vector<float> values(static_cast<size_t>(info->shape.elems()));
  weight_format(info->dtype)->decode(source.view(*info).data, values.data(), info->shape.elems());
  return values;
}

}  // namespace sluice
