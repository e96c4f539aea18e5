// Ops::attend and Ops::write_kv.

#include <algorithm>
#include <optional>

#include "backend/attend_plan.h"
#include "backend/kv_blocks.h"
#include "backend/op_meter.h"
#include "backend/op_table.h"
#include "backend/ops.h"
#include "backend/row_ops.h"
#include "base/check.h"

namespace sluice {
namespace {

// Memory that grows and stays with its thread from call to call, so that a step allocates nothing once warm.
float* grown(Buffer& buffer, int64_t floats) {
  const size_t bytes = static_cast<size_t>(floats) * sizeof(float);
  if (buffer.bytes() < bytes) {
    auto larger = Buffer::allocate(bytes + bytes / 4);
    CHECK(larger.ok(), "no memory for {} bytes of attention scratch", bytes);
    buffer = std::move(*larger);
  }
  return buffer.as<float>();
}

AttendPart part_at(float* base, int n) {
  const int64_t padded = (n + kLanes - 1) / kLanes * kLanes;
  return {base, base + padded, base + 2 * padded};
}

// One call: what all units share, and what a unit does.
struct Attention {
  const AttendArgs& args;
  const RowOps& ops;
  const AttendPlan& plan;
  AttendTileFn* attend_tile;  // of float32 where the format is unpacked
  float* arena;
  const KvUnpack* unpack;  // of block formats, or null

  int group() const { return args.heads / args.kv.kv_heads; }
  int64_t part_floats(const AttendBlock& b) const { return attend_part_floats(b.rows * group(), args.kv.head_dim); }
  int64_t query_floats(const AttendBlock& b) const {
    return static_cast<int64_t>(attend_query_floats(b.rows * group(), args.kv.head_dim));
  }

  // n query vectors' partial, from one of them on.
  AttendPart part_from(const AttendPart& part, int64_t n) const {
    return {part.m + n, part.l + n, part.o + n * padded_dim(args.kv.head_dim)};
  }
  AttendPart part_of(const AttendBlock& b, int64_t i) const {
    return part_at(arena + b.arena_floats + i * part_floats(b), b.rows * group());
  }

  AttendTile tile_of(const AttendBlock& b) const {
    const AttendSegment& s = args.segments[static_cast<size_t>(b.segment)];
    const KvLayerView& kv = args.kv;
    const int64_t tile_bytes = static_cast<int64_t>(kv.tile_bytes());
    AttendTile t{};
    t.row_stride = static_cast<int64_t>(args.heads) * kv.head_dim;
    t.q = args.q + static_cast<int64_t>(b.kv_head) * group() * kv.head_dim;
    t.first_pos = static_cast<int64_t>(s.first_pos) + b.first_row;
    if (b.batch_rows >= 0) {
      t.batch_rows = plan.batch_rows.data() + b.batch_rows;
      t.first_pos = b.tile_end * kSuperTile - 1;  // all see all of the prefix
    } else {
      t.q += (s.first_row + b.first_row) * t.row_stride;
    }
    t.rows = b.rows;
    t.group = group();
    t.head_dim = kv.head_dim;
    t.v_dim = args.value_dim();
    t.end = args.causal ? 0 : int64_t{s.first_pos} + s.rows;
    t.window = args.window;
    t.scale = args.scale;
    t.softcap = args.softcap;
    t.slopes = args.slopes != nullptr ? args.slopes + b.kv_head * group() : nullptr;
    t.kv_type = kv.format->type;
    t.row_bytes = static_cast<int>(kv.format->row_bytes(kv.head_dim));
    t.side_bytes = kv.format->side_bytes;
    t.side_offset = static_cast<int64_t>(kv.format->side_offset(kv.tile_tokens(), kv.head_dim));
    t.k = kv.k + b.kv_head * tile_bytes;
    t.v = kv.v + b.kv_head * tile_bytes;
    t.tile_stride = tile_bytes * kv.kv_heads;
    t.tile_tokens = kv.tile_tokens();
    t.block_tokens = kv.block_tokens;
    t.blocks = s.blocks;
    return t;
  }

  void finish(const AttendBlock& b, const AttendPart& part) const {
    const AttendSegment& s = args.segments[static_cast<size_t>(b.segment)];
    const int dim = args.value_dim();
    for (int row = 0; row < b.rows; ++row)
      for (int i = 0; i < group(); ++i) {
        const int64_t n = static_cast<int64_t>(row) * group() + i, head = b.kv_head * group() + i;
        const int64_t to = (s.first_row + b.first_row + row) * static_cast<int64_t>(args.heads) + head;
        ops.attend_finish(part.o + n * padded_dim(args.kv.head_dim), part.m[n], part.l[n],
                          args.sinks != nullptr ? args.sinks + head : nullptr, dim, args.out + to * dim);
      }
  }

  // Memory for the tiles of as many KV heads' blocks: their partials and one more, what is made of their queries, and the tile's
  // scratch.
  struct Memory {
    float* merged;
    AttendPart next;
    float* queries;
    float* scratch;
    float* unpacked;  // keys, then values of a super-tile, each [kSuperTile][head_dim]; of block formats
  };
  Memory memory_for(const AttendBlock& b, int heads) const {
    static thread_local Buffer buffer;
    const int n = b.rows * group();
    const int64_t floats = part_floats(b);
    const int64_t queries = heads * query_floats(b);
    const int64_t scratch = (static_cast<int64_t>(attend_scratch_floats(n, args.kv.head_dim)) + kLanes - 1) / kLanes * kLanes;
    const int64_t unpacked = unpack != nullptr ? int64_t{2} * kSuperTile * args.kv.head_dim : 0;
    float* const at = grown(buffer, (heads + 1) * floats + queries + scratch + unpacked);
    float* const last = at + heads * floats;
    float* const after = last + floats + queries;
    return {at, part_at(last, n), last + floats, after, after + scratch};
  }

  // The same tile in float32, as the only block of its table, at position 0.
  AttendTile unpacked(const AttendBlock& b, AttendTile t, float* memory) const {
    static constexpr BlockId kTable[] = {0};
    const KvLayerView& kv = args.kv;
    const int64_t start = t.tile * kSuperTile, last = t.first_pos + (b.batch_rows >= 0 ? 0 : b.rows - 1);
    const int64_t lo = std::max(start, args.window > 0 ? t.first_pos - args.window + 1 : 0);
    const int64_t hi = std::min(start + kSuperTile, last + 1);
    // Rows of a shared prefix stand behind it.
    const int64_t open_from = b.batch_rows >= 0 ? hi : t.first_pos / kv.block_tokens * kv.block_tokens;
    float* const k = memory;
    float* const v = memory + int64_t{kSuperTile} * kv.head_dim;
    unpack->read(KvPart::keys, b.kv_head, t.blocks, lo, hi, open_from, k + (lo - start) * kv.head_dim);
    unpack->read(KvPart::values, b.kv_head, t.blocks, lo, hi, open_from, v + (lo - start) * kv.head_dim);
    t.first_pos -= start;
    t.tile = 0;
    t.kv_type = KvType::f32;
    t.row_bytes = kv.head_dim * static_cast<int>(sizeof(float));
    t.side_bytes = 0;
    t.side_offset = 0;
    t.k = reinterpret_cast<const uint8_t*>(k);
    t.v = reinterpret_cast<const uint8_t*>(v);
    t.tile_stride = 0;
    t.tile_tokens = kSuperTile;
    t.block_tokens = kSuperTile;
    t.blocks = kTable;
    t.next_k = nullptr;
    return t;
  }

  // Computes the super-tiles [begin, end) of a block, and merges them in order into `merged`, which holds what stands
  // before the first, if anything does; or, where it is null, writes each to its partial of the arena. `head`: of `memory`;
  // `again`: its queries stand there. `next`: the KV head and the super-tile that come after these, or -1.
  struct Next {
    int kv_head = -1;
    int64_t tile = 0;
  };
  void fold(const AttendBlock& b, int64_t begin, int64_t end, bool empty, const AttendPart* merged, const Memory& memory, int head,
            bool again, Next next) const {
    AttendTile t = tile_of(b);
    const uint8_t* const after = next.kv_head < 0 ? nullptr : t.k + (next.kv_head - b.kv_head) * static_cast<int64_t>(args.kv.tile_bytes());
    t.queries = memory.queries + head * query_floats(b);
    t.again = again;
    t.scratch = memory.scratch;
    for (t.tile = begin; t.tile < end; ++t.tile, empty = false, t.again = true) {
      t.part = merged == nullptr ? part_of(b, t.tile - b.tile_begin) : empty ? *merged : memory.next;
      t.next_k = t.tile + 1 < end ? t.k : after;
      t.next_tile = t.tile + 1 < end ? t.tile + 1 : next.tile;
      attend_tile(unpack != nullptr ? unpacked(b, t, memory.unpacked) : t);
      if (merged != nullptr && !empty) ops.attend_merge(*merged, t.part, b.rows * group(), args.kv.head_dim);
    }
  }

  // The KV heads take turns, so that all of a block's tiles, which adjoin, are read while their pages and the lines that
  // hardware fetched beyond a tile are at hand.
  void run(const AttendUnit& unit) const {
    const AttendBlock* const blocks = plan.blocks.data() + unit.block;
    const Memory memory = memory_for(blocks[0], unit.heads);
    const bool split = blocks[0].parts == blocks[0].tile_end - blocks[0].tile_begin;
    const int64_t turn = unit.heads > 1 ? kTurnTiles : unit.tile_end - unit.tile_begin;
    const auto merged = [&](int head) {
      return blocks[head].parts > 0 ? part_of(blocks[head], 0) : part_at(memory.merged + head * part_floats(blocks[0]), blocks[0].rows * group());
    };
    for (int64_t begin = unit.tile_begin, end; begin < unit.tile_end; begin = end) {
      end = std::min(begin + turn, unit.tile_end);
      for (int head = 0; head < unit.heads; ++head) {
        Next next{blocks[head].kv_head + 1, begin};
        if (head + 1 == unit.heads) next = {end < unit.tile_end ? blocks[0].kv_head : -1, end};
        const AttendPart part = merged(head);
        const bool first = begin == unit.tile_begin;
        fold(blocks[head], begin, end, first, split ? nullptr : &part, memory, head, !first, next);
      }
    }
    for (int head = 0; head < unit.heads; ++head)
      if (blocks[head].parts == 0) finish(blocks[head], merged(head));
  }

  // What was left of a block until all units were done: its partials are merged onto those of the prefix that it
  // shares, or are computed now.
  void finish_last(const AttendBlock& b) const {
    const int n = b.rows * group();
    std::optional<AttendPart> merged;
    const auto merge_all = [&](const AttendBlock& of, int64_t from) {
      for (int64_t i = 0; i < of.parts; ++i) {
        const AttendPart part = part_from(part_of(of, i), from);
        if (merged)
          ops.attend_merge(*merged, part, n, args.kv.head_dim);
        else
          merged = part;
      }
    };
    if (b.prefix >= 0)
      merge_all(plan.blocks[static_cast<size_t>(b.prefix)], static_cast<int64_t>(b.prefix_row) * group());
    merge_all(b, 0);
    if (b.parts == 0) fold(b, b.tile_begin, b.tile_end, false, &*merged, memory_for(b, 1), 0, false, {});
    finish(b, *merged);
  }
};

}  // namespace

void Ops::attend(const AttendArgs& args) const {
  const OpTimer timer(meter_, [&] { return attend_work(args); });
  constexpr int64_t kSharedProducts = 131072;  // fewer multiplications are done sooner by one thread
  CHECK(args.kv.kv_heads > 0 && args.heads % args.kv.kv_heads == 0, "{} query heads over {} KV heads", args.heads,
        args.kv.kv_heads);
  CHECK(args.kv.head_dim <= kMostHeadDim, "heads of {} values; the most are {}", args.kv.head_dim, kMostHeadDim);
  CHECK(args.kv.head_dim > 0 && args.kv.block_tokens > 0 && args.scale > 0);
  CHECK(args.kv.blocks_of_tile == 1 || (args.kv.tile_tokens() == 16 && args.kv.format->block == nullptr), "tiles of {} blocks of {} in {}",
        args.kv.blocks_of_tile, args.kv.block_tokens, args.kv.format->name);
  CHECK(args.v_dim >= 0 && args.v_dim <= args.kv.head_dim, "values of {} dims in rows of {}", args.v_dim, args.kv.head_dim);
  CHECK(args.kv.format->block == nullptr || (args.causal && !args.kv.one_row()),
        "{} keeps keys apart from values, and blocks open for those who see them last", args.kv.format->name);
  for (const AttendSegment& s : args.segments)
    CHECK(args.kv.pair == nullptr || s.first_pos % args.kv.block_tokens + s.rows <= args.kv.block_tokens,
          "rows {} to {} in one pass: the layer above has not sealed a block of {} that the later ones read", s.first_pos,
          s.first_pos + s.rows - 1, args.kv.block_tokens);
  static thread_local AttendPlan own_plan;
  static thread_local Buffer own_arena;
  const AttendPlan& plan = own_plan;  // the caller's, in every worker
  int64_t products = 0;
  for (const AttendSegment& s : args.segments)
    products += int64_t{2} * s.rows * (s.first_pos + s.rows) * args.heads * args.kv.head_dim;
  const bool shared = products >= kSharedProducts;
  plan_attention(args, shared ? pool_.size() : 1, own_plan);
  const bool blocks = args.kv.format->block != nullptr;
  const size_t type = static_cast<size_t>(blocks ? KvType::f32 : args.kv.format->type);
  AttendTileFn* const own = table_.row->attend_tile[type];
  std::optional<KvUnpack> unpack;
  if (blocks) unpack.emplace(args.kv, *table_.row);
  const Attention attention{args, *table_.row, plan, own != nullptr ? own : kRefRowOps.attend_tile[type],
                            grown(own_arena, plan.arena_floats), unpack ? &*unpack : nullptr};
  pool_.run_if(shared, static_cast<int>(plan.units.size()),
               [&](int task, int) { attention.run(plan.units[static_cast<size_t>(task)]); });
  if (plan.last.empty()) return;
  pool_.run_if(shared, static_cast<int>(plan.last.size()), [&](int task, int) {
    attention.finish_last(plan.blocks[static_cast<size_t>(plan.last[static_cast<size_t>(task)])]);
  });
}

void Ops::write_kv(const float* k, const float* v, std::span<const int64_t> slots, const KvLayerView& kv) const {
  const OpTimer timer(meter_, [&] { return write_kv_work(static_cast<int64_t>(slots.size()), kv); });
  const KvFormat& format = *kv.format;
  CHECK(format.block == nullptr || !kv.one_row(), "{} keeps keys apart from values", format.name);
  if (format.block != nullptr) return write_kv_blocks(k, v, slots, kv, *table_.row, pool_);
  KvEncodeFn* const own = table_.row->kv_encode[static_cast<size_t>(format.type)];
  KvEncodeFn* const encode = own != nullptr ? own : format.encode;
  const size_t tile_bytes = kv.tile_bytes(), row_bytes = format.row_bytes(kv.head_dim),
               side_offset = format.side_offset(kv.tile_tokens(), kv.head_dim);
  const auto store = [&](int64_t row) {
    const int64_t block = slots[static_cast<size_t>(row)] / kv.tile_tokens(),
                  offset = slots[static_cast<size_t>(row)] % kv.tile_tokens();
    for (int head = 0; head < kv.kv_heads; ++head) {
      const int64_t from = (row * kv.kv_heads + head) * kv.head_dim;
      const size_t tile = static_cast<size_t>(block * kv.kv_heads + head) * tile_bytes;
      const size_t row_at = tile + static_cast<size_t>(offset) * row_bytes,
                   side_at = tile + side_offset + static_cast<size_t>(offset * format.side_bytes);
      encode(k + from, kv.head_dim, kv.k + row_at, kv.k + side_at);
      if (!kv.one_row()) encode(v + from, kv.head_dim, kv.v + row_at, kv.v + side_at);
    }
  };
  constexpr int64_t kRowsPerTask = 32;
  const int64_t rows = static_cast<int64_t>(slots.size());
  pool_.run(static_cast<int>((rows + kRowsPerTask - 1) / kRowsPerTask), [&](int task, int) {
    for (int64_t row = task * kRowsPerTask; row < std::min(rows, (task + 1) * kRowsPerTask); ++row) store(row);
  });
}

}  // namespace sluice
