#include "backend/op_meter.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "backend/op_table.h"
#include "quant/weight/weight_format.h"

namespace sluice {
namespace {

struct Matrix {
  Matrix(const Ops& ops, DType dtype, int64_t n, int64_t k, std::string_view role)
      : bytes(Ops::packed_bytes(dtype, n, k)) {
    std::vector<float> values(static_cast<size_t>(n * k));
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 17) - 8;
    std::vector<uint8_t> encoded(row_bytes(dtype, n * k));
    weight_format(dtype)->encode(values.data(), encoded.data(), n * k);
    memory = std::move(Buffer::allocate(bytes)).value();
    ops.pack({encoded.data(), dtype, Shape{n, k}}, memory.data());
    packed = {dtype, n, k, memory.data(), role};
  }
  size_t bytes;
  Buffer memory;
  PackedMatrix packed;
};

class OpMeterTest : public testing::Test {
 protected:
  ThreadPool pool{2};
  Ops ops{*select_op_table().value(), pool};
  OpMeter meter;
};

TEST_F(OpMeterTest, CountsWhatAMatmulMovesAndComputes) {
  const Matrix q(ops, DType::q8_0, 64, 96, "qkv"), k(ops, DType::q8_0, 32, 96, "qkv"),
      head(ops, DType::f32, 48, 96, "head");
  std::vector<float> x(5 * 96, 1), y(5 * 64), z(5 * 32), logits(5 * 48), off(5 * 64);
  const MatmulOut both[] = {{&q.packed, nullptr, y.data(), 64}, {&k.packed, nullptr, z.data(), 32}};
  const MatmulOut last{&head.packed, nullptr, logits.data(), 48};
  ops.set_meter(&meter);
  ops.matmul({x.data(), 5, 96}, both);
  ops.matmul({x.data(), 1, 96}, both);
  ops.matmul({x.data(), 2, 96}, {&last, 1});
  ops.set_meter(nullptr);
  const MatmulOut again{&q.packed, nullptr, off.data(), 64};
  ops.matmul({x.data(), 5, 96}, {&again, 1});  // not counted

  ASSERT_EQ(meter.entries().size(), 2u);
  const OpMeter::Entry &qkv = meter.entries()[0], &f32 = meter.entries()[1];
  EXPECT_EQ(qkv.work.op, "qkv");
  EXPECT_EQ(qkv.calls, 2u);
  EXPECT_EQ(qkv.work.arithmetic, Arithmetic::int8);
  EXPECT_EQ(qkv.work.bytes, 2.0 * static_cast<double>(q.bytes + k.bytes));
  EXPECT_EQ(qkv.work.operations, 2.0 * (5 + 1) * (64 + 32) * 96);
  EXPECT_GT(qkv.ns, 0);
  EXPECT_EQ(f32.work.op, "head");
  EXPECT_EQ(f32.work.arithmetic, Arithmetic::f32);
  EXPECT_EQ(f32.work.operations, 2.0 * 2 * 48 * 96);
  meter.reset();
  EXPECT_TRUE(meter.entries().empty());
}

TEST_F(OpMeterTest, CountsThePositionsThatAttentionReads) {
  constexpr int kHeads = 4, kKvHeads = 2, kDim = 8, kBlock = 4;
  std::vector<float> kv(2 * 8 * kBlock * kKvHeads * kDim, 0.5f), q(5 * kHeads * kDim, 1), out(q.size());
  auto* memory = reinterpret_cast<uint8_t*>(kv.data());
  const std::vector<BlockId> blocks{0, 1, 2, 3, 4, 5, 6, 7};
  // Rows at 10, 11, 12 of one sequence and at 0, 1 of another.
  const AttendSegment segments[] = {{0, 3, 10, blocks.data()}, {3, 2, 0, blocks.data()}};
  AttendArgs args{q.data(), out.data(), kHeads,
                  0.5f,     0,          {&kKvF32, kBlock, kKvHeads, kDim, memory, memory + kv.size() * 2},
                  segments};
  const OpWork all = attend_work(args);
  EXPECT_EQ(all.bytes, (13 + 2) * 2.0 * kKvHeads * kDim * 4);
  EXPECT_EQ(all.operations, 4.0 * (11 + 12 + 13 + 1 + 2) * kHeads * kDim);
  args.window = 5;  // from 6 on
  const OpWork windowed = attend_work(args);
  EXPECT_EQ(windowed.bytes, (7 + 2) * 2.0 * kKvHeads * kDim * 4);
  EXPECT_EQ(windowed.operations, 4.0 * (5 + 5 + 5 + 1 + 2) * kHeads * kDim);
  // Both ways: each row sees its segment and what stands before it, of which a window of 5 takes 2 on either side.
  args.causal = false;
  EXPECT_EQ(attend_work(args).bytes, (5 + 2) * 2.0 * kKvHeads * kDim * 4);
  EXPECT_EQ(attend_work(args).operations, 4.0 * (5 + 4 + 3 + 2 + 2) * kHeads * kDim);
  args.window = 0;
  EXPECT_EQ(attend_work(args).operations, 4.0 * (3 * 13 + 2 * 2) * kHeads * kDim);
  // Rows that are keys and values.
  args.causal = true;
  args.kv.v = args.kv.k;
  args.v_dim = 6;
  EXPECT_EQ(attend_work(args).bytes, (13 + 2) * 1.0 * kKvHeads * kDim * 4);
  EXPECT_EQ(attend_work(args).operations, 2.0 * (11 + 12 + 13 + 1 + 2) * kHeads * (kDim + 6));
}

TEST_F(OpMeterTest, ACallInsideACallIsItsOwn) {
  {
    const OpTimer outer(&meter, [] { return values_work("outer", 10, 1, 1); });
    const OpTimer inner(&meter, [] { return values_work("inner", 10, 1, 1); });
  }
  ASSERT_EQ(meter.entries().size(), 1u);
  EXPECT_EQ(meter.entries()[0].work.op, "outer");
  const OpTimer off(nullptr, []() -> OpWork {
    ADD_FAILURE() << "without a meter, nothing is worked out";
    return {};
  });
}

}  // namespace
}  // namespace sluice
