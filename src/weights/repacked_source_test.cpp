// --repack: what convert would write, without writing it.

#include "weights/repacked_source.h"

#include <gtest/gtest.h>

#include <cstring>

#include "backend/unpack.h"
#include "weights/convert.h"
#include "weights/native_pack.h"
#include "weights/test_gguf.h"

namespace sluice {
namespace {

// A tensor's bytes row by row, of a pack too.
std::vector<uint8_t> rows_of(const TensorSource& source, const TensorInfo& info) {
  std::vector<uint8_t> bytes(row_bytes(info.dtype, info.shape.elems()));
  if (!info.packed) {
    std::memcpy(bytes.data(), source.view(info).data, bytes.size());
    return bytes;
  }
  const size_t row = row_bytes(info.dtype, info.shape[1]);
  for (int64_t r = 0; r < info.shape[0]; ++r) unpack_row(source.panels(info), r, bytes.data() + static_cast<size_t>(r) * row);
  return bytes;
}

TEST(RepackedSource, HoldsWhatConvertWouldWrite) {
  const TempDir dir;
  ThreadPool pool(3);
  for (const char* shape : {"tiny-llama3", "tiny-qwen2"})  // a tied head; rows that 256 does not divide
    for (const char* from : {"bf16", "q8_0"}) {
      ASSERT_NE(write_and_open(dir, "plain.gguf", plan_random(shape, 5, recipe(from))), nullptr);
      for (const QuantRecipe& to : quant_recipes()) {
        const auto plan = plan_requantize(dir.file("plain.gguf"), &to);
        ASSERT_TRUE(plan.ok()) << plan.error().message;
        const bool own = find_ggml_type(to.matrix) == nullptr;  // packs alone hold it
        const auto converted = write_and_open(dir, "converted.gguf", own ? as_pack(*plan) : *plan);
        ASSERT_NE(converted, nullptr);
        const auto source = repack_source(*open_tensor_source(dir.file("plain.gguf")), to, pool);
        ASSERT_TRUE(source.ok()) << source.error().message;
        ASSERT_EQ((*source)->tensors().size(), converted->tensors().size());
        for (const TensorInfo& info : (*source)->tensors()) {
          const TensorInfo& want = *converted->find(info.name);
          EXPECT_EQ((*source)->find(info.name), &info);
          ASSERT_EQ(info.dtype, want.dtype) << info.name;
          ASSERT_EQ(info.size_bytes, row_bytes(want.dtype, want.shape.elems())) << info.name;
          for (int again = 0; again < 2; ++again) {
            EXPECT_EQ(std::memcmp((*source)->view(info).data, rows_of(*converted, want).data(), info.size_bytes), 0)
                << info.name << " in " << to.name;
            (*source)->release(info);
          }
        }
      }
    }
}

TEST(RepackedSource, RefusesANativePack) {
  const TempDir dir;
  ThreadPool pool(2);
  const auto plan = plan_random("tiny-llama3", 5, recipe("bf16"));
  ASSERT_TRUE(plan.ok());
  ASSERT_TRUE(write_gguf(dir.file("m.pack"), as_pack(*plan), pool).ok());
  const auto source = repack_source(*open_tensor_source(dir.file("m.pack")), recipe("q8_0"), pool);
  ASSERT_FALSE(source.ok());
  EXPECT_NE(source.error().message.find("native pack"), std::string::npos) << source.error().message;
}

}  // namespace
}  // namespace sluice
