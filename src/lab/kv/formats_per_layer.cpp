#include "lab/kv/quantized_kv.h"

namespace sluice::lab {
namespace {

Result<Finding> run_formats_per_layer(const Setting& setting) {
  SLUICE_TRY(const KvFormats mixed, KvFormats::parse("int8:0,kivi2"));
  SLUICE_TRY(Finding f, measure_kv(setting, mixed, 0.5));
  SLUICE_TRY(const Finding alone, measure_kv(setting, kKvKivi2, 0.5));
  SLUICE_TRY(const auto bench, Bench::open(setting));
  const int layers = bench->model().info().layers;
  const auto bytes = [&](const KvFormats& formats) { return kv_token_bytes(bench->model(), formats); };
  const double want = (bytes(kKvInt8) + (layers - 1) * bytes(kKvKivi2)) / layers;
  f.must("a token's bytes are int8's in one layer and kivi2's in the others", bytes(mixed) == want, fmt::format("{} of {}", bytes(mixed), want));
  f.count("nats a token lost: kivi2 in all layers, int8 in the first", alone.counters[0].technique - alone.counters[0].baseline,
          f.counters[0].technique - f.counters[0].baseline);
  return f;
}

}  // namespace

extern const Experiment kKvFormatsPerLayer;
const Experiment kKvFormatsPerLayer = {
    .name = "kv-formats-per-layer",
    .ids = "Q26",
    .group = "kv",
    .technique = "KV formats behind one descriptor, each layer with its own: int8 in the first, 2 bits in the others",
    .paper = "-",
    .file = "src/quant/kv/kv_formats.h",
    .flag = "`--kv-cache-dtype int8:0,kivi2`",
    .test = "`src/quant/kv/kv_formats_test.cpp`, `src/exec/open_blocks_test.cpp`, `tests/exactness` (every way of scheduling, with three formats)",
    .baseline = "f16",
    .workload = "a text that the model wrote",
    .holds = "approximate as its formats are: below 0.5 nats a token; equal bits with the same formats",
    .run = run_formats_per_layer};

}  // namespace sluice::lab
