#pragma once
// A weight as a part of a file's tensor. Files hold the same matrix alone, beside others in one tensor (Phi-3's qkv_proj), head by
// head between them (GPT-NeoX's query_key_value), as one of a stack (experts), or as its transpose (GPT-2's Conv1D).

#include <cstdint>
#include <string>

#include "base/result.h"
#include "tensor/buffer.h"
#include "tensor/tensor_view.h"

namespace sluice {

struct TensorSource;
struct TensorInfo;

/// Row r of a weight is row first + r / run * stride + r % run of the tensor; run 0: first + r. With `wrap`, it is so of r's place in a
/// group of `wrap` rows, and what comes out past the group goes on at its second run: run 1, stride 2 puts its halves row by row.
struct RowMap {
  int64_t first = 0, run = 0, stride = 0, wrap = 0;
  int64_t operator()(int64_t r) const {
    if (run == 0) return first + r;
    if (wrap == 0) return first + r / run * stride + r % run;
    const int64_t in_group = r % wrap, at = in_group / run * stride + in_group % run;
    return first + r - in_group + (at < wrap ? at : at - wrap + run);
  }
};

struct WeightPiece {
  std::string name;
  Shape shape;              // what the tensor has to have: [N, K], [N] of a vector, [E, N, K] of a stack; transposed: [K, N], [E, K, N]
  RowMap rows;              // within it, or within one of its stack
  int64_t of_stack = 0;     // which one
  bool transposed = false;  // a row of the weight is a column of the tensor
  int64_t first_column = 0; // and its column 0 is this row of the tensor
  float plus = 0;           // of vectors: added to every value (gains that are stored as their difference from 1)
  bool log_of_minus = false; // of vectors: a value v is stored as ln(-v) (decay rates)
  bool rest_unread = false; // nothing reads the tensor's other rows, which may hold anything

  /// Whether it is all of the tensor, in its order.
  bool whole() const { return shape.rank < 3 && !transposed && rows.first == 0 && rows.run == 0; }
};

/// Whether a tensor has the shape wanted; GGUF writers leave out leading dimensions of 1.
bool fits(const Shape& there, const Shape& wanted);

/// The piece's tensor, with its shape checked. The error names file, tensor and both shapes, or says what is missing.
Result<const TensorInfo*> find_piece(const TensorSource& source, const WeightPiece& piece);

/// Whether the piece can be read as a vector of this tensor: unsupported where its values stand in blocks with others'.
Status check_vector(const TensorSource& source, const TensorInfo& info, const WeightPiece& piece);

/// Row-major rows [first, first + n) of the piece, k values each, as the tensor encodes them: where they stand, or
/// gathered into `memory`. Transposed ones of a type with blocks are float32, as the view says.
Result<TensorView> piece_rows(const TensorSource& source, const TensorInfo& info, const WeightPiece& piece, int64_t first,
                              int64_t n, int64_t k, Buffer& memory);

/// The k values of row r of the piece, or with k of 1 value r of a vector, as the tensor has them.
Status decode_row(const TensorSource& source, const WeightPiece& piece, int64_t r, int64_t k, Buffer& memory, float* out);

}  // namespace sluice
