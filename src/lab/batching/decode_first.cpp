#include "lab/workloads.h"

namespace sluice::lab {
namespace {

Result<Finding> run_decode_first(const Setting& setting) {
  const Load load = mixed_lengths(kSimulatedVocab, {.n = setting.quick ? 200 : 2000, .prompt_mean = 200, .output_mean = 64, .output_most = 400, .rate = 2});
  EngineOptions options = engine_options(2048, 64 * 2048);
  options.max_num_seqs = 64;
  options.chunk_policy = "prefill-first";
  SLUICE_TRY(const Run prefill, simulate(options, load));
  options.chunk_policy = "decode-first";
  SLUICE_TRY(const Run decode, simulate(options, load));

  Finding f;
  std::string why;
  f.must("the same outputs", same_outputs(prefill, decode, &why), why);
  f.must("prefill-first gives first tokens sooner", prefill.report.ttft_ms.mean < decode.report.ttft_ms.mean,
         fmt::format("mean TTFT {:.0f} and {:.0f} ms", prefill.report.ttft_ms.mean, decode.report.ttft_ms.mean));
  f.effect = {"simulated p99 time between tokens, prefill-first and decode-first", "ms", prefill.report.itl_ms.p99, decode.report.itl_ms.p99, Better::lower, false};
  f.count("mean TTFT, ms", prefill.report.ttft_ms.mean, decode.report.ttft_ms.mean);
  f.count("output tok/s", prefill.report.output_throughput, decode.report.output_throughput);
  return f;
}

}  // namespace

extern const Experiment kDecodeFirst;
const Experiment kDecodeFirst = {
    .name = "decode-first",
    .ids = "B8",
    .group = "batching",
    .technique = "Prefill-first against decode-first",
    .paper = "Yu et al., Orca, OSDI 2022; Agrawal et al., Sarathi-Serve, OSDI 2024, section 3",
    .file = "src/sched/chunk/decode_first.h",
    .flag = "`--chunk-policy prefill-first`, `--chunk-policy decode-first`",
    .test = "`tests/property`, `tests/exactness`",
    .baseline = "`--chunk-policy prefill-first`",
    .workload = "simulated, mixed lengths, 2 requests a second",
    .holds = "lossless; prefill-first has the lower time to first token, decode-first the lower gaps",
    .run = run_decode_first};

}  // namespace sluice::lab
