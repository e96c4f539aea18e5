#include "sched/segment_progress.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace sluice {

const SegmentProgress::Progress* SegmentProgress::find(SeqId id) const {
  const auto it = progress_.find(id);
  return it == progress_.end() ? nullptr : &it->second;
}

SegmentWork::Take SegmentProgress::look_up(const Request& request, int segment) const {
  const KvSegment& s = request.reuse.segments[static_cast<size_t>(segment)];
  if (!s.kept) return {segment, store_->find(s.key), s.shift};
  auto run = store_->find_kept(s.key.salt, s.key.tokens);
  if (!run || static_cast<int>(run->blocks.size()) * pool_.block_tokens() < s.tokens) return {segment, {}, 0};
  SegmentHit hit{std::move(run->blocks)};
  hit.blocks.insert(hit.blocks.end(), run->above.begin(), run->above.end());
  return {segment, std::move(hit), s.first - run->position};
}

SegmentWork SegmentProgress::next(const Sequence& seq, int computed, int room) const {
  const KvReuse& reuse = seq.request->reuse;
  const int length = static_cast<int>(seq.tokens.size());
  SegmentWork work;
  work.computed = computed;
  work.rows = length - computed;
  if (reuse.segments.empty() || computed >= reuse.segments.back().end()) {
    const Progress* p = reuse.segments.empty() ? nullptr : find(seq.id);
    if (p == nullptr || p->stage == Detour::none) return work;
  }
  if (const Progress* p = find(seq.id); p != nullptr && (p->stage == Detour::probe || p->stage == Detour::repair)) {
    work.detour = p->stage;
    work.segment = p->segment;
    work.rows = p->stage == Detour::repair ? static_cast<int>(p->chosen.size()) - p->done
                                           : reuse.segments[static_cast<size_t>(p->segment)].tokens - static_cast<int>(p->deviation.size());
    return work;
  }
  const int own = blocks(length) - seq.table.size();
  int pinned = 0;
  for (size_t g = 0; g < reuse.segments.size(); ++g) {
    const KvSegment& segment = reuse.segments[g];
    if (segment.first < work.computed) continue;
    if (segment.first > work.computed) {
      work.rows = segment.first - work.computed;
      return work;
    }
    SegmentWork::Take found = look_up(*seq.request, static_cast<int>(g));
    const SegmentHit& hit = found.hit;
    if (segment.kept && !hit) continue;  // no longer there
    if (!hit) {
      const Progress* p = find(seq.id);
      if (!work.take.empty() && pinned + own + blocks(segment.encoded_tokens()) > room) {
        work.rows = 0;  // this time no more than the copies
        return work;
      }
      work.detour = Detour::encode;
      work.segment = static_cast<int>(g);
      work.rows = segment.encoded_tokens() - (p != nullptr && p->stage == Detour::encode && p->segment == work.segment ? p->done : 0);
      return work;
    }
    const int before = pinned;
    for (const BlockRef& block : hit.blocks) pinned += block.count() == 2;
    if (segment.kept && pinned + own > room) {  // it can be done without
      pinned = before;
      continue;
    }
    if (!work.take.empty() && pinned + own > room) {
      work.rows = 0;  // this time no more than the copies
      return work;
    }
    work.take.push_back(std::move(found));
    work.computed = segment.end();
    if (const int n = reuse.recomputed_of(segment); n > 0) {
      const bool probes = reuse.rule == RecomputeRule::deviation && n < segment.tokens;
      work.detour = probes ? Detour::probe : Detour::repair;
      work.segment = static_cast<int>(g);
      work.rows = probes ? segment.tokens : n;
      return work;
    }
  }
  work.rows = length - work.computed;
  return work;
}

int SegmentProgress::scratch_needed(const Sequence& seq, const SegmentWork& work, int n) const {
  if (work.detour != Detour::encode) return 0;
  const Progress* p = find(seq.id);
  const bool goes_on = p != nullptr && p->stage == Detour::encode && p->segment == work.segment;
  return blocks((goes_on ? p->done : 0) + n) - (goes_on ? p->scratch.size() : 0);
}

int SegmentProgress::scratch_held(SeqId id) const {
  const Progress* p = find(id);
  return p == nullptr ? 0 : p->scratch.size();
}

void SegmentProgress::count(Progress& p, const Request& request, int segment, bool found) {
  p.counted.resize(request.reuse.segments.size());
  const KvSegment& s = request.reuse.segments[static_cast<size_t>(segment)];
  if (found && !p.counted[static_cast<size_t>(segment)]) p.reused += s.tokens - request.reuse.recomputed_of(s);
  p.counted[static_cast<size_t>(segment)] = true;
}

void SegmentProgress::begin_repair(Progress& p, const Request& request, int segment) {
  const KvSegment& s = request.reuse.segments[static_cast<size_t>(segment)];
  const int n = request.reuse.recomputed_of(s);
  if (n == 0) return;
  p.segment = segment;
  p.done = 0;
  p.deviation.clear();
  p.chosen.clear();
  if (request.reuse.rule == RecomputeRule::deviation && n < s.tokens) {
    p.stage = Detour::probe;
    return;
  }
  p.stage = Detour::repair;
  p.chosen.resize(static_cast<size_t>(n));
  std::iota(p.chosen.begin(), p.chosen.end(), s.first);
}

void SegmentProgress::take(const Sequence& seq, const SegmentWork::Take& take, StepPlan& plan) {
  const KvSegment& s = seq.request->reuse.segments[static_cast<size_t>(take.segment)];
  const int block_tokens = pool_.block_tokens();
  for (int done = 0; done < s.tokens;) {
    const int from = s.lead + done, to = s.first + done;
    const int n = std::min({s.tokens - done, block_tokens - from % block_tokens, block_tokens - to % block_tokens});
    KvCopy copy{take.hit.blocks[static_cast<size_t>(from / block_tokens)].id(), seq.table[to / block_tokens].id(), n};
    copy.src_offset = from % block_tokens;
    copy.dst_offset = to % block_tokens;
    copy.shift = take.shift;
    plan.copies.push_back(std::move(copy));
    done += n;
  }
  if (!s.kept) store_->use(s.key);
  Progress& p = progress_[seq.id];
  count(p, *seq.request, take.segment, true);
  p.scratch.clear();  // of an encoding that somebody else has finished first
  p.stage = Detour::none;
  begin_repair(p, *seq.request, take.segment);
}

void SegmentProgress::shape(const Sequence& seq, const SegmentWork& work, PlanItem& item) {
  const KvReuse& reuse = seq.request->reuse;
  Progress& p = progress_[seq.id];
  const auto n = static_cast<size_t>(item.n_tokens);
  item.detour = work.detour;
  p.rows.resize(n), p.slots.resize(n), p.positions.resize(n);
  if (work.detour == Detour::encode && (p.stage != Detour::encode || p.segment != work.segment)) {
    p.stage = Detour::encode, p.segment = work.segment, p.done = 0;
  }
  for (size_t k = 0; k < n; ++k) {
    const int i = static_cast<int>(k);
    int token = item.first_pos + i, slot = token, shift = 0;
    if (work.detour != Detour::none) {
      const KvSegment& s = reuse.segments[static_cast<size_t>(p.segment)];
      if (work.detour == Detour::encode) {
        slot = p.done + i;
        token = slot < s.lead ? slot : s.first + slot - s.lead;
        shift = slot < s.lead ? 0 : s.shift;
      } else {
        token = slot = work.detour == Detour::repair ? p.chosen[static_cast<size_t>(p.done + i)]
                                                     : s.first + static_cast<int>(p.deviation.size()) + i;
      }
    }
    p.rows[k] = token, p.slots[k] = slot, p.positions[k] = reuse.position_of(token) - shift;
  }
  item.positions = p.positions;
  if (work.detour == Detour::none) return;
  item.rows = p.rows;
  item.slots = p.slots;
  item.tokens = seq.tokens;
}

void SegmentProgress::settle(const Sequence& seq, const PlanItem& item, const ItemResult& result) {
  const KvReuse& reuse = seq.request->reuse;
  Progress& p = progress_.at(seq.id);
  CHECK(p.stage == item.detour, "sequence {} was on another detour", seq.id);
  const KvSegment& s = reuse.segments[static_cast<size_t>(p.segment)];
  switch (item.detour) {
    case Detour::none: break;
    case Detour::encode:
      p.done += item.n_tokens;
      if (p.done < s.encoded_tokens()) return;
      count(p, *seq.request, p.segment, false);
      store_->keep(s.key, std::exchange(p.scratch, {}));
      p.stage = Detour::none;
      return;
    case Detour::probe: {
      CHECK(result.deviation.size() == static_cast<size_t>(item.n_tokens));
      p.deviation.insert(p.deviation.end(), result.deviation.begin(), result.deviation.end());
      if (static_cast<int>(p.deviation.size()) < s.tokens) return;
      std::vector<int32_t> order(p.deviation.size());
      std::iota(order.begin(), order.end(), 0);
      for (float& d : p.deviation) d = std::isnan(d) ? std::numeric_limits<float>::infinity() : d;
      std::ranges::stable_sort(order, [&](int32_t a, int32_t b) { return p.deviation[static_cast<size_t>(a)] > p.deviation[static_cast<size_t>(b)]; });
      order.resize(static_cast<size_t>(reuse.recomputed_of(s)));
      std::ranges::sort(order);
      for (int32_t& token : order) token += s.first;
      p.chosen = std::move(order);
      p.deviation.clear();
      p.done = 0;
      p.stage = Detour::repair;
      return;
    }
    case Detour::repair:
      p.done += item.n_tokens;
      if (p.done == static_cast<int>(p.chosen.size())) p.stage = Detour::none;
      return;
  }
}

int SegmentProgress::take_reused(SeqId id) {
  const auto it = progress_.find(id);
  return it == progress_.end() ? 0 : std::exchange(it->second.reused, 0);
}

void SegmentProgress::keep_history(const Sequence& seq) {
  const KvReuse& reuse = seq.request->reuse;
  if (reuse.segments.empty() || !reuse.segments[0].kept) return;
  const int block_tokens = pool_.block_tokens();
  store_->keep_history(seq.request->salt, seq.tokens, static_cast<int>(seq.exact_tokens().size()) / block_tokens, seq.computed / block_tokens, seq.table);
}

void SegmentProgress::restart(SeqId id) {
  const auto it = progress_.find(id);
  if (it == progress_.end()) return;
  it->second.scratch.clear();
  it->second.stage = Detour::none;
  it->second.segment = -1;
}

}  // namespace sluice
