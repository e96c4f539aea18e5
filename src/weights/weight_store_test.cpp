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

  const auto mapped = store.table({"embed", {20, 8}}, 20, 8);
  ASSERT_TRUE(mapped.ok()) << mapped.error().message;
  EXPECT_EQ(std::memcmp(mapped->data, table.data(), table.size() * 4), 0);

  const auto norm = store.vector({"norm", {8}}, 8);
  ASSERT_TRUE(norm.ok());
  for (size_t i = 0; i < 8; ++i) EXPECT_EQ((*norm)[i], bf16_to_f32(f32_to_bf16(gains[i])));

  const auto packed = store.matrix({"proj", {20, 8}}, 20, 8);
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
}

// Where a file holds a weight does not change it: beside others, head by head between them, in a stack, transposed.
TEST_F(WeightStoreTest, PiecesAreTheWeightsThatTheyAre) {
  constexpr int64_t k = 8, heads = 3, dim = 5, n = heads * dim;
  const auto q = random_values(1, n * k), v = random_values(2, n * k);
  std::vector<float> beside, by_head, columns(2 * n * k);
  beside.insert(beside.end(), q.begin(), q.end());
  beside.insert(beside.end(), v.begin(), v.end());
  for (int64_t h = 0; h < heads; ++h)
    for (const auto* part : {&q, &v}) by_head.insert(by_head.end(), part->begin() + h * dim * k, part->begin() + (h + 1) * dim * k);
  for (int64_t r = 0; r < 2 * n; ++r)
    for (int64_t c = 0; c < k; ++c) columns[static_cast<size_t>(c * 2 * n + r)] = beside[static_cast<size_t>(r * k + c)];
  SafetensorsBuilder builder;
  builder.add("v", {n, k}, v);
  builder.add("beside", {2 * n, k}, beside);
  builder.add("by_head", {2 * n, k}, by_head);
  builder.add("stack", {2, n, k}, beside);
  builder.add("columns", {k, 2 * n}, columns);
  builder.add("stacked_columns", {1, k, 2 * n}, columns);
  builder.add("gains", {2 * n}, std::vector<float>(beside.begin(), beside.begin() + 2 * n));
  WeightStore store(open(builder.bytes()), ops_);
  const auto packed = [&](const WeightPiece& piece) {
    const auto matrix = store.matrix(piece, n, k);
    EXPECT_TRUE(matrix.ok()) << (matrix.ok() ? "" : matrix.error().message);
    return std::string(reinterpret_cast<const char*>(matrix->data), Ops::packed_bytes(DType::f32, n, k));
  };
  const std::string want = packed({"v", {n, k}});
  EXPECT_EQ(packed({"beside", {2 * n, k}, {n}}), want);
  EXPECT_EQ(packed({"by_head", {2 * n, k}, {dim, dim, 2 * dim}}), want);
  EXPECT_EQ(packed({"stack", {2, n, k}, {}, 1}), want);
  EXPECT_EQ(packed({"columns", {k, 2 * n}, {n}, 0, true}), want);
  EXPECT_EQ(packed({"stacked_columns", {1, k, 2 * n}, {n}, 0, true}), want);
  const auto gains = store.vector({.name = "gains", .shape = {2 * n}, .rows = {1, 1, 2}, .plus = 1}, n);
  ASSERT_TRUE(gains.ok());
  for (size_t i = 0; i < n; ++i) EXPECT_EQ((*gains)[i], beside[2 * i + 1] + 1.0f);
  EXPECT_NE(store.matrix({"beside", {n, k}}, n, k).error().message.find("tensor beside has shape [30, 8]"), std::string::npos);
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
    const auto table = store.table({"w", {4, 4}}, 4, 4);
    ASSERT_TRUE(table.ok());
    EXPECT_EQ(reinterpret_cast<uintptr_t>(table->data) % 4, 0u);
    EXPECT_EQ(std::memcmp(table->data, values.data(), 64), 0);
    EXPECT_TRUE(store.matrix({"w", {4, 4}}, 4, 4).ok());
    EXPECT_TRUE(store.vector({"odd", {3}}, 3).error().message.find("tensor odd has type U8") != std::string::npos);
  }
}

TEST_F(WeightStoreTest, ErrorsNameTensorAndShape) {
  SafetensorsBuilder builder;
  builder.add("w", {4, 8}, random_values(1, 32));
  WeightStore store(open(builder.bytes()), ops_);
  EXPECT_NE(store.matrix({"w", {8, 4}}, 8, 4).error().message.find(
                "model.safetensors: tensor w has shape [4, 8], but the model's configuration asks for [8, 4]"),
            std::string::npos);
  const auto missing = store.matrix({"a", {8, 4}}, 8, 4);
  EXPECT_EQ(missing.error().code, ErrorCode::not_found);
  EXPECT_NE(missing.error().message.find("tensor a [8, 4] is missing"), std::string::npos);
}

TEST_F(WeightStoreTest, AModelThatDoesNotFitIsRefusedWithTheSum) {
  constexpr size_t kOwned = 12345;
  EXPECT_TRUE(check_fits("m.gguf", kOwned, 1000, 500, {kOwned + 2000, kOwned + 1500}).ok());
  EXPECT_FALSE(check_fits("m.gguf", kOwned, 1000, 501, {kOwned + 2000, kOwned + 1500}).ok());
  const auto status = check_fits("m.gguf", kOwned, size_t{1} << 30, size_t{1} << 29, {size_t{2} << 30, size_t{1} << 30});
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
