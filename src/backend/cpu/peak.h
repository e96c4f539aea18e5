#pragma once
// Arithmetic peaks for the roofline (OpTable::peaks).

#include "backend/kernel_args.h"

namespace sluice {
namespace avx2 { PeakFn f32_peak, bf16_peak, int8_peak; }
namespace avx512bw { PeakFn f32_peak, bf16_peak, int8_peak; }
namespace avx512vnni { PeakFn int8_peak; }
namespace avxvnni { PeakFn int8_peak; }
namespace avx512vnni256 { PeakFn int8_peak; }
namespace avx512bf16 { PeakFn bf16_peak; }
namespace amx { PeakFn int8_peak; }
}  // namespace sluice
