#pragma once
// Arithmetic peaks for the roofline (OpTable::f32_peak, int8_peak).

#include "backend/kernel_args.h"

namespace sluice {
namespace avx2 { PeakFn f32_peak, int8_peak; }
namespace avx512bw { PeakFn f32_peak, int8_peak; }
namespace avx512vnni { PeakFn int8_peak; }
}  // namespace sluice
