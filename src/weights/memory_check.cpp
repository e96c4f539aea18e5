#include "weights/memory_check.h"

#include <cmath>

#include <fmt/core.h>

namespace sluice {
namespace {

// Rounded to the hundredths that are printed, so that the printed sum adds up.
double gib(size_t bytes) { return std::round(static_cast<double>(bytes) / (1 << 30) * 100) / 100; }

}  // namespace

Status check_fits(const std::string& model, size_t weight_bytes, size_t kv_bytes, size_t work_bytes, const MemoryLimit& limit) {
  const size_t need = weight_bytes + kv_bytes + work_bytes;
  if (need <= limit.available_bytes) return {};
  return resource_exhausted(
      fmt::format("{} does not fit in memory: weights {:.2f} GiB + KV cache {:.2f} GiB + working memory {:.2f} GiB = "
                  "{:.2f} GiB, but {:.2f} "
                  "GiB are available (of {:.2f} GiB that this process may use); take a smaller model, fewer bits per "
                  "weight, or a smaller "
                  "KV cache",
                  model, gib(weight_bytes), gib(kv_bytes), gib(work_bytes),
                  gib(weight_bytes) + gib(kv_bytes) + gib(work_bytes),
                  gib(limit.available_bytes), gib(limit.total_bytes)));
}

}  // namespace sluice
