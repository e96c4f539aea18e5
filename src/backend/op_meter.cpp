#include "backend/op_meter.h"

#include <algorithm>

#include "backend/attend_plan.h"
#include "backend/pack.h"
#include "backend/row_ops.h"

namespace sluice {

namespace {
double tile_token_bytes(const KvLayerView& kv) { return static_cast<double>(kv.tile_bytes()) / kv.tile_tokens(); }
double streams(const KvLayerView& kv) { return kv.one_row() ? 1 : 2; }
}  // namespace

OpWork embed_work(DType dtype, int64_t k, int64_t rows) {
  const double row = static_cast<double>(row_bytes(dtype, k)) + 4.0 * static_cast<double>(k);
  return {"embed", static_cast<double>(rows) * row, 0};
}

OpWork matmul_work(int64_t rows, std::span<const MatmulOut> outs) {
  OpWork work;
  for (const MatmulOut& o : outs) {
    work.bytes += static_cast<double>(Ops::packed_bytes(o.w->dtype, o.w->n, o.w->k));
    work.operations += 2.0 * static_cast<double>(rows) * static_cast<double>(o.w->n) * static_cast<double>(o.w->k);
  }
  if (outs.empty()) return work;
  const DType dtype = outs[0].w->dtype;
  work.op = outs[0].w->role;
  work.arithmetic = is_block_type(dtype) ? Arithmetic::int8
                    : dtype == DType::bf16            ? Arithmetic::bf16
                                                      : Arithmetic::f32;
  return work;
}

OpWork attend_work(const AttendArgs& args) {
  double positions = 0, pairs = 0;  // key-value positions read, and (row, position) pairs
  for (const AttendSegment& s : args.segments) {
    const int64_t last = int64_t{s.first_pos} + s.rows - 1;
    positions += static_cast<double>(seen_by(args, s, last).end - seen_by(args, s, s.first_pos).first);
    for (int64_t p = s.first_pos; p <= last; ++p) {
      const Seen seen = seen_by(args, s, p);
      pairs += static_cast<double>(seen.end - seen.first);
    }
  }
  SharedPrefixes shared;
  find_shared_prefixes(args, attend_shared_rows(args.heads / args.kv.kv_heads), shared);
  for (const SharedPrefixes::Group& g : shared.groups) positions -= static_cast<double>((g.count - 1) * g.tiles * kSuperTile);
  const double token_bytes = streams(args.kv) * args.kv.kv_heads * tile_token_bytes(args.kv);
  return {"attention", positions * token_bytes, 2.0 * pairs * args.heads * (args.kv.head_dim + args.value_dim())};
}

OpWork write_kv_work(int64_t rows, const KvLayerView& kv) {
  const double head = 4.0 * kv.head_dim + tile_token_bytes(kv);
  return {"write_kv", streams(kv) * static_cast<double>(rows) * kv.kv_heads * head, 0};
}

OpWork values_work(std::string_view op, int64_t values, int passes, int operations) {
  return {op, 4.0 * passes * static_cast<double>(values),
          static_cast<double>(operations) * static_cast<double>(values)};
}

void OpMeter::add(const OpWork& work, Nanos ns) {
  auto entry = std::ranges::find_if(entries_, [&](const Entry& e) { return e.work.op == work.op; });
  if (entry == entries_.end()) entry = entries_.insert(entry, {{.op = work.op, .arithmetic = work.arithmetic}, 0, 0});
  entry->work.bytes += work.bytes;
  entry->work.operations += work.operations;
  entry->ns += ns;
  ++entry->calls;
}

void OpTimer::finish() {
  const Nanos end = meter_->clock_.now();
  meter_->inside_ = false;
  meter_->add(work_, end - start_);
}

}  // namespace sluice
