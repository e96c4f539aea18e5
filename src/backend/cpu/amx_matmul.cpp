// The matmul kernels of the block types for AMX-INT8: one tdpbsud takes up to 16 rows by the 16 columns of a panel by
// one sub-block, in int32. Scaling and adding are those of block_tile (matmul_kernels.inc), in the same order, in
// AVX-512. A sub-block of 32 values fills half of a tile's 64 bytes: that many share a scale, so that at most half of
// the peak is used.
//
// Never run on hardware so far (OpTable::unproven); amx_emulator_test.cpp runs this object with its tile instructions
// emulated.

#include <immintrin.h>

#include "backend/cpu/matmul.h"

namespace sluice::amx {
namespace {

#include "backend/cpu/avx512_vectors.inc"

struct Dot4;  // the types name the dot product that vectors would take
using Dot5 = Dot4;
using Dot8 = Dot4;

#include "backend/cpu/matmul_kernels.inc"

// The tile registers. GCC 12's intrinsics do not say that they read memory, hence the barriers.
#define SLUICE_SUMS 0     // [rows][16 columns] int32
#define SLUICE_ROWS 1     // [rows][k] int8
#define SLUICE_WEIGHTS 2  // [k / 4][16 columns][4] uint8
#define SLUICE_MEMORY_IS_READ asm volatile("" : : : "memory")

// What ldtilecfg reads (Intel SDM, volume 1, chapter 18); palette 1 has eight tiles of up to 16 rows of 64 bytes.
struct TileConfig {
  uint8_t palette, start_row, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
};
static_assert(sizeof(TileConfig) == 64);

void configure(int rows, int k) {
  alignas(64) TileConfig config = {};
  config.palette = 1;
  config.rows[SLUICE_SUMS] = config.rows[SLUICE_ROWS] = static_cast<uint8_t>(rows);
  config.rows[SLUICE_WEIGHTS] = static_cast<uint8_t>(k / 4);
  config.row_bytes[SLUICE_SUMS] = config.row_bytes[SLUICE_WEIGHTS] = 64;
  config.row_bytes[SLUICE_ROWS] = static_cast<uint16_t>(k);
  SLUICE_MEMORY_IS_READ;
  _tile_loadconfig(&config);
}

// Blocks of a panel, unpacked for all rows.
template <template <int> class Type>
using Chunk = UnpackedFrom<Type, 1>;

// dots[rows][16] of sub-block `sub` (counted over the chunk).
template <template <int> class Type>
SLUICE_INLINE void multiply(const Chunk<Type>& w, int sub, const ActBlock* x, int rows, int32_t* dots) {
  constexpr int kSubs = Type<1>::kSubs;
  const int b = sub / kSubs, s = sub % kSubs;
  SLUICE_MEMORY_IS_READ;
  _tile_zero(SLUICE_SUMS);
  _tile_loadd(SLUICE_ROWS, x[b * rows].q + s * (kActBlock / kSubs), sizeof(ActBlock));
  _tile_loadd(SLUICE_WEIGHTS, w.values[b][s * (8 / kSubs)][0], 64);
  _tile_dpbsud(SLUICE_SUMS, SLUICE_ROWS, SLUICE_WEIGHTS);
  _tile_stored(SLUICE_SUMS, dots, 64);
}

// acc[rows][16] += scale * dot, and after a block's last sub-block the minimums. Where a scale serves several blocks, their sums
// add up in part[rows][16] first, which the last of them leaves at zero.
template <template <int> class Type>
SLUICE_INLINE void accumulate(const Chunk<Type>& w, int sub, const ActBlock* x, int rows, const int32_t* dots,
                              float* part, float* acc) {
  constexpr int kSubs = Type<1>::kSubs, kBiasShift = Type<1>::kBiasShift, kScaleBlocks = Type<1>::kScaleBlocks;
  const int b = sub / kSubs, s = sub % kSubs;
  const F scale = f_load(w.scales[b][s][0]);
  x += b * rows;
  const bool whole = b % kScaleBlocks == kScaleBlocks - 1;
  for (int r = 0; r < rows; ++r, part += kLanes, acc += kLanes, dots += kLanes) {
    int bias = 0;  // what the offset of the unsigned values adds too much
    if (kBiasShift >= 0) {
      bias = kSubs == 1 ? x[r].bias : s == 0 ? x[r].bias_lo : x[r].bias - x[r].bias_lo;
      bias >>= kBiasShift > 0 ? kBiasShift : 0;
    }
    const I dot = i_add(_mm512_loadu_si512(dots), i_set1(bias));
    const F a = f_set1(x[r].scale);
    if constexpr (kScaleBlocks > 1) {
      const F added = f_fma(f_from_i(dot), a, f_load(part));
      f_store(part, whole ? f_zero() : added);
      if (whole) f_store(acc, f_fma(added, scale, f_load(acc)));
    } else {
      F sum = f_fma(f_from_i(dot), f_mul(scale, a), f_load(acc));
      if (Type<1>::kMin) sum = f_fnma(f_load(w.mins[b][0]), f_set1(x[r].scaled_sum), sum);
      f_store(acc, sum);
    }
  }
}

// acc over the n blocks of w; x is [n][rows]. The tiles work a sub-block ahead of the vectors, since what a tile has
// stored cannot be loaded at once.
template <template <int> class Type>
void tile_blocks(const Chunk<Type>& w, int n, const ActBlock* x, int rows, float* acc) {
  alignas(64) int32_t dots[2][16 * kLanes];
  alignas(64) float part[16 * kLanes];
  if constexpr (Type<1>::kScaleBlocks > 1) clear(part, rows * kLanes);
  const int subs = n * Type<1>::kSubs;
  multiply<Type>(w, 0, x, rows, dots[0]);
  for (int i = 0; i < subs; ++i) {
    if (i + 1 < subs) multiply<Type>(w, i + 1, x, rows, dots[(i + 1) % 2]);
    accumulate<Type>(w, i, x, rows, dots[i % 2], part, acc);
  }
}

template <template <int> class Type>
void tile_panel(const MatmulTile& t, int panel) {
  const int64_t blocks = t.k / kActBlock;
  alignas(64) float acc[kMaxTileRows * kLanes];
  clear(acc, count_rows(t) * kLanes);
  Type<1> w;
  w.open(0, lane_group(t, panel), blocks);
  Chunk<Type> unpacked;
  int configured = 0;
  for (int64_t first = 0; first < blocks; first += kChunkBlocks) {
    const int n = static_cast<int>(blocks - first < kChunkBlocks ? blocks - first : kChunkBlocks);
    unpacked.fill(w, first, n);
    float* to = acc;
    for (int g = 0; g < t.n_groups; ++g) {
      const int rows = t.groups[g].rows;
      if (rows != configured) configure(configured = rows, kActBlock / Type<1>::kSubs);
      tile_blocks<Type>(unpacked, n, static_cast<const ActBlock*>(t.groups[g].x) + first * rows, rows, to);
      to += rows * kLanes;
    }
  }
  write_out<1>(t, panel * kLanes, acc);
}

template <template <int> class Type>
void tile_matmul(const MatmulTile& t) {
  for (int panel = 0; panel < t.n_panels; ++panel) tile_panel<Type>(t, panel);
  _tile_release();
}

// Q2_K's tile is one of vectors.
template <int L>
struct Q2_K;
template <>
void tile_matmul<Q2_K>(const MatmulTile& t) {
  avx512vnni::matmul_q2_k(t);
}

// A group of so few rows is left to the vectors, which then pass over the weights once.
bool few(const MatmulTile& t) { return t.n_groups == 1 && t.groups[0].rows <= avx512vnni::kBlockRows; }

}  // namespace

#define SLUICE_DEFINE(name, Type)           \
  void matmul_##name(const MatmulTile& t) { \
    if (few(t))                             \
      avx512vnni::matmul_##name(t);         \
    else                                    \
      tile_matmul<Type>(t);                 \
  }
SLUICE_KERNELS(SLUICE_DEFINE)

}  // namespace sluice::amx
