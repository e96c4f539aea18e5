#include "model/layers/state_rows.h"

#include <algorithm>
#include <cstring>

namespace sluice {

void walk_state(const LayerPass& pass, const StateParts& state, const StateStep& step) {
  const KvLayerView& kv = pass.kv;
  const int64_t block_tokens = kv.block_tokens;
  const size_t bytes = static_cast<size_t>(state.floats) * sizeof(float);
  const auto segments = pass.places().segments;
  const auto walk = [&](int task, int) {
    const AttendSegment& s = segments[static_cast<size_t>(task / state.parts)];
    const int64_t part = task % state.parts;
    const auto at = [&](int64_t block) {
      return reinterpret_cast<float*>(kv.k + static_cast<size_t>(s.blocks[block]) * kv.state_bytes) + state.offset + part * state.floats;
    };
    const int64_t end = int64_t{s.first_pos} + s.rows;
    for (int64_t slot = s.first_pos, next = 0; slot < end; slot = next) {
      const int64_t block = slot / block_tokens;
      next = std::min(end, (block + 1) * block_tokens);
      if (slot == 0)
        std::memset(at(0), 0, bytes);
      else if (slot % block_tokens == 0)
        std::memcpy(at(block), at(block - 1), bytes);
      step(part, at(block), s.first_row + slot - s.first_pos, next - slot);
    }
  };
  pass.ops.pool().run_if(pass.rows.count() * state.parts * state.floats >= kSharedFloats,
                         static_cast<int>(static_cast<int64_t>(segments.size()) * state.parts), walk);
}

void shift_rows(const LayerPass& pass, int64_t offset, const float* rows, int64_t width, float* before) {
  walk_state(pass, {offset, 1, width}, [&](int64_t, float* state, int64_t first, int64_t count) {
    const size_t bytes = static_cast<size_t>(width) * sizeof(float);
    std::memcpy(before + first * width, state, bytes);
    std::memcpy(before + (first + 1) * width, rows + first * width, bytes * static_cast<size_t>(count - 1));
    std::memcpy(state, rows + (first + count - 1) * width, bytes);
  });
}

}  // namespace sluice
