#include "quant/weight/block_search.h"

#include <algorithm>

namespace sluice {

float search_symmetric(const float* x, int n, int lo, int hi) {
  float extreme = 0;
  for (int i = 0; i < n; ++i)
    if (std::fabs(x[i]) > std::fabs(extreme)) extreme = x[i];
  if (std::fabs(extreme) < 1e-20f) return 0;
  float best_scale = extreme / static_cast<float>(lo);
  double best_gain = -1;
  // For given integers the best scale is sum(w x q) / sum(w q q), and lowers the error by sum(w x q)^2 / sum(w q q).
  for (int step = -9; step <= 9; ++step) {
    const float inverse = (static_cast<float>(lo) + 0.1f * static_cast<float>(step)) / extreme;
    double xq = 0, qq = 0;
    for (int i = 0; i < n; ++i) {
      const double q = round_clamped(x[i] * inverse, lo, hi);
      const double w = static_cast<double>(x[i]) * x[i];
      xq += w * x[i] * q;
      qq += w * q * q;
    }
    if (qq > 0 && xq * xq / qq > best_gain) {
      best_gain = xq * xq / qq;
      best_scale = static_cast<float>(xq / qq);
    }
  }
  return best_scale;
}

float search_table(const float* x, int n, const int8_t* table) {
  float extreme = 0;
  for (int i = 0; i < n; ++i)
    if (std::fabs(x[i]) > std::fabs(extreme)) extreme = x[i];
  if (std::fabs(extreme) < 1e-20f) return 0;
  float best_scale = 0;
  double best_gain = -1;
  for (const int8_t end : {table[0], table[15]})
    for (int step = -9; step <= 9; ++step) {
      const float inverse = static_cast<float>(end) * (1 + 0.0125f * static_cast<float>(step)) / extreme;
      double xq = 0, qq = 0;
      for (int i = 0; i < n; ++i) {
        const double q = table[nearest_code(x[i] * inverse, table, 16)];
        const double w = static_cast<double>(x[i]) * x[i];
        xq += w * x[i] * q;
        qq += w * q * q;
      }
      if (qq > 0 && xq * xq / qq > best_gain) {
        best_gain = xq * xq / qq;
        best_scale = static_cast<float>(xq / qq);
      }
    }
  return best_scale;
}

ScaleMin search_affine(const float* x, int n, int levels, MinSign sign) {
  double squares = 0;
  // Where min >= 0 the range always holds 0.
  float lowest = sign == MinSign::positive ? 0 : x[0], highest = x[0];
  for (int i = 0; i < n; ++i) {
    squares += static_cast<double>(x[i]) * x[i];
    lowest = std::min(lowest, x[i]);
    highest = std::max(highest, x[i]);
  }
  if (!(highest - lowest > 1e-20f)) return {0, -lowest};
  const double rms = std::sqrt(squares / n);

  const auto error_of = [&](double scale, double min) {
    double error = 0;
    for (int i = 0; i < n; ++i) {
      const double q = round_clamped(static_cast<float>((x[i] + min) / scale), 0, levels);
      const double diff = scale * q - min - x[i];
      error += (rms + std::fabs(x[i])) * diff * diff;
    }
    return error;
  };
  ScaleMin best = {(highest - lowest) / static_cast<float>(levels), -lowest};
  double best_error = error_of(best.scale, best.min);
  for (int step = -10; step <= 10; ++step) {
    const float inverse = (static_cast<float>(levels) + 0.1f * static_cast<float>(step)) / (highest - lowest);
    // Weighted least squares of x on (q, -1) for the integers that this scale gives.
    double w_sum = 0, w_q = 0, w_qq = 0, w_x = 0, w_xq = 0;
    for (int i = 0; i < n; ++i) {
      const double q = round_clamped((x[i] - lowest) * inverse, 0, levels);
      const double w = rms + std::fabs(x[i]);
      w_sum += w;
      w_q += w * q;
      w_qq += w * q * q;
      w_x += w * x[i];
      w_xq += w * x[i] * q;
    }
    const double det = w_sum * w_qq - w_q * w_q;
    if (!(det > 0)) continue;
    double scale = (w_sum * w_xq - w_x * w_q) / det;
    double min = (w_q * w_xq - w_qq * w_x) / det;
    if (min < 0 && sign == MinSign::positive) {
      min = 0;
      scale = w_xq / w_qq;
    }
    if (!(scale > 0)) continue;
    const double error = error_of(scale, min);
    if (error < best_error) {
      best_error = error;
      best = {static_cast<float>(scale), static_cast<float>(min)};
    }
  }
  return best;
}

}  // namespace sluice
