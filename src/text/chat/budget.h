#pragma once
// What bounds a render: steps, bytes made, bytes written and depth. Templates come out of model files and are not
// trusted to end; everything in the interpreter that repeats or grows asks here first.

#include <cstdint>

#include "text/chat/render_limits.h"
#include "text/chat/template_error.h"

namespace sluice::jinja {

class Budget {
 public:
  explicit Budget(const RenderLimits& limits) : limits_(limits) {}

  void step(uint64_t n = 1) {
    steps_ += n;
    if (steps_ > limits_.max_steps) fail_limit(fmt::format("more than {} steps (max_steps)", limits_.max_steps));
  }
  /// Work that reads or writes `n` bytes.
  void read(uint64_t n) { step(1 + n / 16); }
  /// A new string or container of `n` bytes.
  void allocate(uint64_t n) {
    read(n);
    allocated_ += n;
    if (allocated_ > limits_.max_alloc_bytes)
      fail_limit(fmt::format("more than {} bytes of values (max_alloc_bytes)", limits_.max_alloc_bytes));
  }
  const RenderLimits& limits() const { return limits_; }

  /// Held while an expression, a statement or a nested value is visited.
  class Depth {
   public:
    explicit Depth(Budget& budget) : budget_(budget) {
      if (++budget_.depth_ > budget_.limits_.max_depth) {
        --budget_.depth_;
        fail_limit(fmt::format("nested or recursive deeper than {} (max_depth)", budget_.limits_.max_depth));
      }
    }
    ~Depth() { --budget_.depth_; }
    Depth(const Depth&) = delete;
    Depth& operator=(const Depth&) = delete;

   private:
    Budget& budget_;
  };

 private:
  RenderLimits limits_;
  uint64_t steps_ = 0;
  uint64_t allocated_ = 0;
  int depth_ = 0;
};

}  // namespace sluice::jinja
