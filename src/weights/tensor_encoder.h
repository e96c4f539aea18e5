#pragma once
// A planned tensor's bytes, piece by piece: several threads ask for the values and encode them.

#include <functional>
#include <vector>

#include "base/thread_pool.h"
#include "weights/gguf_writer.h"

namespace sluice {

class TensorEncoder {
 public:
  explicit TensorEncoder(ThreadPool& pool);

  /// Calls `sink` with what comes next of the tensor's bytes, in order, until its first error.
  Status encode(const GgufTensor& tensor, const std::function<Status(const uint8_t* bytes, size_t count)>& sink);

 private:
  ThreadPool& pool_;
  std::vector<std::vector<float>> values_;       // of each thread; kept for their memory
  std::vector<std::vector<uint8_t>> row_major_;  // of packed tensors
  std::vector<uint8_t> encoded_;
};

}  // namespace sluice
