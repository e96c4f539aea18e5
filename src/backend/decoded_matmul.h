#pragma once
// Products with types that no kernel reads (PanelKind::as_in_file): a chunk of blocks at a time is unpacked in the
// cache, to what one of the table's kernels does read, so that memory holds no more than the file.

#include "backend/kernel_args.h"
#include "backend/op_table.h"
#include "quant/weight/weight_format.h"

namespace sluice {

/// `kernel` is that of panels of codes where the format has them, else that of F32 (matmul_kernel()). Of the latter
/// every result equals, bit for bit, that of the F32 matrix which the blocks stand for; of the former the chunks' sums
/// add up in order.
void decoded_matmul(const OpTable& table, const WeightFormat& format, MatmulFn* kernel, const MatmulTile& tile);

}  // namespace sluice
