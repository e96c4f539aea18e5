#pragma once
// What this machine can do at most: memory bandwidth, and the arithmetic peaks that the kernels' instructions allow.

#include <string>

#include "backend/op_meter.h"
#include "backend/op_table.h"
#include "base/thread_pool.h"
#include "model/model.h"

namespace sluice {

struct Roofline {
  int threads = 1;
  double memory_gbps = 0;                                 // GB/s, reading
  double f32_gflops = 0, bf16_gflops = 0, int8_gops = 0;  // a multiply-add counts two; 0 where the table has none
  Peaks peaks;                                            // which instructions they are

  double peak(Arithmetic arithmetic) const;
};
/// "int8", "bf16" or "f32".
const char* name_of(Arithmetic arithmetic);
/// GB/s of reading by all threads of the pool: the best of several passes over more than the caches hold.
double measure_memory_gbps(ThreadPool& pool);
/// Takes about a second. Peaks are the best of several runs: a limit, not an average.
Roofline measure_roofline(const OpTable& table, ThreadPool& pool);
/// One line, with its end.
std::string to_text(const Roofline& roofline);

/// What one step of a model asks of the machine.
struct StepDemand {
  double weight_bytes = 0, kv_bytes = 0, operations = 0;
  double Roofline::*peak = &Roofline::f32_gflops;  // that most of the products run at

  /// Seconds at the roofline: the larger of the memory time and the arithmetic time.
  double seconds(const Roofline& roofline) const;
};
/// `rows` positions in all at a mean context of `context`, each with `logit_rows` rows of logits.
StepDemand step_demand(const ModelInfo& info, const TensorSource& source, double kv_bytes_per_token, double rows,
                       double sequences, double context, double logit_rows);

}  // namespace sluice
