#pragma once
// A recurrent layer's state in the blocks of its sequences (docs/adr/0017): a block holds the state as it is after the last of its
// tokens that is computed, and a block begins with what the one before it ended with, the first with zeros. So the rows of a
// sequence are walked in order, block by block, whatever else is in the batch and however a prompt is cut.

#include <cstdint>
#include <functional>

#include "model/layers/layer.h"

namespace sluice {

/// A piece of a layer's state, from float `offset` on: `parts` of `floats` each (of heads, of groups of channels) that go over the
/// rows without knowing of each other.
struct StateParts {
  int64_t offset = 0, parts = 1, floats = 0;
  int64_t end() const { return offset + parts * floats; }
};

/// The KV group of a layer whose state has so many floats.
inline KvGroup state_group(int64_t floats) {
  KvGroup group;
  group.kind = KvGroup::Kind::state;
  group.layers = 1;
  group.state_bytes = static_cast<size_t>(floats) * sizeof(float);
  return group;
}

/// Moves a part's state over rows [first, first + rows) of the pass, which follow each other in one sequence.
using StateStep = std::function<void(int64_t part, float* state, int64_t first, int64_t rows)>;

/// Calls `step` until every part's state has gone over all rows of the pass: the rows of a sequence in order, parts and sequences in
/// parallel. Every float of a layer's state has to be walked in every pass.
void walk_state(const LayerPass& pass, const StateParts& state, const StateStep& step);

/// Rows [rows, width] of which `before` gets the one before each in its sequence, zeros before the first. The state is the last row.
void shift_rows(const LayerPass& pass, int64_t offset, const float* rows, int64_t width, float* before);

/// Cuts an allocation of floats for `rows` rows at most (Workspace::extra) into arrays for those of a pass.
class Carver {
 public:
  Carver(float* at, int64_t rows) : at_(at), rows_(rows) {}
  float* take(int64_t width) {
    float* const taken = at_;
    at_ += (rows_ * width + 15) / 16 * 16;
    return taken;
  }

 private:
  float* at_;
  int64_t rows_;
};

}  // namespace sluice
