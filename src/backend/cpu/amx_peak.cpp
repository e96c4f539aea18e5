// The byte dot-product peak of AMX: full tiles, 16 rows by 16 columns by 64 values of k.

#include <immintrin.h>

#include "backend/cpu/peak.h"

namespace sluice::amx {

int64_t int8_peak(int64_t rounds) {
  alignas(64) uint8_t config[64] = {1};  // the palette; then at 16 and 48 the bytes and the number of rows
  for (int t = 0; t < 8; ++t) config[16 + 2 * t] = 64, config[48 + t] = 16;
  asm volatile("" : : : "memory");  // GCC 12's intrinsics do not say what they read
  _tile_loadconfig(config);
  for (int64_t r = 0; r < rounds; ++r) {
    _tile_dpbsud(0, 4, 5);
    _tile_dpbsud(1, 4, 6);
    _tile_dpbsud(2, 7, 5);
    _tile_dpbsud(3, 7, 6);
  }
  _tile_release();
  return rounds * 4 * 16 * 16 * 64 * 2;
}

}  // namespace sluice::amx
