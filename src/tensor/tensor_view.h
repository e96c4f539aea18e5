#pragma once
// A tensor that somebody else owns: row-major, contiguous, at most four dimensions, outermost first.

#include <array>
#include <cstdint>
#include <string>

#include "tensor/dtype.h"

namespace sluice {

struct Shape {
  std::array<int64_t, 4> dims{1, 1, 1, 1};
  int rank = 0;

  Shape() = default;
  Shape(std::initializer_list<int64_t> d) { for (auto x : d) dims[rank++] = x; }
  int64_t elems() const { int64_t n = 1; for (int i = 0; i < rank; ++i) n *= dims[i]; return n; }
  int64_t operator[](int i) const { return dims[i]; }
  bool operator==(const Shape&) const = default;
  std::string text() const;  // "[32000, 4096]"
};

struct TensorView {
  const void* data = nullptr;
  DType dtype = DType::f32;
  Shape shape;

  int64_t rows() const { return shape.rank == 2 ? shape[0] : 1; }
  int64_t cols() const { return shape.rank == 2 ? shape[1] : shape.elems(); }
  const void* row(int64_t r) const { return static_cast<const char*>(data) + r * static_cast<int64_t>(row_bytes(dtype, cols())); }
};

}  // namespace sluice
