#pragma once
// An executor without a model that checks every promise of docs/contracts/kv.md. It remembers, for each slot of the pool,
// which exact token prefix was computed into it. An item whose earlier positions do not hold the KV of its own tokens is
// a failure: a block was shared, evicted, copied or overwritten wrongly. With `seals_blocks` it forgets the open rows of a block that
// was freed, and a full block may be written from its start alone. The "model" samples a hash of the whole prefix,
// so one wrong token anywhere changes everything after it. With `recent` it has a second memory, by page, and an item whose last
// tokens do not stand there is a failure too.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <span>
#include <unordered_set>

#include "base/clock.h"
#include "kv/block_pool.h"
#include "kv/recent_pages.h"
#include "kv/retention/kv_retention.h"
#include "sched/executor.h"
#include "tests/support/clusters.h"

namespace sluice::test {

class ShadowExecutor final : public Executor {
 public:
  ShadowExecutor(int blocks, int block_tokens, int vocab, VirtualClock& clock)
      : block_tokens_(block_tokens), vocab_(vocab), clock_(clock), slots_(blocks * block_tokens, 0) {}

  static uint64_t extend(uint64_t prefix, TokenId token) {
    uint64_t h = prefix ^ (static_cast<uint64_t>(token) + 0x9e3779b97f4a7c15ull);
    h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9ull;
    h = (h ^ (h >> 27)) * 0x94d049bb133111ebull;
    return (h ^ (h >> 31)) | 1;  // never 0: that marks an empty slot
  }
  static TokenId next_token(uint64_t prefix, int vocab, int sample) {
    return static_cast<TokenId>(extend(prefix, 77 + sample) % static_cast<uint64_t>(vocab));
  }
  /// What a request must produce, alone or in any company.
  static std::vector<TokenId> expected(const Request& request, int sample, int vocab, int max_model_len) {
    if (request.reuse.any()) return expected_with_segments(request, sample, vocab, max_model_len);
    std::vector<TokenId> out;
    uint64_t prefix = 0;
    for (TokenId t : request.prompt) prefix = extend(prefix, t);
    while (static_cast<int>(out.size()) < request.max_tokens &&
           static_cast<int>(request.prompt.size() + out.size()) < max_model_len) {
      out.push_back(next_token(prefix, vocab, sample));
      prefix = extend(prefix, out.back());
      const auto ends = [&](const std::vector<TokenId>& ids) { return std::find(ids.begin(), ids.end(), out.back()) != ids.end(); };
      if (static_cast<int>(out.size()) > request.sampling.min_tokens &&
          (ends(request.stop_token_ids) || (!request.ignore_eos && ends(request.eos_token_ids))))
        break;
    }
    return out;
  }

  /// As many tokens of the prompt from the second on, each with a figure of all before it as its logprob.
  static std::vector<SampledToken> expected_scores(const Request& request, int count) {
    std::vector<SampledToken> out;
    uint64_t prefix = 0;
    for (int i = 1; i <= count; ++i) {
      prefix = extend(prefix, request.prompt[i - 1]);
      out.push_back({request.prompt[i], score(prefix), {}});
    }
    return out;
  }

  Ticket submit(const StepPlan& plan) override {
    result_ = {};
    int scored = 0;
    void_blocks_.clear();
    for (const BlockId block : plan.freed) open_.erase(block);
    for (const BlockId block : plan.freed)
      if (seals_blocks && !sealed_.contains(block)) std::fill_n(slots_.begin() + slot(block, 0), block_tokens_, 0);
    for (const KvCopy& copy : plan.copies) move(copy);
    for (const SeqId id : plan.ended) held_.erase(id);
    for (const KvEviction& eviction : plan.evictions) evict(eviction);
    if (seals_blocks) count_open(plan);
    std::unordered_set<int> written, written_pages;
    page_slots_.resize(static_cast<size_t>(recent.pages * block_tokens_));
    for (const PlanItem& item : plan.items) {
      if (item.request->reuse.any()) {
        run_reusing(item);
        continue;
      }
      EXPECT_EQ(item.tokens.size(), static_cast<size_t>(item.first_pos + item.n_tokens));
      EXPECT_FALSE(ends_at_blocks && item.first_pos % block_tokens_ + item.n_tokens > block_tokens_)
          << "positions " << item.first_pos << " to " << item.first_pos + item.n_tokens - 1 << " in one step";
      const int slots = item.first_pos + item.n_tokens - item.dropped;
      count_clusters(item, slots);
      EXPECT_GE(static_cast<int>(item.blocks.size()) * block_tokens_, slots);
      EXPECT_LE(item.n_scored, item.n_tokens);
      scored += item.n_scored;
      ItemResult done{item.seq, item.samples, {}};
      uint64_t prefix = 0;
      std::vector<int32_t>* held = nullptr;
      size_t next_held = 0;
      if (retention != nullptr) {
        held = &held_[item.seq];
        if (item.first_pos == 0) held->clear();
        EXPECT_EQ(static_cast<int>(held->size()), item.first_pos - item.dropped) << "sequence " << item.seq;
        EXPECT_EQ(item.dropped, retention->dropped_at(item.prompt_tokens, item.first_pos)) << "what is let go of depends on the schedule";
        EXPECT_EQ(item.dropped, retention->dropped_at(item.prompt_tokens, item.first_pos + item.n_tokens - 1)) << "an item crosses an eviction";
        EXPECT_EQ(item.positions.empty(), !retention->positions_in_cache());
        for (size_t k = 0; k < item.positions.size(); ++k) EXPECT_EQ(item.positions[k], item.first_pos - item.dropped + static_cast<int>(k));
      }
      for (int pos = 0; pos < item.first_pos + item.n_tokens; ++pos) {
        prefix = extend(prefix, item.tokens[pos]);
        if (pos >= item.first_pos && pos < item.first_pos + item.n_scored)
          done.prompt.push_back({item.request->prompt[pos + 1], score(prefix), {}});
        int in_table = pos - item.dropped;
        if (held != nullptr && pos < item.first_pos) {
          if (next_held == held->size() || (*held)[next_held] != pos) continue;  // it was let go of
          in_table = static_cast<int>(next_held++);
        }
        const int at = slot(item.blocks[in_table / block_tokens_], in_table % block_tokens_);
        if (pos < item.first_pos) {
          if (void_blocks_.contains(item.blocks[in_table / block_tokens_])) continue;
          EXPECT_EQ(slots_[at], prefix) << "sequence " << item.seq << " position " << pos << " holds foreign KV";
          if (recent.any() && pos >= item.first_pos - recent.reach) {
            EXPECT_EQ(page_slots_[page_slot(item, in_table)], prefix) << "sequence " << item.seq << " position " << pos << " has foreign KV in its page";
          }
        } else {
          if (held != nullptr) held->push_back(pos);
          EXPECT_TRUE(written.insert(at).second) << "two sequences write slot " << at;
          slots_[at] = prefix;
          if (recent.any()) {
            EXPECT_TRUE(written_pages.insert(page_slot(item, in_table)).second) << "two sequences write one slot of page " << item.pages[in_table / block_tokens_];
            page_slots_[page_slot(item, in_table)] = prefix;
          }
          write(item.blocks[in_table / block_tokens_], in_table % block_tokens_);
        }
      }
      if (item.samples) done.token = sampled(*item.request, prefix, item.sample);
      result_.items.push_back(done);
    }
    max_scored_rows = std::max(max_scored_rows, scored);
    max_step_tokens = std::max(max_step_tokens, plan.tokens());
    ++steps;
    clock_.advance_to(clock_.now() + 1000 + 10 * plan.tokens());
    return ++ticket_;
  }
  std::optional<StepResult> poll(Ticket ticket) override {
    EXPECT_EQ(ticket, ticket_);
    return result_;
  }

  int max_step_tokens = 0, max_scored_rows = 0, steps = 0, detours = 0;
  bool seals_blocks = false;
  bool ends_at_blocks = false;  // an item has positions of one block
  int copied_rows = 0;  // of open blocks
  int most_open = 1 << 30;  // blocks that may be open at once
  /// Every so many-th block that another tier saves or gives back is lost; 0: none.
  int lose_every = 0;
  int lost = 0;
  std::shared_ptr<const KvRetention> retention;  // the scheduler's, where it lets go of anything
  int evictions = 0;
  RecentKv recent;  // the pool's, where it has pages
  /// Whole groups of 16 slots that items read, and those of them that are a cluster in order (kv/block_pool.h).
  int64_t sixteens = 0, in_clusters = 0;

 private:
  void count_clusters(const PlanItem& item, int slots) {
    const int cluster = cluster_blocks(block_tokens_);
    const auto whole = item.blocks.first(static_cast<size_t>(slots / block_tokens_ / cluster * cluster));
    sixteens += std::ssize(whole) / cluster;
    in_clusters += whole_clusters(whole, cluster);
  }

  /// As the executor keeps what is written until its block is full.
  void count_open(const StepPlan& plan) {
    for (const KvCopy& copy : plan.copies)
      if (copy.from == Tier::pool && copy.to == Tier::pool && copy.tokens > 0) open_.insert(copy.dst);
    for (const PlanItem& item : plan.items)
      for (int i = item.first_pos / block_tokens_; i <= (item.first_pos + item.n_tokens - 1) / block_tokens_; ++i) open_.insert(item.blocks[i]);
    EXPECT_LE(static_cast<int>(open_.size()), most_open) << "blocks are open at once";
    for (const PlanItem& item : plan.items)
      for (int i = item.first_pos / block_tokens_; i < (item.first_pos + item.n_tokens) / block_tokens_; ++i) open_.erase(item.blocks[i]);
  }

  /// By scores that are made up, but of nothing but the token's own prefix.
  void evict(const KvEviction& e) {
    ASSERT_NE(retention, nullptr);
    std::vector<int32_t>& held = held_.at(e.seq);
    ASSERT_EQ(static_cast<int>(held.size()), e.slots_before);
    std::vector<float> scores;
    for (int i = 0; i < e.slots_before; ++i) scores.push_back(static_cast<float>(slots_[slot(e.blocks[i / block_tokens_], i % block_tokens_)] % 97));
    std::vector<int32_t> kept;
    retention->keep(scores, held, e.next_position, e.slots_before, e.slots_after, kept);
    for (int i = 0; i < e.slots_after; ++i) {
      slots_[slot(e.blocks[i / block_tokens_], i % block_tokens_)] = slots_[slot(e.blocks[kept[i] / block_tokens_], kept[i] % block_tokens_)];
      held[i] = held[kept[i]];
    }
    held.resize(e.slots_after);
    ++evictions;
  }
  // Of requests with segments each slot holds a figure of its token, its position and the figures in all slots before it; keys that
  // were rotated on the way are told by their shift. So whatever was reused wrongly changes what is sampled.
  static uint64_t computed_value(uint64_t before, TokenId token, int32_t position) { return extend(extend(before, token), 100'000 + position); }
  static uint64_t shifted(uint64_t value, int shift) { return shift == 0 ? value : extend(value, 200'000 + shift); }
  static float deviation_of(TokenId token, int32_t position) { return static_cast<float>(extend(static_cast<uint64_t>(position), token) % 5); }
  static uint64_t seen(std::span<const uint64_t> slots) {
    uint64_t all = 1;
    for (const uint64_t v : slots) all = extend(all ^ v, 3);
    return all;
  }
  static uint64_t prefix_of(std::span<const TokenId> tokens) {
    uint64_t prefix = 0;
    for (const TokenId t : tokens) prefix = extend(prefix, t);
    return prefix;
  }

  static std::vector<TokenId> expected_with_segments(const Request& request, int sample, int vocab, int max_model_len) {
    const KvReuse& reuse = request.reuse;
    std::vector<uint64_t> slots;
    std::vector<TokenId> tokens = request.prompt;
    size_t g = 0;
    const auto compute = [&](int i) {
      slots.push_back(i < std::min(reuse.segments.empty() ? 1 << 30 : reuse.segments[0].first, in_place(reuse)) ? prefix_of(std::span(tokens).first(static_cast<size_t>(i) + 1))
                                                                                                                : computed_value(seen(slots), tokens[static_cast<size_t>(i)], reuse.position_of(i)));
    };
    for (int i = 0; i < static_cast<int>(tokens.size());) {
      if (g == reuse.segments.size() || i < reuse.segments[g].first) {
        compute(i++);
        continue;
      }
      const KvSegment& s = reuse.segments[g++];
      std::vector<uint64_t> alone;
      for (int k = 0; k < s.lead + s.tokens; ++k) {
        const int token = k < s.lead ? k : s.first + k - s.lead;
        alone.push_back(computed_value(seen(alone), tokens[static_cast<size_t>(token)], reuse.position_of(token) - (k < s.lead ? 0 : s.shift)));
      }
      for (int k = 0; k < s.tokens; ++k) slots.push_back(shifted(alone[static_cast<size_t>(s.lead + k)], s.shift));
      i = s.first + s.tokens;
      const bool exact = s.first == s.lead && s.shift == 0 && i <= in_place(reuse);
      const int n = exact ? 0 : static_cast<int>(std::ceil(reuse.recompute * s.tokens - 1e-9));
      std::vector<std::pair<float, int>> order;
      for (int token = s.first; token < i; ++token)
        order.emplace_back(reuse.rule == RecomputeRule::position ? 0 : -deviation_of(tokens[static_cast<size_t>(token)], reuse.position_of(token)), token);
      std::sort(order.begin(), order.end());
      std::vector<int> chosen;
      for (int k = 0; k < n; ++k) chosen.push_back(order[static_cast<size_t>(k)].second);
      std::sort(chosen.begin(), chosen.end());
      for (const int token : chosen)
        slots[static_cast<size_t>(token)] = computed_value(seen(std::span(slots).first(static_cast<size_t>(token))), tokens[static_cast<size_t>(token)], reuse.position_of(token));
    }
    std::vector<TokenId> out;
    while (static_cast<int>(out.size()) < request.max_tokens && static_cast<int>(tokens.size()) < max_model_len) {
      out.push_back(next_token(seen(slots), vocab, sample));
      tokens.push_back(out.back());
      const auto ends = [&](const std::vector<TokenId>& ids) { return std::find(ids.begin(), ids.end(), out.back()) != ids.end(); };
      if (static_cast<int>(out.size()) > request.sampling.min_tokens && (ends(request.stop_token_ids) || (!request.ignore_eos && ends(request.eos_token_ids))))
        break;
      compute(static_cast<int>(tokens.size()) - 1);
    }
    return out;
  }
  static int in_place(const KvReuse& reuse) {
    if (reuse.positions.empty()) return 1 << 30;
    int n = 0;
    while (n < static_cast<int>(reuse.positions.size()) && reuse.positions[static_cast<size_t>(n)] == n) ++n;
    return n;
  }

  void run_reusing(const PlanItem& item) {
    const KvReuse& reuse = item.request->reuse;
    ItemResult done{item.seq, item.samples, {}};
    const auto contents = [&](int slots) {
      std::vector<uint64_t> out;
      for (int i = 0; i < slots; ++i) out.push_back(slots_[static_cast<size_t>(slot(item.blocks[static_cast<size_t>(i / block_tokens_)], i % block_tokens_))]);
      return out;
    };
    EXPECT_EQ(item.positions.size(), static_cast<size_t>(item.n_tokens));
    int last = 0;
    for (int k = 0; k < item.n_tokens; ++k) {
      const int token = item.rows.empty() ? item.first_pos + k : item.rows[static_cast<size_t>(k)];
      const int at = item.slots.empty() ? token : item.slots[static_cast<size_t>(k)];
      const TokenId t = item.tokens[static_cast<size_t>(token)];
      const int32_t position = item.positions[static_cast<size_t>(k)];
      if (item.detour == Detour::probe) {
        done.deviation.push_back(deviation_of(t, position));
        continue;
      }
      const bool plain = item.detour == Detour::none && token < reuse.exact_tokens;
      slots_[static_cast<size_t>(slot(item.blocks[static_cast<size_t>(at / block_tokens_)], at % block_tokens_))] =
          plain ? prefix_of(item.tokens.first(static_cast<size_t>(token) + 1)) : computed_value(seen(contents(at)), t, position);
      last = at;
    }
    detours += item.detour != Detour::none;
    if (item.samples) done.token = sampled(*item.request, seen(contents(last + 1)), item.sample);
    result_.items.push_back(std::move(done));
  }

  /// Beams get continuations, likeliest first, that depend on the whole prefix too.
  SampledToken sampled(const Request& request, uint64_t prefix, int sample) const {
    SampledToken out{next_token(prefix, vocab_, request.beam_width > 0 ? 0 : sample), 0, {}};
    const int top = std::min(vocab_, 2 * request.beam_width);
    for (int i = 0; i < top; ++i)
      out.top.push_back({static_cast<TokenId>((out.token + i) % vocab_), -static_cast<float>(1 + prefix % 7 + static_cast<uint64_t>(i) * (1 + prefix % 3))});
    return out;
  }
  void move(const KvCopy& copy) {
    if (copy.from == Tier::pool && copy.to == Tier::pool) {
      EXPECT_FALSE(seals_blocks && copy.tokens > 0 && sealed_.contains(copy.src)) << "a part of sealed block " << copy.src << " is copied";
      for (int i = 0; i < copy.tokens; ++i)
        slots_[slot(copy.dst, copy.dst_offset + i)] = shifted(slots_[slot(copy.src, copy.src_offset + i)], copy.shift);
      for (int i = 0; recent.any() && i < copy.tokens; ++i)
        page_slots_[static_cast<int>(copy.dst_page) * block_tokens_ + i] = page_slots_[static_cast<int>(copy.src_page) * block_tokens_ + i];
      sealed_.erase(copy.dst);
      if (seals_blocks) copied_rows += copy.tokens;
      return;
    }
    EXPECT_EQ(copy.tokens, block_tokens_);
    ASSERT_NE(copy.key, nullptr);
    const bool loses = lose_every > 0 && ++moved_ % lose_every == 0;
    std::vector<uint64_t> bytes(static_cast<size_t>(block_tokens_));
    if (copy.from == Tier::pool)
      for (int i = 0; i < block_tokens_; ++i) bytes[static_cast<size_t>(i)] = slots_[slot(copy.src, i)];
    else bytes = tiers_[{copy.from, copy.src}];
    if (bytes.empty() || loses) {  // empty: what never got there, since an earlier move lost it
      result_.lost.push_back(copy.key->hash);
      ++lost;
      bytes.clear();
    }
    if (copy.to != Tier::pool) {
      tiers_[{copy.to, copy.dst}] = bytes;
    } else if (bytes.empty()) {
      void_blocks_.insert(copy.dst);
    } else {
      for (int i = 0; i < block_tokens_; ++i) slots_[slot(copy.dst, i)] = bytes[static_cast<size_t>(i)];
      sealed_.insert(copy.dst);
    }
  }
  /// A row is written: a block is open from its first row on until its last.
  void write(BlockId block, int offset) {
    EXPECT_FALSE(seals_blocks && offset > 0 && sealed_.contains(block)) << "row " << offset << " of sealed block " << block << " is written";
    if (offset == 0) sealed_.erase(block);
    if (offset == block_tokens_ - 1) sealed_.insert(block);
  }
  static float score(uint64_t prefix) { return -static_cast<float>(prefix % 9973); }
  int slot(BlockId block, int offset) const { return static_cast<int>(block) * block_tokens_ + offset; }

  int page_slot(const PlanItem& item, int in_table) const { return static_cast<int>(item.pages[in_table / block_tokens_]) * block_tokens_ + in_table % block_tokens_; }

  int block_tokens_, vocab_;
  VirtualClock& clock_;
  std::vector<uint64_t> slots_, page_slots_;
  std::map<std::pair<Tier, BlockId>, std::vector<uint64_t>> tiers_;
  std::unordered_set<BlockId> void_blocks_;  // of this step: loaded, and lost
  std::unordered_set<BlockId> sealed_, open_;
  int moved_ = 0;
  std::map<SeqId, std::vector<int32_t>> held_;  // under retention: positions by slot
  StepResult result_;
  Ticket ticket_ = 0;
};

}  // namespace sluice::test
