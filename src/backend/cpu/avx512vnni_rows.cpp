// The row kernels for AVX-512 F, BW, DQ, VL and VNNI.

#include <immintrin.h>

#include "backend/row_ops.h"

namespace sluice {
namespace {

#include "backend/cpu/avx512_rows.inc"

}  // namespace

constinit const RowOps kAvx512VnniRowOps = make_row_ops();

}  // namespace sluice
