#pragma once
// Bounds of one template and one render; a template that passes any of them fails with resource_exhausted.

#include <cstddef>
#include <cstdint>

namespace sluice {

struct RenderLimits {
  size_t max_source_bytes = size_t{1} << 20;
  uint64_t max_steps = 20'000'000;             // about one per evaluated expression, or per 16 bytes touched
  size_t max_alloc_bytes = size_t{1} << 30;    // all strings and lists made while rendering, live or not
  size_t max_output_bytes = size_t{64} << 20;
  int max_depth = 600;                         // nested expressions, statements and calls
};

}  // namespace sluice
