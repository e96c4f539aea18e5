#include "quant/weight/weight_format.h"

namespace sluice {

std::span<const WeightFormat* const> weight_formats() {
  static constexpr const WeightFormat* kAll[] = {
      &kF32, &kF16, &kBF16, &kQ8_0, &kQ4_0, &kQ4_K, &kQ6_K, &kQ5_0, &kQ5_K, &kIQ4_NL, &kMXFP4, &kQ4_1, &kQ5_1, &kQ3_K, &kQ2_K,
      &kI8_G128, &kIQ4_XS, &kIQ3_S, &kIQ3_XXS, &kIQ2_S, &kIQ2_XS, &kIQ2_XXS, &kIQ1_M, &kIQ1_S, &kTQ2_0, &kTQ1_0, &kNVFP4,
      &kF64, &kF8_E4M3, &kF8_E5M2, &kU4_G128, &kU4_G32, &kU8_G128, &kU8_G32, &kF8_G128, &kF8_G32, &kNF4_G64,
  };
  return kAll;
}

const WeightFormat* weight_format(DType dtype) {
  for (const WeightFormat* f : weight_formats())
    if (f->dtype == dtype) return f;
  return nullptr;
}

}  // namespace sluice
