#include "weights/memory_check.h"

#include <cmath>

#include "backend/ops.h"
#include "weights/output_head.h"

namespace sluice {
namespace {

// Rounded to the hundredths that are printed, so that the printed sum adds up.
double gib(size_t bytes) { return std::round(static_cast<double>(bytes) / (1 << 30) * 100) / 100; }

}  // namespace

size_t weight_bytes(const TensorSource& source) {
  const bool own_head = has_own_head(source.tensors());
  size_t bytes = 0;
  for (const TensorInfo& info : source.tensors()) {
    const bool embedding = is_token_embedding(info.name);
    if (info.shape.rank == 1) bytes += static_cast<size_t>(info.shape.elems()) * sizeof(float);
    else if (Ops::matmul_supports(info.dtype) && !(embedding && own_head)) {
      const int64_t k = info.shape[info.shape.rank - 1];
      bytes += Ops::packed_bytes(info.dtype, info.shape.elems() / k, k);
    }
  }
  return bytes;
}

Status check_fits(const TensorSource& source, size_t kv_bytes, size_t work_bytes, const MemoryLimit& limit) {
  const size_t weights = weight_bytes(source), need = weights + kv_bytes + work_bytes;
  if (need <= limit.available_bytes) return {};
  return resource_exhausted(
      fmt::format("{} does not fit in memory: weights {:.2f} GiB + KV cache {:.2f} GiB + working memory {:.2f} GiB = "
                  "{:.2f} GiB, but {:.2f} "
                  "GiB are available (of {:.2f} GiB that this process may use); take a smaller model, fewer bits per "
                  "weight, or a smaller "
                  "KV cache",
                  source.metadata().origin(), gib(weights), gib(kv_bytes), gib(work_bytes),
                  gib(weights) + gib(kv_bytes) + gib(work_bytes),
                  gib(limit.available_bytes), gib(limit.total_bytes)));
}

}  // namespace sluice
