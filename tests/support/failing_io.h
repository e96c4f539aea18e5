#pragma once
// A device in memory whose requests end late and in any order, and may fail, at random from a seed.

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "base/rng.h"
#include "exec/async_io.h"

namespace sluice::test {

class FailingIo final : public AsyncIo {
 public:
  FailingIo(size_t bytes, uint64_t seed) : bytes_(bytes), rng_(seed) {}
  /// 0: none fails.
  void fail_one_in(uint64_t n) { one_in_ = n; }
  size_t failures() const { return failures_; }

  void start(const IoRequest& r) override {
    EXPECT_EQ(r.at % kIoPage, 0u);
    EXPECT_EQ(r.size % kIoPage, 0u);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(r.bytes) % kIoPage, 0u);
    ASSERT_LE(r.at + r.size, bytes_.size());
    for (const IoRequest& other : flying_)
      EXPECT_TRUE(r.at >= other.at + other.size || other.at >= r.at + r.size) << "two requests for the same bytes";
    flying_.push_back(r);
  }
  std::optional<IoDone> poll() override {
    if (flying_.empty() || rng_.below(4) != 0) return std::nullopt;
    return wait();
  }
  IoDone wait() override {
    std::swap(flying_[rng_.below(flying_.size())], flying_.back());
    const IoRequest r = flying_.back();
    flying_.pop_back();
    const bool fails = one_in_ > 0 && rng_.below(one_in_) == 0;
    failures_ += fails;
    // Of what fails, anything may have been moved.
    const size_t n = fails ? static_cast<size_t>(rng_.below(r.size)) : r.size;
    uint8_t* at = bytes_.data() + r.at;
    std::memcpy(r.writes ? at : r.bytes, r.writes ? r.bytes : at, n);
    return {r.tag, fails ? EIO : 0};
  }
  bool asynchronous() const override { return true; }

 private:
  std::vector<uint8_t> bytes_;
  Rng rng_;
  uint64_t one_in_ = 0;
  std::vector<IoRequest> flying_;
  size_t failures_ = 0;
};

}  // namespace sluice::test
