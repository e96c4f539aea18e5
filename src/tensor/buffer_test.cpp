#include "tensor/buffer.h"

#include <gtest/gtest.h>
#include <linux/mempolicy.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "base/machine.h"

namespace sluice {
namespace {

TEST(Buffer, IsZeroedAndMoves) {
  Buffer a = Buffer::allocate(size_t{5} << 20).value();
  EXPECT_TRUE(std::all_of(a.data(), a.data() + a.bytes(), [](uint8_t b) { return b == 0; }));
  EXPECT_EQ(reinterpret_cast<uintptr_t>(a.data()) % 64, 0u);
  a.data()[7] = 7;
  Buffer b = std::move(a);
  EXPECT_EQ(b.data()[7], 7);
  EXPECT_FALSE(Buffer::allocate(size_t{1} << 60).ok());
}

// What one node can show: the policy is set on the buffer's pages, and they hold what is written.
TEST(Buffer, InterleavesOverTheNodesThatItIsGiven) {
  const std::vector<int> nodes = memory_nodes();
  if (nodes.empty()) GTEST_SKIP() << "the kernel does not say which nodes of memory there are, or a policy is set";
  Buffer buffer = Buffer::allocate(size_t{1} << 20).value();
  int mode = -1;
  ASSERT_EQ(::syscall(SYS_get_mempolicy, &mode, nullptr, 0, buffer.data(), MPOL_F_ADDR), 0);
  EXPECT_EQ(mode, MPOL_DEFAULT);
  ASSERT_TRUE(buffer.interleave(nodes));
  ASSERT_EQ(::syscall(SYS_get_mempolicy, &mode, nullptr, 0, buffer.data(), MPOL_F_ADDR), 0);
  EXPECT_EQ(mode, MPOL_INTERLEAVE);
  std::fill_n(buffer.data(), buffer.bytes(), uint8_t{3});
  EXPECT_EQ(buffer.data()[buffer.bytes() - 1], 3);

  Buffer other = Buffer::allocate(4096).value();
  EXPECT_FALSE(other.interleave(std::vector<int>{1000}));  // no such node
  EXPECT_FALSE(Buffer().interleave(nodes));
}

}  // namespace
}  // namespace sluice
