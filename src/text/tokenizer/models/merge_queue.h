#pragma once
// The merges that wait for their turn in one long piece: lowest rank first, then leftmost. Every operation takes a
// bounded number of steps (one per level of a tree with 64 branches), so that merging is linear in the length of the
// piece; a binary heap would add its logarithm.

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "text/tokenizer/step_count.h"

namespace sluice {

/// A set of whole numbers below a limit.
class BitTree {
 public:
  /// Raises the limit of an empty set, if it is lower. What is there stays: clearing would cost more than the work.
  void make_room(size_t limit) {
    if (limit <= limit_) return;
    limit_ = limit;
    levels_.clear();
    do {
      limit = (limit + 63) / 64;
      levels_.emplace_back(limit, 0);
    } while (limit > 1);
  }
  bool empty() const { return levels_.empty() || levels_.back()[0] == 0; }
  void insert(size_t value) {
    for (std::vector<uint64_t>& level : levels_) {
      ++tokenizer_steps;
      uint64_t& word = level[value / 64];
      const bool was_empty = word == 0;
      word |= uint64_t{1} << value % 64;
      if (!was_empty) return;
      value /= 64;
    }
  }
  size_t least() const {
    size_t value = 0;
    for (size_t i = levels_.size(); i-- > 0;) {
      ++tokenizer_steps;
      value = value * 64 + static_cast<size_t>(std::countr_zero(levels_[i][value]));
    }
    return value;
  }
  void erase(size_t value) {
    for (std::vector<uint64_t>& level : levels_) {
      ++tokenizer_steps;
      uint64_t& word = level[value / 64];
      word &= ~(uint64_t{1} << value % 64);
      if (word != 0) return;
      value /= 64;
    }
  }

 private:
  size_t limit_ = 0;
  std::vector<std::vector<uint64_t>> levels_;  // the lowest first; a bit above says that its word below is not empty
};

class MergeQueue {
 public:
  /// Makes an empty queue, as a new one is and one of which everything was popped, take these.
  void make_room(size_t ranks, size_t positions) {
    positions_ = std::max(positions_, positions);
    ranks_.make_room(ranks);
    if (heads_.size() < ranks) heads_.resize(ranks, kNone);
    waiting_.clear();
  }

  void push(uint32_t rank, uint32_t position) {
    ++tokenizer_steps;
    // Of the rank in hand, or of one that was interrupted: those are sets already.
    for (size_t i = depth_; i-- > 0 && levels_[i].rank <= rank;)
      if (levels_[i].rank == rank) return levels_[i].positions.insert(position);
    waiting_.push_back({position, heads_[rank]});
    heads_[rank] = static_cast<uint32_t>(waiting_.size() - 1);
    ranks_.insert(rank);
  }

  /// The next (rank, position), which leaves the queue; false when there is none.
  bool pop(std::pair<uint32_t, uint32_t>& out) {
    while (depth_ > 0 && levels_[depth_ - 1].positions.empty()) --depth_;
    if (!ranks_.empty()) {
      const auto least = static_cast<uint32_t>(ranks_.least());
      // A merge may make room for one of a lower rank: the rank in hand is put aside, as it stands.
      if (depth_ == 0 || least < levels_[depth_ - 1].rank) take_up(least);
    }
    if (depth_ == 0) return false;
    Level& level = levels_[depth_ - 1];
    const size_t position = level.positions.least();
    level.positions.erase(position);
    out = {level.rank, static_cast<uint32_t>(position)};
    return true;
  }

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  struct Waiting {
    uint32_t position, next;
  };
  struct Level {
    uint32_t rank = 0;
    BitTree positions;
  };

  void take_up(uint32_t rank) {
    if (depth_ == levels_.size()) levels_.emplace_back();
    Level& level = levels_[depth_++];
    level.rank = rank;
    level.positions.make_room(positions_);
    for (uint32_t at = heads_[rank]; at != kNone; at = waiting_[at].next) level.positions.insert(waiting_[at].position);
    heads_[rank] = kNone;
    ranks_.erase(rank);
  }

  size_t positions_ = 0, depth_ = 0;
  BitTree ranks_;                // those with positions in heads_
  std::vector<uint32_t> heads_;  // by rank: the last of its positions in waiting_
  std::vector<Waiting> waiting_;
  std::vector<Level> levels_;  // ranks that are being worked off, each lower than the one before
};

}  // namespace sluice
