#include "weights/weight_store.h"

#include <gtest/gtest.h>

#include "weights/convert.h"
#include "weights/gguf_writer.h"
#include "weights/memory_check.h"
#include "weights/test_files.h"

namespace sluice {
namespace {

class WeightStoreTest : public ::testing::Test {
 protected:
  std::shared_ptr<TensorSource> open(const std::string& bytes) {
    write_bytes(dir_.file("config.json"), "{}");
    write_bytes(dir_.file("model.safetensors"), bytes);
    auto source = open_tensor_source(dir_.path());
    EXPECT_TRUE(source.ok()) << source.error().message;
    return *source;
  }
  using Names = std::vector<std::string>;

  TempDir dir_;
  ThreadPool pool_{2};
  Ops ops_{**select_op_table("ref"), pool_};
};

TEST_F(WeightStoreTest, PacksConvertsAndMaps) {
  SafetensorsBuilder builder;
  const auto table = random_values(1, 20 * 8), gains = random_values(2, 8), matrix = random_values(3, 20 * 8);
  builder.add("embed", {20, 8}, table);
  builder.add("norm", {8}, gains, DType::bf16);
  builder.add("proj", {20, 8}, matrix);
  builder.add("extra", {3}, {1, 2, 3});
  WeightStore store(open(builder.bytes()), ops_);

  const auto mapped = store.table(Names{"token_embd", "embed"}, 20, 8);
  ASSERT_TRUE(mapped.ok()) << mapped.error().message;
  EXPECT_EQ(std::memcmp(mapped->data, table.data(), table.size() * 4), 0);

  const auto norm = store.vector(Names{"norm"}, 8);
  ASSERT_TRUE(norm.ok());
  for (size_t i = 0; i < 8; ++i) EXPECT_EQ((*norm)[i], bf16_to_f32(f32_to_bf16(gains[i])));

  const auto packed = store.matrix(Names{"proj"}, 20, 8);
  ASSERT_TRUE(packed.ok()) << packed.error().message;
  EXPECT_EQ(store.owned_bytes(), Ops::packed_bytes(DType::f32, 20, 8) + 8 * sizeof(float));
  std::vector<float> y(20);
  const auto x = random_values(4, 8);
  const MatmulOut out{&*packed, nullptr, y.data(), 20};
  ops_.matmul({x.data(), 1, 8}, std::span(&out, 1));
  for (size_t n = 0; n < 20; ++n) {
    double sum = 0;
    for (size_t k = 0; k < 8; ++k) sum += static_cast<double>(x[k]) * matrix[n * 8 + k];
    EXPECT_NEAR(y[n], sum, 1e-5);
  }
  EXPECT_TRUE(store.has(Names{"none", "extra"}));
  EXPECT_FALSE(store.has(Names{"none"}));
}

TEST_F(WeightStoreTest, UnalignedTensorsAreCopied) {
  const auto values = random_values(5, 4 * 4);
  std::string data("\7\7\7", 3);
  data.append(reinterpret_cast<const char*>(values.data()), values.size() * 4);
  for (const char* pad : {"", " ", "  ", "   "}) {  // every alignment of the data section
    const std::string header =
        R"({"odd":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"w":{"dtype":"F32","shape":[4,4],"data_offsets":[3,67]}})" +
        std::string(pad);
    WeightStore store(open(safetensors_bytes(header, data)), ops_);
    const auto table = store.table(Names{"w"}, 4, 4);
    ASSERT_TRUE(table.ok());
    EXPECT_EQ(reinterpret_cast<uintptr_t>(table->data) % 4, 0u);
    EXPECT_EQ(std::memcmp(table->data, values.data(), 64), 0);
    EXPECT_TRUE(store.matrix(Names{"w"}, 4, 4).ok());
    EXPECT_TRUE(store.vector(Names{"odd"}, 3).error().message.find("tensor odd has type U8") != std::string::npos);
  }
}

TEST_F(WeightStoreTest, ErrorsNameTensorAndShape) {
  SafetensorsBuilder builder;
  builder.add("w", {4, 8}, random_values(1, 32));
  WeightStore store(open(builder.bytes()), ops_);
  EXPECT_NE(store.matrix(Names{"w"}, 8, 4).error().message.find(
                "model.safetensors: tensor w has shape [4, 8], but the model's configuration asks for [8, 4]"),
            std::string::npos);
  const auto missing = store.matrix(Names{"a", "b"}, 8, 4);
  EXPECT_EQ(missing.error().code, ErrorCode::not_found);
  EXPECT_NE(missing.error().message.find("tensor a or b [8, 4] is missing"), std::string::npos);
}

TEST_F(WeightStoreTest, AModelThatDoesNotFitIsRefusedWithTheSum) {
  const auto plan = plan_random("tiny-llama", 1, **find_quant_recipe("q8_0"));
  ASSERT_TRUE(plan.ok());
  ASSERT_TRUE(write_gguf(dir_.file("m.gguf"), *plan, pool_).ok());
  const auto source = open_tensor_source(dir_.file("m.gguf"));
  ASSERT_TRUE(source.ok());
  // What the check foresees is what loading owns.
  WeightStore store(*source, ops_);
  for (const TensorInfo& info : (*source)->tensors()) {
    const Names names{info.name};
    if (info.name == "token_embd.weight") EXPECT_TRUE(store.table(names, info.shape[0], info.shape[1]).ok());
    else if (info.shape.rank == 2) EXPECT_TRUE(store.matrix(names, info.shape[0], info.shape[1]).ok());
    else EXPECT_TRUE(store.vector(names, info.shape[0]).ok());
  }
  const size_t owned = weight_bytes(**source);
  EXPECT_EQ(owned, store.owned_bytes());
  EXPECT_TRUE(check_fits(**source, 1000, 500, {owned + 2000, owned + 1500}).ok());
  const auto status = check_fits(**source, size_t{1} << 30, size_t{1} << 29, {size_t{2} << 30, size_t{1} << 30});
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, ErrorCode::resource_exhausted);
  EXPECT_NE(
      status.error().message.find("KV cache 1.00 GiB + working memory 0.50 GiB = 1.50 GiB, but 1.00 GiB are available "
                                  "(of 2.00 GiB"),
      std::string::npos)
      << status.error().message;
}

}  // namespace
}  // namespace sluice
