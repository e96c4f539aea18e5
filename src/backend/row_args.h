#pragma once
// What models choose among in the work on rows, as plain data, for Ops (ops.h) and its kernels (row_ops.h): an ISA file may
// include it (docs/architecture.md, section 5).

#include <cstdint>

namespace sluice {

/// How a row is normed; the sums are taken in float64, in 16 lanes.
///   rms    x / sqrt(mean(x^2) + eps) * gain + bias               (Zhang and Sennrich, 2019)
///   layer  (x - mean(x)) / sqrt(variance(x) + eps) * gain + bias  (Ba et al., 2016)
struct Norm {
  enum class Kind : uint8_t { none, rms, layer };
  Kind kind = Kind::none;
  const float* gain = nullptr;  // [cols]; null: 1
  const float* bias = nullptr;  // [cols]; null: 0
  float eps = 0;
  bool relu = false;  // max(., 0) of that: with a bias below 0 a shifted ReLU, for inputs of many zeros (Mirzadeh et al. 2023)
  bool int8 = false;  // and the row is rounded to whole multiples of its largest / 127, as models of BitNet b1.58 are trained
};

/// What an MLP does to its hidden values.
enum class Activation : uint8_t {
  silu,        // x sigmoid(x)
  gelu,        // x Phi(x), with the error function (Hendrycks and Gimpel, 2016)
  gelu_tanh,   // the same by their approximation, 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))
  relu,        // max(x, 0)
  relu2,       // max(x, 0)^2 (So et al., 2021)
  quick_gelu,  // x sigmoid(1.702 x)
  swiglu_oai,  // of a gate g and u only: (u + 1) g sigmoid(alpha g), g at most `limit`, u within [-limit, limit] (gpt-oss)
};
constexpr int kNumActivations = 7;

/// Of Activation::swiglu_oai.
struct SwigluParams {
  float alpha = 1.702f, limit = 7;
};

}  // namespace sluice
