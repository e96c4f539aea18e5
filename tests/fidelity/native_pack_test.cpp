// A model started from a native pack computes what the GGUF computes that it came from, or, in a type of our own, that GGUF
// encoded at load: the same bits, in every format, on every instruction set, with a tied head and with one of its own.

#include "weights/native_pack.h"
#include "backend/op_table.h"
#include "quant/weight/weight_format.h"
#include "tests/support/model_harness.h"
#include "weights/convert.h"
#include "weights/repacked_source.h"
#include "weights/test_files.h"

namespace sluice::test {
namespace {

class NativePackTest : public testing::TestWithParam<const WeightFormat*> {};

TEST_P(NativePackTest, SameLogitsAsItsSource) {
  const QuantRecipe recipe{GetParam()->name, GetParam()->dtype, false, 0};
  TempDir dir;
  ThreadPool pool(2);
  const std::vector<TokenId> tokens{5, 500, 17, 300, 300, 1, 0, 511, 64, 8};
  for (const char* shape : {"tiny-llama3", "tiny-llama", "tiny-qwen3"}) {
    const std::string plain = dir.file("plain.gguf"), pack = dir.file("m.pack");
    const bool own = find_ggml_type(recipe.matrix) == nullptr;
    const QuantRecipe in_file{"", own ? DType::f32 : recipe.matrix, false, 0};
    ASSERT_TRUE(write_gguf(plain, plan_random(shape, 11, in_file).value(), pool).ok());
    ASSERT_TRUE(write_gguf(pack, as_pack(plan_requantize(plain, own ? &recipe : nullptr).value()), pool).ok());
    for (const std::string& isa : usable_isas()) {
      const auto source = open_tensor_source(plain).value();
      const auto a = LoadedModel::open(own ? repack_source(source, recipe, pool).value() : source, isa);
      const auto b = LoadedModel::open(pack, isa);
      ASSERT_TRUE(a.ok() && b.ok()) << (a.ok() ? b.error().message : a.error().message);
      EXPECT_GT((*b)->store.mapped_bytes(), 0u);
      EXPECT_LT((*b)->store.owned_bytes(), (*a)->store.owned_bytes() / 20);
      const std::vector<float> want = logits_of(*(*a)->model, tokens), got = logits_of(*(*b)->model, tokens);
      EXPECT_GT(standard_deviation(want), 0.01);
      EXPECT_TRUE(same_bits(got, want)) << shape << " on " << isa;
    }
  }
}

std::vector<const WeightFormat*> written_formats() {
  std::vector<const WeightFormat*> formats;
  for (const WeightFormat* format : weight_formats())
    if (format->encode != nullptr) formats.push_back(format);
  return formats;
}

INSTANTIATE_TEST_SUITE_P(Catalog, NativePackTest, testing::ValuesIn(written_formats()),
                         [](const auto& info) { return std::string(info.param->name); });

}  // namespace
}  // namespace sluice::test
