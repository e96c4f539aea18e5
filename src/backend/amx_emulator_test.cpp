// The model and the emulator that the AMX kernels are tested with, against what the SDM says.

#include "tests/support/amx_emulator.h"

#include <gtest/gtest.h>

#include <vector>

#include "backend/ops.h"
#include "base/rng.h"

namespace sluice {
namespace {

struct Config {
  uint8_t bytes[64] = {1};
  void tile(int t, int rows, int row_bytes) {
    bytes[16 + 2 * t] = static_cast<uint8_t>(row_bytes);
    bytes[48 + t] = static_cast<uint8_t>(rows);
  }
};

// Tiles 0 (m x n), 1 (m x k bytes) and 2 (k / 4 x n x 4 bytes).
Config product_config(int m, int n, int k) {
  Config config;
  config.tile(0, m, 4 * n);
  config.tile(1, m, k);
  config.tile(2, k / 4, 4 * n);
  return config;
}

template <class A, class B>
void check_product_of_bytes() {
  const int m = 3, n = 5, k = 12;
  Rng rng(7);
  std::vector<A> a(16 * 64);
  std::vector<B> b(16 * 64);
  for (A& v : a) v = static_cast<A>(rng.below(256));
  for (B& v : b) v = static_cast<B>(rng.below(256));
  TileModel tiles;
  tiles.load_config(product_config(m, n, k).bytes);
  tiles.zero(0);
  tiles.load(1, reinterpret_cast<uint8_t*>(a.data()), 17);
  tiles.load(2, reinterpret_cast<uint8_t*>(b.data()), 4 * n);
  for (int i = 0; i < 2; ++i) tiles.dot_bytes<A, B>(0, 1, 2);  // twice: it adds
  std::vector<int32_t> c(static_cast<size_t>(m * 8), -7);
  tiles.store(0, reinterpret_cast<uint8_t*>(c.data()), 32);
  for (int i = 0; i < m; ++i) {
    for (int j = 0; j < n; ++j) {
      int want = 0;
      for (int at = 0; at < k; ++at) want += 2 * a[17 * i + at] * b[4 * n * (at / 4) + 4 * j + at % 4];
      EXPECT_EQ(c[8 * i + j], want) << i << " " << j;
    }
    for (int j = n; j < 8; ++j) EXPECT_EQ(c[8 * i + j], -7);
  }
}

TEST(TileModel, MultipliesBytesOfEitherSign) {
  check_product_of_bytes<int8_t, uint8_t>();
  check_product_of_bytes<uint8_t, int8_t>();
  check_product_of_bytes<int8_t, int8_t>();
  check_product_of_bytes<uint8_t, uint8_t>();
}

TEST(TileModel, Bf16SumsTheEvenAndTheOddProductsApart) {
  TileModel tiles;
  tiles.load_config(product_config(1, 1, 8).bytes);
  const auto bf16 = [](float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    return static_cast<uint16_t>(bits >> 16);
  };
  const float big = 0x1p30f;
  const auto dot = [&](float start, float a0, float a1, float a2, float a3) {
    const uint16_t a[4] = {bf16(a0), bf16(a1), bf16(a2), bf16(a3)}, one[4] = {bf16(1), bf16(1), bf16(1), bf16(1)};
    float c = start;
    tiles.load(0, reinterpret_cast<uint8_t*>(&c), 64);
    tiles.load(1, reinterpret_cast<const uint8_t*>(a), 64);
    tiles.load(2, reinterpret_cast<const uint8_t*>(one), 4);
    tiles.dot_bf16(0, 1, 2);
    tiles.store(0, reinterpret_cast<uint8_t*>(&c), 64);
    return c;
  };
  EXPECT_EQ(dot(1, 2, 3, 4, 5), 15);
  EXPECT_EQ(dot(0, big, 1, -big, 1), 2);     // even values cancel before the odd ones come
  EXPECT_EQ(dot(0, big, -big, 1, 1), 0);     // the 1 is lost in each of the sums
  EXPECT_EQ(dot(1, big, -big, 0, 0), 1);     // the sums meet before they reach the tile
  EXPECT_EQ(dot(0, 0x1p-130f, 0, 0, 0), 0);  // subnormal
  EXPECT_EQ(dot(0x1p-130f, 0, 0, 0, 0), 0);
}

TEST(TileModelDeathTest, FaultsWhereTheProcessorDoes) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  const auto multiply = [](const Config& config) {
    TileModel tiles;
    tiles.load_config(config.bytes);
    tiles.dot_bytes<int8_t, uint8_t>(0, 1, 2);
  };
  multiply(product_config(16, 16, 64));
  EXPECT_DEATH(TileModel().zero(0), "a configuration");
  EXPECT_DEATH(multiply(Config()), "a tile that is configured");
  EXPECT_DEATH(multiply(product_config(17, 16, 64)), "at most 16 rows");
  EXPECT_DEATH(multiply(product_config(0, 16, 64)), "rows and bytes, or neither");
  EXPECT_DEATH(multiply(product_config(3, 5, 14)), "rows of whole dwords");
  Config fewer_rows = product_config(4, 5, 12), reserved = fewer_rows;
  fewer_rows.tile(1, 3, 12);
  EXPECT_DEATH(multiply(fewer_rows), "m x k");
  reserved.bytes[63] = 1;
  EXPECT_DEATH(multiply(reserved), "reserved");
}

#if defined(__x86_64__)

// The bytes are those of GNU as.
TEST(VexInstruction, IsDecodedFromItsBytes) {
  uint64_t registers[16];
  for (uint64_t i = 0; i < 16; ++i) registers[i] = 1000000 * (i + 1);
  VexInstruction v;
  const auto decode = [&](std::vector<uint8_t> bytes) {
    const auto length = static_cast<int>(bytes.size());
    bytes.resize(16);
    return v.decode(bytes.data(), registers) && v.length == length;
  };
  ASSERT_TRUE(decode({0xc4, 0xc2, 0x7a, 0x4b, 0x1c, 0x17}));  // tilestored %tmm3,(%r15,%rdx,1)
  EXPECT_EQ(v.prefix, VexInstruction::pf3);
  EXPECT_EQ(v.opcode, 0x4b);
  EXPECT_EQ(v.reg, 3);
  EXPECT_EQ(v.address, 16000000u);
  EXPECT_EQ(v.index, 3000000u);
  ASSERT_TRUE(decode({0xc4, 0xa2, 0x7b, 0x4b, 0x6c, 0xc9, 0x40}));  // tileloadd 0x40(%rcx,%r9,8),%tmm5
  EXPECT_EQ(v.address, 2000064u);
  EXPECT_EQ(v.index, 80000000u);
  ASSERT_TRUE(
      decode({0xc4, 0xc2, 0x7b, 0x4b, 0x8c, 0x05, 0xbb, 0xdc, 0xfe, 0xff}));  // tileloadd -0x12345(%r13,%rax,1),%tmm1
  EXPECT_EQ(v.address, 14000000u - 0x12345u);
  ASSERT_TRUE(decode({0xc4, 0xe2, 0x7b, 0x4b, 0x14, 0x5d, 0x00, 0x10, 0x00, 0x00}));  // tileloadd 0x1000(,%rbx,2),%tmm2
  EXPECT_EQ(v.address, 0x1000u);
  EXPECT_EQ(v.index, 8000000u);
  ASSERT_TRUE(decode({0xc4, 0xe2, 0x7b, 0x4b, 0x14, 0x24}));  // tileloadd (%rsp),%tmm2
  EXPECT_EQ(v.address, 5000000u);
  EXPECT_EQ(v.index, 0u);
  ASSERT_TRUE(decode({0xc4, 0xe2, 0x62, 0x5e, 0xca}));  // tdpbsud %tmm3,%tmm2,%tmm1
  EXPECT_EQ(v.prefix, VexInstruction::pf3);
  EXPECT_EQ(v.reg, 1);
  EXPECT_EQ(v.rm, 2);
  EXPECT_EQ(v.vvvv, 3);
  EXPECT_FALSE(v.in_memory);
  EXPECT_FALSE(decode({0x0f, 0x0b}));                    // ud2
  EXPECT_FALSE(decode({0xc4, 0xe2, 0xf8, 0x49, 0xc0}));  // W = 1
}

TEST(Amx, IsNeverTakenUnnamedAndAsksTheKernelFirst) {
  EXPECT_TRUE(kAmxOps.unproven);
  EXPECT_NE(select_op_table().value(), &kAmxOps);
  if (kAmxOps.lacks().empty()) GTEST_SKIP() << "this CPU has AMX: the kernel's answer depends on its version";
  EXPECT_NE(kAmxOps.enable().find("no permission"), std::string::npos);
}

#endif

}  // namespace
}  // namespace sluice
