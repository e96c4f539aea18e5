#pragma once
// The weights of one model in the form that the kernels read: matrices packed into tile order, vectors as float32,
// embedding tables row-major. Loading a packed copy gives the mapped bytes back to the page cache; what a native pack
// holds packed is used where it is mapped.

#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backend/ops.h"
#include "base/machine.h"
#include "base/result.h"
#include "weights/tensor_source.h"
#include "weights/weight_piece.h"

namespace sluice {

class WeightStore {
 public:
  WeightStore(std::shared_ptr<TensorSource> source, const Ops& ops) : source_(std::move(source)), ops_(ops) {}

  /// A piece [n, k], packed for matmul.
  Result<PackedMatrix> matrix(const WeightPiece& piece, int64_t n, int64_t k);
  /// A piece [n], as float32.
  Result<std::span<const float>> vector(const WeightPiece& piece, int64_t n);
  /// A piece [rows, k], row-major: mapped, or a copy where the file has it unaligned or otherwise.
  Result<TensorView> table(const WeightPiece& piece, int64_t rows, int64_t k);
  /// All pieces are taken: the last tensor can be given back.
  void loaded() { release_before(nullptr); }
  /// Memory of this store's own for `count` values that a model makes of its weights.
  Result<std::span<float>> values(int64_t count);

  /// Called with the bytes of weights ready so far, after each matrix; of weight_bytes() in all.
  void on_progress(std::function<void(size_t bytes)> progress) { progress_ = std::move(progress); }

  const TensorSource& source() const { return *source_; }
  /// Packed and converted bytes that this store owns.
  size_t owned_bytes() const { return owned_bytes_; }
  /// Bytes of the packed matrices that are used where they are mapped.
  size_t mapped_bytes() const { return mapped_bytes_; }

 private:
  Result<uint8_t*> own(size_t bytes);
  /// Of equal orders, as the matrices of one input have, the first: they are products of one input then. The source keeps them.
  const int32_t* shared_order(std::span<const int32_t> order);
  /// Gives back the tensor that was packed last, unless the next piece is of it too.
  void release_before(const TensorInfo* info);
  void report() const {
    if (progress_) progress_(owned_bytes_ + mapped_bytes_);
  }

  std::shared_ptr<TensorSource> source_;
  const Ops& ops_;
  const TensorInfo* held_ = nullptr;
  std::deque<Buffer> buffers_;
  static constexpr size_t kKnownOrders = 8;
  std::deque<std::span<const int32_t>> orders_;
  std::vector<int> nodes_ = memory_nodes();
  std::function<void(size_t)> progress_;
  size_t owned_bytes_ = 0, mapped_bytes_ = 0;
};

}  // namespace sluice
