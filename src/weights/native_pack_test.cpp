// Native packs: written from plans, read in place, back to plain GGUF bit for bit; what lies is refused.

#include "weights/map_ahead.h"
#include "weights/native_pack.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "backend/kernel_args.h"
#include "backend/unpack.h"
#include "weights/convert.h"
#include "weights/gguf_file.h"
#include "weights/memory_check.h"
#include "weights/test_gguf.h"
#include "weights/weight_store.h"

namespace sluice {
namespace {

QuantRecipe recipe_of(const WeightFormat& format) { return {format.name, format.dtype, false, 0}; }

std::string error_of_pack(const std::string& path) {
  const auto source = open_tensor_source(path);
  return source.ok() ? "" : source.error().message;
}

class NativePackTest : public testing::Test {
 protected:
  // Writes a plan as a pack, and gives its bytes.
  std::string pack(const std::string& name, const Result<GgufPlan>& plan) {
    EXPECT_TRUE(plan.ok()) << plan.error().message;
    const auto size = write_gguf(dir_.file(name), as_pack(*plan), pool_);
    EXPECT_TRUE(size.ok()) << size.error().message;
    return read_bytes(dir_.file(name));
  }
  Result<size_t> verify(const std::string& name) {
    const auto source = open_tensor_source(dir_.file(name));
    EXPECT_TRUE(source.ok()) << source.error().message;
    return verify_pack(**source, pool_);
  }

  TempDir dir_;
  ThreadPool pool_{2};
  Ops ops_{**select_op_table("ref"), pool_};
};

TEST_F(NativePackTest, ComesBackBitForBitInEveryFormat) {
  for (const char* shape : {"tiny-llama3", "tiny-llama"})  // a tied head, and one of its own
    for (const WeightFormat* format : weight_formats()) {
      if (find_ggml_type(format->dtype) == nullptr || format->encode == nullptr) continue;  // no plain GGUF to come from
      const auto plain = write_and_open(dir_, "plain.gguf", plan_random(shape, 3, recipe_of(*format)));
      ASSERT_NE(plain, nullptr);
      const std::string packed = pack("m.pack", plan_requantize(dir_.file("plain.gguf"), nullptr));
      EXPECT_EQ(verify("m.pack").value(), plain->tensors().size());
      const auto source = *open_tensor_source(dir_.file("m.pack"));
      const bool own_head = source->find("output.weight") != nullptr;
      for (const TensorInfo& info : source->tensors()) {
        const TensorInfo& was = *plain->find(info.name);
        EXPECT_EQ(info.shape, was.shape);
        EXPECT_EQ(info.dtype, was.dtype);
        const bool table = own_head && info.name == "token_embd.weight";
        EXPECT_EQ(info.packed, info.shape.rank == 2 && !table && Ops::matmul_supports(info.dtype)) << info.name;
        EXPECT_EQ(info.offset_bytes % kPackAlignment, 0u);
      }
      ASSERT_NE(write_and_open(dir_, "back.gguf", plan_requantize(dir_.file("m.pack"), nullptr)), nullptr);
      EXPECT_EQ(read_bytes(dir_.file("back.gguf")), read_bytes(dir_.file("plain.gguf"))) << format->name << shape;
      // A pack of a pack is the same; so is one made at once.
      EXPECT_EQ(pack("again.pack", plan_requantize(dir_.file("m.pack"), nullptr)), packed);
      EXPECT_EQ(pack("once.pack", plan_random(shape, 3, recipe_of(*format))), packed);
    }
}

// Rows as they are encoded from the values, which a plain GGUF has; with a row-major table beside the panels.
TEST_F(NativePackTest, HoldsATypeOfOurOwnAndAPlainGgufDoesNot) {
  const QuantRecipe& own = recipe("i8_g128");
  GgufPlan plain = *plan_random("tiny-llama3", 3, recipe("f32"));
  plain.tensors.push_back(*std::ranges::find(plain.tensors, "token_embd.weight", &GgufTensor::name));
  plain.tensors.back().name = "output.weight";
  const auto values = write_and_open(dir_, "plain.gguf", plain);
  ASSERT_NE(values, nullptr);
  const std::string packed = pack("m.pack", plan_requantize(dir_.file("plain.gguf"), &own));
  const auto source = *open_tensor_source(dir_.file("m.pack"));
  EXPECT_EQ(verify("m.pack").value(), source->tensors().size());
  int row_major = 0, panels = 0;
  for (const TensorInfo& info : source->tensors()) {
    if (info.dtype != DType::i8_g128) continue;
    ++(info.packed ? panels : row_major);
    const int64_t cols = info.shape[1];
    std::vector<uint8_t> want(row_bytes(info.dtype, cols)), got(want.size());
    for (int64_t r = 0; r < info.shape[0]; ++r) {
      weight_format(info.dtype)->encode(static_cast<const float*>(values->view(*values->find(info.name)).row(r)),
                                        want.data(), cols);
      if (info.packed) unpack_row(source->panels(info), r, got.data());
      else std::memcpy(got.data(), source->view(info).row(r), got.size());
      ASSERT_EQ(got, want) << info.name << " row " << r;
    }
  }
  EXPECT_EQ(row_major, 1);
  EXPECT_GT(panels, 10);
  EXPECT_EQ(pack("again.pack", plan_requantize(dir_.file("m.pack"), nullptr)), packed);

  for (const QuantRecipe* type : {&own, static_cast<const QuantRecipe*>(nullptr)}) {
    const auto size = write_gguf(dir_.file("own.gguf"), *plan_requantize(dir_.file("m.pack"), type), pool_);
    ASSERT_FALSE(size.ok());
    EXPECT_NE(size.error().message.find("of type I8_G128, Sluice's own, which GGUF does not have"), std::string::npos)
        << size.error().message;
    EXPECT_FALSE(std::filesystem::exists(dir_.file("own.gguf")));
  }
  // Nor is it read from one: a pack that does not say that it is one.
  std::string renamed = packed;
  renamed[packed.find(kPackVersionKey)] = 'x';
  write_bytes(dir_.file("renamed.pack"), renamed);
  EXPECT_NE(error_of_pack(dir_.file("renamed.pack")).find("has the unknown type"), std::string::npos);
}

TEST_F(NativePackTest, IsRequantizedAsItsSource) {
  ASSERT_NE(write_and_open(dir_, "plain.gguf", plan_random("tiny-llama3", 3, recipe("f32"))), nullptr);
  pack("m.pack", plan_requantize(dir_.file("plain.gguf"), nullptr));
  ASSERT_NE(write_and_open(dir_, "a.gguf", plan_requantize(dir_.file("plain.gguf"), &recipe("q4_k_m"))), nullptr);
  ASSERT_NE(write_and_open(dir_, "b.gguf", plan_requantize(dir_.file("m.pack"), &recipe("q4_k_m"))), nullptr);
  EXPECT_EQ(read_bytes(dir_.file("a.gguf")), read_bytes(dir_.file("b.gguf")));
}

TEST_F(NativePackTest, IsUsedInPlace) {
  for (const char* shape : {"tiny-llama3", "tiny-llama"}) {
    pack("m.pack", plan_random(shape, 3, recipe("q8_0")));
    const auto source = *open_tensor_source(dir_.file("m.pack"));
    WeightStore store(source, ops_);
    size_t vectors = 0, panels = 0;
    for (const TensorInfo& info : source->tensors()) {
      const WeightPiece piece{info.name, info.shape};
      if (info.shape.rank == 1) {
        EXPECT_TRUE(store.vector(piece, info.shape[0]).ok());
        vectors += static_cast<size_t>(info.shape[0]) * sizeof(float);
      } else if (info.packed) {
        const auto matrix = store.matrix(piece, info.shape[0], info.shape[1]);
        ASSERT_TRUE(matrix.ok());
        EXPECT_EQ(matrix->data, source->panels(info).data);
        EXPECT_EQ(reinterpret_cast<uintptr_t>(matrix->data) % 64, 0u);
        panels += info.size_bytes;
      } else {
        const auto table = store.table(piece, info.shape[0], info.shape[1]);
        ASSERT_TRUE(table.ok());
        EXPECT_EQ(table->data, source->view(info).data);
      }
    }
    const std::jthread mapper = map_ahead(source);  // ends with the scope, however far it came
    EXPECT_EQ(store.owned_bytes(), vectors);
    EXPECT_EQ(store.mapped_bytes(), panels);
  }
}

// A table that a pack holds packed, because its name did not say what it is, is read all the same.
TEST_F(NativePackTest, APackedTableIsUnpacked) {
  pack("m.pack", plan_random("tiny-llama3", 3, recipe("q4_k")));
  const auto source = *open_tensor_source(dir_.file("m.pack"));
  const auto plain = write_and_open(dir_, "plain.gguf", plan_random("tiny-llama3", 3, recipe("q4_k")));
  WeightStore store(source, ops_);
  const auto table = store.table({"token_embd.weight", {512, 256}}, 512, 256);
  ASSERT_TRUE(table.ok());
  const TensorInfo& info = *plain->find("token_embd.weight");
  EXPECT_EQ(std::memcmp(table->data, plain->view(info).data, info.size_bytes), 0);
}

TEST_F(NativePackTest, ChecksumsNameWhatChanged) {
  std::string bytes = pack("m.pack", plan_random("tiny-llama3", 3, recipe("q8_0")));
  const auto source = *open_tensor_source(dir_.file("m.pack"));
  for (const char* name : {"blk.1.ffn_up.weight", "output_norm.weight"}) {
    std::string damaged = bytes;
    const TensorInfo& info = *source->find(name);
    damaged[info.offset_bytes + info.size_bytes - 1] ^= 1;
    write_bytes(dir_.file("damaged.pack"), damaged);
    const auto result = verify("damaged.pack");
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().code, ErrorCode::corrupt_data);
    EXPECT_TRUE(result.error().message.ends_with(fmt::format("since they were written: {}", name)))
        << result.error().message;
  }
  ASSERT_NE(write_and_open(dir_, "plain.gguf", plan_random("tiny-llama3", 3, recipe("q8_0"))), nullptr);
  EXPECT_NE(verify("plain.gguf").error().message.find("holds no checksums"), std::string::npos);
}

TEST_F(NativePackTest, AnotherLayoutIsRefused) {
  const std::string bytes = pack("m.pack", plan_random("tiny-llama3", 3, recipe("q8_0")));
  const std::string key(kPackVersionKey);
  const size_t at = bytes.find(key) + key.size() + 4;
  int32_t version = 0;
  std::memcpy(&version, bytes.data() + at, 4);
  ASSERT_EQ(version, kPackVersion);
  for (const int32_t other : {0, kPackVersion + 1}) {
    std::string changed = bytes;
    std::memcpy(changed.data() + at, &other, 4);
    write_bytes(dir_.file("other.pack"), changed);
    EXPECT_NE(error_of_pack(dir_.file("other.pack"))
                  .find(fmt::format("a native pack in layout {}, but this build reads layout {}; convert", other,
                                    kPackVersion)),
              std::string::npos)
        << error_of_pack(dir_.file("other.pack"));
  }
  // Panels are not taken for rows where the version is gone, which is also what other readers see.
  std::string renamed = bytes;
  renamed[bytes.find(key)] = 'x';
  write_bytes(dir_.file("renamed.pack"), renamed);
  EXPECT_NE(error_of_pack(dir_.file("renamed.pack")).find("has the unknown type 1364525064"), std::string::npos)
      << error_of_pack(dir_.file("renamed.pack"));
}

TEST_F(NativePackTest, LyingShapesAndAlignmentsAreRefused) {
  const std::string bytes = pack("m.pack", plan_random("tiny-llama3", 3, recipe("q8_0")));
  const std::string name = "token_embd.weight";
  const size_t dims = bytes.find(name) + name.size() + 4;
  for (const auto& [k, n] : std::vector<std::pair<uint64_t, uint64_t>>{{256, uint64_t{1} << 60},
                                                                       {uint64_t{1} << 60, 1},
                                                                       {uint64_t{1} << 45, 16},
                                                                       {257, 512},
                                                                       {256, 0},
                                                                       {0, 512},
                                                                       {256, ~uint64_t{0}},
                                                                       {256, 512 * 40}}) {
    std::string lying = bytes;
    std::memcpy(lying.data() + dims, &k, 8);
    std::memcpy(lying.data() + dims + 8, &n, 8);
    write_bytes(dir_.file("lying.pack"), lying);
    EXPECT_NE(error_of_pack(dir_.file("lying.pack")).find("tensor token_embd.weight"), std::string::npos) << k << " " << n;
  }
  const std::string alignment = "general.alignment";
  std::string narrow = bytes;
  const uint32_t least = 32;
  std::memcpy(narrow.data() + bytes.find(alignment) + alignment.size() + 4, &least, 4);
  write_bytes(dir_.file("narrow.pack"), narrow);
  EXPECT_NE(error_of_pack(dir_.file("narrow.pack")).find("general.alignment is 32, but panels stand at multiples of 64"),
            std::string::npos);
}

}  // namespace
}  // namespace sluice
