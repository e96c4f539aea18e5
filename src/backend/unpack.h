#pragma once
// Rows out of packed panels (pack.h): what an embedding lookup and a conversion back need.

#include <cstdint>

#include "backend/ops.h"

namespace sluice {

/// Row `row` of w in the bytes that pack_panel() was given: row_bytes(w.dtype, w.k) of them.
void unpack_row(const PackedMatrix& w, int64_t row, uint8_t* out);

}  // namespace sluice
