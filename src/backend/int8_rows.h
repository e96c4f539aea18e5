#pragma once
// Rows rounded to int8 with one scale for the whole row, as the linear layers of BitNet b1.58 take them (Ma et al. 2024, "The era of
// 1-bit LLMs"): part of what such a model computes, where the blocks of ActForm::q8 are an approximation of ours. Integers times
// ternary weights are exact in int32, so that with such weights the only roundings are those of the scales.

#include <cstdint>

#include "backend/kernel_args.h"

namespace sluice {

/// x[k] becomes whole numbers within [-127, 127], halves to even: the multiples of the step that is returned, max |x| / 127. Values
/// below 1e-5 count as that. A row that is not finite becomes zeros of a NaN step.
float round_to_int8(float* x, int64_t k);

/// Rows of whole numbers q[rows, k] under `steps` [rows] in the form that kernels of block types read (ActForm::q8): out[k / 32][rows].
void arrange_int8(const float* q, const float* steps, int64_t k, int rows, ActBlock* out);

}  // namespace sluice
