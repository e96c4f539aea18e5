#pragma once
// Counters of what Ops does: time, bytes and operations per kind of work. Ops has one only while somebody measures; a
// call without one costs a comparison with null.

#include <cstdint>
#include <string_view>
#include <vector>

#include "backend/ops.h"
#include "base/clock.h"

namespace sluice {

/// Which peak bounds an op's arithmetic.
enum class Arithmetic : uint8_t { f32, bf16, int8 };

/// What a call asks of the machine at least. Bytes are those of weights, keys and values, each counted once (also keys
/// and values that sequences share and read together); of work
/// that has neither, the activations read and written, which may be in a cache. A multiply-add counts two operations.
struct OpWork {
  std::string_view op;  // "rope", or a matrix's role; a product counts what it does besides, its input's norm too; lives as long as the program
  double bytes = 0, operations = 0;
  Arithmetic arithmetic = Arithmetic::f32;
};

/// Rows of k values looked up and decoded.
OpWork embed_work(DType dtype, int64_t k, int64_t rows);
/// Of the role of the first matrix.
OpWork matmul_work(int64_t rows, std::span<const MatmulOut> outs);
OpWork attend_work(const AttendArgs& args);
OpWork write_kv_work(int64_t rows, const KvLayerView& kv);
/// Element-wise: each of `values` crosses memory `passes` times as float32, with `operations` each; exp counts one.
OpWork values_work(std::string_view op, int64_t values, int passes, int operations);

class OpMeter {
 public:
  /// Everything of one op since the last reset().
  struct Entry {
    OpWork work;  // sums
    Nanos ns = 0;
    uint64_t calls = 0;
  };

  /// In the order in which ops were first called.
  const std::vector<Entry>& entries() const { return entries_; }
  void reset() { entries_.clear(); }

 private:
  friend class OpTimer;
  void add(const OpWork& work, Nanos ns);

  RealClock clock_;
  std::vector<Entry> entries_;
  bool inside_ = false;  // of a call: what it calls is its own
};

/// One line at the top of an op: OpTimer timer(meter_, [&] { return matmul_work(rows, outs); });
class OpTimer {
 public:
  template <class Work>
  OpTimer(OpMeter* meter, Work&& work) {
    if (meter == nullptr || meter->inside_) return;
    meter_ = meter;
    meter_->inside_ = true;
    work_ = work();
    start_ = meter_->clock_.now();
  }
  ~OpTimer() {
    if (meter_ != nullptr) finish();
  }
  OpTimer(const OpTimer&) = delete;
  OpTimer& operator=(const OpTimer&) = delete;

 private:
  void finish();

  OpMeter* meter_ = nullptr;
  OpWork work_;
  Nanos start_ = 0;
};

}  // namespace sluice
