#pragma once
// Everything but matmul, as one table of functions per ISA, with the plain data that they take: nothing here brings a
// symbol into an ISA file that the linker could share. Tables of different ISAs agree to the bit.
//
// The arithmetic of attention, which every ISA follows to the bit:
//  - positions are cut into super-tiles of 256 at absolute positions; a row's part of a super-tile is the interval
//    [lo, hi) of its positions that the row sees there;
//  - K[t] and V[t] are what the KV format decodes to for this row, in float32, before the factors f(t) and g(t) of their rows, which are 1
//    where it has none, and kFp8Factor of fp8 (quant/kv/kv_format.h);
//  - score(t) = f(t) * sum over d of q[d] * K[t][d], one fused multiply-add per d, d ascending;
//  - m = max over t of score(t), times scale; p(t) = exp(fma(score(t), scale, -m));
//  - where scores are capped or biased: s(t) = score(t) * scale, then cap * tanh(s(t) / cap) by softcap's arithmetic (Gemma 2), then
//    fma(slope of the head, t - position of the row, s(t)) (ALiBi, Press et al. 2022); m = max of s(t), and p(t) = exp(s(t) - m);
//  - l = sum of p(t) in 16 lanes (t mod 16), each ascending, then folded 16 -> 8 -> 4 -> 2 -> 1;
//  - o[d] = sum over t of (p(t) * g(t)) * V[t][d], one fused multiply-add per t, t ascending from lo;
//  - the partials (m, l, o) of the super-tiles are merged in ascending order, and o is divided by l at the end;
//  - a sink, a logit of the head that only the denominator has (gpt-oss; Xiao et al. 2024 for what it does), joins then: with
//    m' = max(m, sink) and w = exp(m - m'), o is multiplied by w / fma(l, w, exp(sink - m')).
// Values may be narrower than keys: of a row of V, only the first v_dim dims count (multi-head latent attention, DeepSeek-V2 2024,
// whose values are the first dims of the very rows that are its keys).
// Formats whose rows are integers times their factor (int8, int4: integer_rows below) are attended in integers, which are
// exact and so have no order:
//  - q is to_integers(q, query_steps()): integers of at most that, to nearest even, times s = max |q[d]| / query_steps();
//  - score(t) = f(t) * float32(sum over d of q[d] * K[t][d]), and `scale` is scale * s, in what caps and biases them too;
//  - the weights w(t) = p(t) * g(t) of the positions that the row sees in the super-tile are to_integers(w, weight_steps()) too,
//    with the factor s_w, and o[d] = s_w * float32(sum over t of w(t) * V[t][d]); l is the sum of p(t), as above.
// (Queries as integers beside integer keys as in SageAttention, Zhang et al., ICLR 2025, which has 8 bits of both and keeps
// float weights. Here they have 8 bits beside the 4 of int4 and 15 or 16 beside 8, so that the format remains what loses.)
// Nothing in this depends on the other rows, the blocks, the threads or the width of a vector register.
// (FlashAttention-2, Dao 2023, for the tiling; Flash-Decoding, Dao et al. 2023, for the merge.)

#include <cstddef>
#include <cstdint>

#include "backend/row_args.h"
#include "quant/kv/kv_type.h"

namespace sluice {

constexpr int kSuperTile = 256;  // positions per partial
constexpr int kSubTile = 64;     // positions whose K is transposed at a time
constexpr int kLanes = 16;       // lanes of a sum, in every ISA; o is padded to a multiple of it

/// Integers of a query, and of a weight. Sums of kMostHeadDim products of one, and of kSuperTile of the other, with the integers
/// of a row stay in int32.
static constexpr int query_steps(KvType type) { return type == KvType::int4 ? 127 : 16383; }
static constexpr int weight_steps(KvType type) { return type == KvType::int4 ? 255 : 32767; }
constexpr int kMostHeadDim = 1024;

static constexpr bool integer_rows(KvType type) { return type == KvType::int8 || type == KvType::int4; }
static constexpr int padded_dim(int head_dim) { return (head_dim + kLanes - 1) / kLanes * kLanes; }

/// Partials of `rows` query vectors; l == 0 marks one that saw no position of the super-tile.
struct AttendPart {
  float* m;  // [rows]
  float* l;  // [rows]
  float* o;  // [rows, padded_dim(head_dim)], not divided by l
};

/// Batch rows against one super-tile of one KV head. Row r's group of query heads are the partials
/// [r * group, (r + 1) * group).
struct AttendTile {
  const float* q;         // the first row's first head of this group; with batch_rows, the batch's first row's
  int64_t row_stride;     // floats from a row's queries to the next row's
  const int* batch_rows;  // [rows] in the batch, which see the same positions; null: consecutive rows
  int rows, group, head_dim, v_dim;  // v_dim <= head_dim: dims of values and outputs
  int64_t first_pos;  // of the first row; the others follow it, or with batch_rows see what it sees
  int64_t end;        // 0: causal; > 0: a row sees what follows it too, up to there
  int window;         // as in AttendArgs
  float scale;
  float softcap;        // 0: none
  const float* slopes;  // [group] or null; not with batch_rows
  KvType kv_type;
  int row_bytes, side_bytes;  // of a token (quant/kv/kv_format.h)
  int64_t side_offset;        // in a tile
  const uint8_t* k;           // this KV head's first tile
  const uint8_t* v;
  int64_t tile_stride;   // from this KV head's tile to its next one, in bytes
  int tile_tokens;       // a multiple of block_tokens
  int block_tokens;      // of a block, whose first slot is its id times that
  const uint32_t* blocks;
  float* queries;  // attend_query_floats(rows * group, head_dim), aligned to 64 bytes: what is made of the queries
  bool again;      // a call before had the same rows against another tile, and made that
  int64_t tile;    // positions [tile * kSuperTile, (tile + 1) * kSuperTile)
  const uint8_t* next_k;  // of the KV head, and the super-tile, that come next, to be asked for; or null
  int64_t next_tile;
  float* scratch;  // attend_scratch_floats(rows * group, head_dim), aligned to 64 bytes
  AttendPart part;
};

static constexpr size_t attend_query_floats(int n, int head_dim) { return static_cast<size_t>(n * padded_dim(head_dim)); }
/// Scores [n][kSuperTile], one sub-tile of K, transposed, 40 bytes of what each query vector sees and its scales, and integer
/// outputs, padded to two times 64 dims.
static constexpr size_t attend_scratch_floats(int n, int head_dim) {
  const size_t dim = static_cast<size_t>(padded_dim(head_dim));
  return static_cast<size_t>(n) * (kSuperTile + 10 + dim + 128) + kSubTile * dim + kLanes;
}

/// One row's rotation: pairs (i, i + pairs), or (2i, 2i + 1) when interleaved, i < pairs, in each of `heads` heads.
struct RopeRow {
  float* x;  // the first head's first dim that is rotated
  int heads, head_dim, pairs;
  bool interleaved;
  const float* cos;  // [pairs]
  const float* sin;
};

using AttendTileFn = void(const AttendTile& a);
/// into = merge(into, part) for n partials.
using AttendMergeFn = void(const AttendPart& into, const AttendPart& part, int n, int head_dim);
/// out[dim] = o / l for one partial, whose denominator the sink joins where there is one.
using AttendFinishFn = void(const float* o, float m, float l, const float* sink, int dim, float* out);
/// One row; in place allowed.
using NormFn = void(const float* x, const Norm& norm, int64_t cols, float* out);
using RopeFn = void(const RopeRow& a);
/// x = act(x).
using ActivateFn = void(float* x, int64_t count);
/// gate = act(gate) * up, or what swiglu_oai makes of the two.
using GateFn = void(float* gate, const float* up, int64_t count, const SwigluParams& params);
using AddFn = void(float* x, const float* y, int64_t count);
/// x += scale * y, one fused multiply-add each.
using AddScaledFn = void(float* x, const float* y, float scale, int64_t count);
using ScaleFn = void(float* x, float scale, int64_t count);
/// x = cap * tanh(x / cap).
using SoftcapFn = void(float* x, float cap, int64_t count);
/// KvFormat::encode.
using KvEncodeFn = void(const float* x, int head_dim, uint8_t* row, uint8_t* side);
/// KvBlockCodec::decode.
using KvDecodeFn = void(KvPart part, const uint8_t* tile, int block_tokens, int head_dim, int first, int count, float* x);

/// What an ISA gives for everything but matmul.
struct RowOps {
  AttendTileFn* attend_tile[kNumKvTypes];  // by KvType; null: the reference's
  AttendMergeFn* attend_merge;
  AttendFinishFn* attend_finish;
  NormFn* norm;
  RopeFn* rope;
  ActivateFn* activate[kNumActivations];  // by Activation; null of swiglu_oai
  GateFn* gate[kNumActivations];
  AddFn* add;
  AddScaledFn* add_scaled;
  ScaleFn* scale;
  SoftcapFn* softcap;
  KvEncodeFn* kv_encode[kNumKvTypes];  // by KvType; null: the format's own
  KvDecodeFn* kv_decode[kNumKvTypes];  // of block formats, and of f16, in which open blocks stand; null: the same
};

extern const RowOps kRefRowOps;
extern const RowOps kAvx2RowOps;        // needs AVX2, FMA, F16C
extern const RowOps kAvx512RowOps;      // needs AVX-512 F, BW, DQ, VL, and the above
extern const RowOps kAvx512VnniRowOps;  // needs AVX-512 VNNI, and the above

}  // namespace sluice
