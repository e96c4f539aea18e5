#pragma once
// Products with matrices whose columns stand in another order (PackedMatrix::order), as GPTQ's of activation order do.

#include <span>

#include "backend/ops.h"

namespace sluice {

bool has_order(std::span<const MatmulOut> outs);
/// Ops::matmul where some of the outs have an order: the input is gathered once for each order. A product equals, bit
/// for bit, that of the gathered rows.
void ordered_matmul(const Ops& ops, const MatmulIn& in, std::span<const MatmulOut> outs);

}  // namespace sluice
