#include "model/layers/layer.h"

#include <algorithm>
#include <cstring>

namespace sluice {

Result<Workspace> Workspace::allocate(int64_t hidden, const WorkspaceWidths& widths, int64_t rows) {
  Workspace w;
  w.rows = rows;
  const std::pair<float**, int64_t> parts[] = {{&w.x, hidden},   {&w.y, hidden},   {&w.q, widths.q},
                                               {&w.k, widths.k}, {&w.v, widths.v}, {&w.attended, widths.attended},
                                               {&w.extra, widths.extra}};
  const auto padded = [](int64_t floats) { return (floats + 15) / 16 * 16; };  // every part begins on a cache line
  int64_t floats = 0;
  for (const auto& [at, width] : parts) floats += padded(width * rows);
  SLUICE_TRY(w.memory, Buffer::allocate(static_cast<size_t>(floats) * sizeof(float)));
  float* next = w.memory.as<float>();
  for (const auto& [at, width] : parts) {
    *at = next;
    next += padded(width * rows);
  }
  return w;
}

void NormLayer::declare(TensorTable& table) {
  if (!present()) return;
  table.vector(key_ + ".weight", &gain_, width_, style_.gain);
  table.vector(key_ + ".bias", &bias_, width_, style_.bias);
}

void DecoderLayer::declare(TensorTable& table) {
  mixer_norm.declare(table);
  if (mixer) mixer->declare(table);
  if (second_mixer) second_mixer->declare(table);
  mixer_post_norm.declare(table);
  sum_norm.declare(table);
  ffn_norm.declare(table);
  if (ffn) ffn->declare(table);
  ffn_post_norm.declare(table);
  final_sum_norm.declare(table);
}

Status DecoderLayer::prepare(WeightStore& store) {
  if (mixer) SLUICE_TRY_STATUS(mixer->prepare(store));
  if (second_mixer) SLUICE_TRY_STATUS(second_mixer->prepare(store));
  if (ffn) SLUICE_TRY_STATUS(ffn->prepare(store));
  return {};
}

bool DecoderLayer::run(const LayerPass& pass, int64_t hidden) const {
  const Ops& ops = pass.ops;
  Workspace& w = pass.w;
  const int64_t rows = pass.outputs();
  const auto settle = [&](const NormLayer& post) {  // x += scale * post(y)
    if (post.present()) ops.norm(w.y, post.norm(), rows, hidden, w.y);
    ops.add_scaled(w.x, w.y, residual_scale, rows * hidden);
  };
  const auto norm_sum = [&](const NormLayer& norm) {
    if (norm.present()) ops.norm(w.x, norm.norm(), rows, hidden, w.x);
  };
  const auto direct = [&](const NormLayer& post) { return residual_scale == 1 && !post.present(); };
  if (parallel) {
    if (!mixer->mix(pass, mixer_norm.norm(), w.y, false)) return false;
    if (pass.wanted != nullptr) gather_rows(w.x, hidden, *pass.wanted);
    ffn->apply(ops, w.x, rows, (ffn_norm.present() ? ffn_norm : mixer_norm).norm(), w.y, true);
    settle(NormLayer());
    return true;
  }
  if (mixer) {
    const bool straight = direct(mixer_post_norm) && pass.wanted == nullptr && second_mixer == nullptr;
    bool goes_on = mixer->mix(pass, mixer_norm.norm(), straight ? w.x : w.y, straight);
    if (second_mixer) {  // in any case: its state goes over every row
      const LayerPass second{ops, w, pass.rows, (&pass.kv)[1], pass.policy, pass.layer, pass.wanted};
      goes_on &= second_mixer->mix(second, mixer_norm.norm(), w.y, true);
    }
    if (!goes_on) return false;
    if (pass.wanted != nullptr) gather_rows(w.x, hidden, *pass.wanted);
    if (!straight) settle(mixer_post_norm);
  } else if (pass.wanted != nullptr) {
    gather_rows(w.x, hidden, *pass.wanted);
  }
  norm_sum(sum_norm);
  if (ffn) {
    const bool straight = direct(ffn_post_norm);
    ffn->apply(ops, w.x, rows, ffn_norm.norm(), straight ? w.x : w.y, straight);
    if (!straight) settle(ffn_post_norm);
  }
  norm_sum(final_sum_norm);
  return true;
}

void each_row(const Ops& ops, int64_t rows, int64_t floats, const std::function<void(int64_t row)>& f) {
  const int64_t step = std::max<int64_t>(1, kSharedFloats / 4 / std::max<int64_t>(1, floats));
  ops.pool().run_if(rows * floats >= kSharedFloats, static_cast<int>((rows + step - 1) / step), [&](int task, int) {
    for (int64_t r = task * step; r < std::min(rows, (task + 1) * step); ++r) f(r);
  });
}

void gather_rows(float* values, int64_t width, std::span<const int32_t> wanted) {
  for (size_t i = 0; i < wanted.size(); ++i)
    if (wanted[i] != static_cast<int32_t>(i))
      std::memcpy(values + static_cast<int64_t>(i) * width, values + wanted[i] * width, static_cast<size_t>(width) * sizeof(float));
}

std::span<const AttendSegment> cut_to_rows(std::span<const AttendSegment> segments, std::span<const int32_t> wanted,
                                           std::vector<AttendSegment>& out) {
  out.clear();
  size_t s = 0;
  int previous = -2;
  for (size_t i = 0; i < wanted.size(); ++i) {
    const int row = wanted[i];
    const size_t before = s;
    while (row >= segments[s].first_row + segments[s].rows) ++s;
    if (row == previous + 1 && s == before)
      ++out.back().rows;
    else
      out.push_back({static_cast<int>(i), 1, segments[s].first_pos + row - segments[s].first_row, segments[s].blocks});
    previous = row;
  }
  return out;
}

}  // namespace sluice
