#pragma once
// Products with matrices whose columns stand in another order (PackedMatrix::order), as GPTQ's of activation order do.

#include <span>

#include "backend/ops.h"

namespace sluice {

bool has_order(std::span<const MatmulOut> outs);
/// Ops::matmul where some of the outs have an order: the input is gathered once for each order. A product equals, bit
/// for bit, that of the gathered rows.
void ordered_matmul(const Ops& ops, const MatmulIn& in, std::span<const MatmulOut> outs);
/// The same of Ops::mlp and Ops::experts, whose products are then computed one after the other; so they are where an MLP norms its
/// hidden values, which takes whole rows.
bool has_order(const Mlp& mlp);
void stepwise_mlp(const Ops& ops, const MatmulIn& in, const Mlp& mlp, float* y);
bool has_order(const Experts& experts);
void ordered_experts(const Ops& ops, const MatmulIn& in, const Experts& experts, const ExpertChoice& choice, float* y, std::span<int64_t> rows_of);

}  // namespace sluice
