// Packed panels back to the bytes that they were made of, over the catalog; and the layouts held to what they were.

#include "backend/unpack.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "backend/kernel_args.h"
#include "backend/op_table.h"
#include "base/rng.h"
#include "quant/weight/weight_format.h"

namespace sluice {
namespace {

struct Packed {
  DType dtype;
  int64_t n, k;
  std::vector<uint8_t> rows;
  Buffer panels;

  // Any bits at all: packing is no arithmetic.
  Packed(DType type, int64_t n_rows, int64_t cols, uint64_t seed)
      : dtype(type), n(n_rows), k(cols), rows(row_bytes(type, n_rows * cols)) {
    Rng rng(seed);
    for (uint8_t& b : rows) b = static_cast<uint8_t>(rng.below(256));
    panels = Buffer::allocate(Ops::packed_bytes(dtype, n, k)).value();
    ThreadPool pool(1);
    Ops(kRefOps, pool).pack({rows.data(), dtype, Shape{n, k}}, panels.data());
  }
  PackedMatrix matrix() const { return {dtype, n, k, panels.data()}; }
};

std::vector<DType> packable() {
  std::vector<DType> types;
  for (const WeightFormat* f : weight_formats())
    if (Ops::matmul_supports(f->dtype)) types.push_back(f->dtype);
  return types;
}

class UnpackTest : public testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(Catalog, UnpackTest, testing::ValuesIn(packable()),
                         [](const auto& info) { return std::string(dtype_name(info.param)); });

TEST_P(UnpackTest, GivesTheBytesBack) {
  const int64_t block = dtype_info(GetParam()).block_elems;
  for (const int64_t n : {1, 16, 37})
    for (const int64_t blocks : {1, 2, 3, 5, 8}) {
      const Packed w(GetParam(), n, blocks * block, static_cast<uint64_t>(n * 100 + blocks));
      const size_t size = row_bytes(w.dtype, w.k);
      std::vector<uint8_t> row(size + 1);
      for (int64_t r = 0; r < n; ++r) {
        row.assign(size + 1, 0xa5);
        unpack_row(w.matrix(), r, row.data());
        ASSERT_EQ(std::memcmp(row.data(), w.rows.data() + static_cast<size_t>(r) * size, size), 0)
            << "row " << r << " of [" << n << ", " << w.k << "]";
        ASSERT_EQ(row[size], 0xa5) << "wrote past the row";
      }
    }
}

TEST_P(UnpackTest, EmbedsAsFromRows) {
  const Packed w(GetParam(), 40, 512, 3);
  const std::vector<TokenId> tokens = {39, 0, 17, 17, 15, 16, 31};
  std::vector<float> from_rows(tokens.size() * 512), from_panels(tokens.size() * 512, -1.0f);
  ThreadPool pool(2);
  const Ops ops(kRefOps, pool);
  ops.embed(TensorView{w.rows.data(), w.dtype, Shape{w.n, w.k}}, tokens, from_rows.data());
  ops.embed(w.matrix(), tokens, from_panels.data());
  EXPECT_EQ(std::memcmp(from_rows.data(), from_panels.data(), from_rows.size() * 4), 0);
}

// FNV-1a, 64 bits.
uint64_t hash_of(const uint8_t* data, size_t bytes) {
  uint64_t hash = 0xcbf29ce484222325ull;
  for (size_t i = 0; i < bytes; ++i) hash = (hash ^ data[i]) * 0x100000001b3ull;
  return hash;
}

// Packs on disk hold these layouts. Who changes one raises kPackVersion, and enters the new number and hashes; a new
// format enters its own.
TEST(PackLayout, IsThatOfItsVersion) {
  ASSERT_EQ(kPackVersion, 1);
  const std::map<std::string, uint64_t> known = {
      {"F32", 0x89f9ab617764dfb7},  {"F16", 0x87ee8721b3fa8ef5},  {"BF16", 0x8d85621abad9aed1},
      {"Q8_0", 0x3caa36c4eb5b6e30}, {"Q4_0", 0x6eef53a3ee3c7b5c}, {"Q4_K", 0xcffd0c2b22663023},
      {"Q6_K", 0xe0cf992019aecf2f}, {"Q5_0", 0xf82c9678f8b296a3}, {"Q5_K", 0x9caff4707afa8f48},
      {"Q4_1", 0x0d9466c1c7a8256b}, {"Q5_1", 0xae82f16330a40086}, {"Q2_K", 0x4958e747ab05bd7b}, {"Q3_K", 0xf727cb64520d2b08},
      {"IQ4_NL", 0x6eef53a3ee3c7b5c}, {"MXFP4", 0x600bf09516395d2a}, {"I8_G128", 0x1670ed1ad160e27d},
      {"IQ4_XS", 0xa978b738078034a8}, {"IQ3_S", 0xacf779a5e67a7b17}, {"IQ3_XXS", 0x7f74d5083743cf4d},
      {"IQ2_S", 0xd9087cdf3af6a334}, {"IQ2_XS", 0x22b32d030e5d9934}, {"IQ2_XXS", 0x2e4ab70ee01ec2a2},
      {"IQ1_M", 0xb20ea80e5acf75db}, {"IQ1_S", 0x0713c285d7a66734}, {"TQ2_0", 0x3f726933ac540cdf},
      {"TQ1_0", 0x06bad1db44695f10}, {"NVFP4", 0xb23892e19e7b845f}, {"F64", 0x3e89c75669869a61},
      {"F8_E4M3", 0x509bbe5128e1a270}, {"F8_E5M2", 0x509bbe5128e1a270}, {"U4_G128", 0xc1ecaba3277f0c79},
      {"U4_G32", 0xbbc09ff3b7aa3001}, {"U8_G128", 0x393e2cc2b8fbce8a}, {"U8_G32", 0x5598dc40d3186dfd},
      {"F8_G128", 0x993e6061e471c076}, {"F8_G32", 0xdbbcfe656bbb5698}, {"NF4_G64", 0xb23892e19e7b845f},
  };
  for (const DType type : packable()) {
    const Packed w(type, 20, 768, 1);
    const auto it = known.find(std::string(dtype_name(type)));
    const uint64_t hash = hash_of(w.panels.data(), Ops::packed_bytes(type, w.n, w.k));
    EXPECT_TRUE(it != known.end() && it->second == hash)
        << "{\"" << dtype_name(type) << "\", 0x" << std::hex << hash << "}";
  }
}

}  // namespace
}  // namespace sluice
