// Techniques that no experiment of seconds on a small model can show. Their figures are of named commands on real shapes:
// 2 cores of a Zen 5 with AVX-512, docs/performance.md.
#include "lab/experiment.h"

namespace sluice::lab {

extern const Experiment kPackedMatmul, kMatmulPlans, kRepack, kI8G128, kNativePack, kTiledAttention, kPhilox;

const Experiment kPackedMatmul = {
    .name = "packed-matmul",
    .ids = "-",
    .group = "kernels",
    .technique = "Block-quantized products from packed tiles, int8 activations with a scale per row and 32 k",
    .paper = "-",
    .file = "src/backend/cpu/matmul_kernels.inc",
    .flag = "`convert --type`",
    .test = "`src/backend/matmul_test.cpp` (equal bits on every table), `tests/fidelity/tiny_model_test.cpp`, `tests/fidelity/nll_test.cpp`",
    .holds = "exact within a path; NLL within 0.1 % of float32 on the same weights",
    .elsewhere = "`bench/compare.py`: docs/performance.md, against llama.cpp and ik_llama.cpp"};
const Experiment kMatmulPlans = {
    .name = "matmul-plans",
    .ids = "-",
    .group = "kernels",
    .technique = "Dispatch of products from a table measured on the machine",
    .paper = "-",
    .file = "src/backend/matmul_plan.h",
    .flag = "`--matmul-tuning`, `sluice tune`",
    .test = "`EveryPlanGivesTheSameBits`, `src/backend/matmul_tuning_test.cpp`, `tests/server/test_tuning.py`",
    .holds = "lossless: every plan gives the same bits",
    .elsewhere = "`sluice tune` prints what each plan gains; decode of 1 sequence 0.98 to 1.05 times the defaults, of 4 1.00 to 1.15, of 32 1.00 to 1.07 "
                 "(0.5B and 1B, plans in turn within one process)"};
const Experiment kRepack = {
    .name = "repack",
    .ids = "-",
    .group = "kernels",
    .technique = "Weights encoded as they are loaded",
    .paper = "-",
    .file = "src/weights/repacked_source.h",
    .flag = "`--repack TYPE`",
    .test = "`src/weights/repacked_source_test.cpp`, `tests/server/test_convert.py`",
    .holds = "the bits of the converted file",
    .elsewhere = "`sluice bench latency 1b-bf16.gguf -p 0 -n 24`, without and with `--repack q8_0` in turn: 29.6 to 50.5 tok/s; loading 1.6 to 4.0 s"};
const Experiment kI8G128 = {
    .name = "i8-g128",
    .ids = "-",
    .group = "kernels",
    .technique = "int8 weights with a scale per 128, made for VNNI",
    .paper = "-",
    .file = "src/quant/weight/i8_g128.cpp",
    .flag = "`--repack i8_g128`, `convert --pack --type i8_g128`",
    .test = "`src/backend/matmul_test.cpp`, `src/quant/weight/weight_format_test.cpp`, `tests/fidelity/nll_test.cpp`",
    .holds = "approximate as Q8_0 is: NLL + 0.013 % ± 0.025 % of the model's own float32 (Q8_0 - 0.018 % ± 0.023 %)",
    .elsewhere = "`sluice bench latency MODEL --repack TYPE -p 512 -n 64 -b 1,16`, Q8_0 and I8_G128 in turn: pp512 1.07 and 1.08 times (0.5B and 1B), "
                 "one sequence 1.08 and 1.05, 16 sequences 1.06"};
const Experiment kNativePack = {
    .name = "native-pack",
    .ids = "-",
    .group = "kernels",
    .technique = "Native pack: panels mapped and used in place",
    .paper = "-",
    .file = "src/weights/native_pack.h",
    .flag = "`convert --pack`, `inspect --verify`",
    .test = "`tests/fidelity/native_pack_test.cpp`, `src/weights/native_pack_test.cpp`",
    .holds = "lossless: logits bit for bit, back to GGUF bit for bit",
    .elsewhere = "`sluice run MODEL -p \"Once upon a time\" -n 1`, 1B Q8_0, warm: 0.59 s from the GGUF, 0.21 s from the pack, start and end of the process included"};
const Experiment kTiledAttention = {
    .name = "tiled-attention",
    .ids = "-",
    .group = "attention",
    .technique = "Tiled attention, fixed super-tiles merged in order",
    .paper = "Dao et al., FlashAttention, NeurIPS 2022; Dao, FlashAttention-2, 2023",
    .file = "src/backend/attend_plan.h",
    .flag = "-",
    .test = "`src/backend/attend_test.cpp`",
    .holds = "exact: equal bits on every table, for any batch, chunking and thread count",
    .elsewhere = "`sluice bench latency MODEL -d 0,2048,8192 --breakdown`: docs/performance.md"};
const Experiment kPhilox = {
    .name = "counter-based-random",
    .ids = "-",
    .group = "sampling",
    .technique = "Counter-based random numbers: a draw is a function of seed, sample and position",
    .paper = "Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011",
    .file = "src/base/rng.h",
    .flag = "`seed` of a request",
    .test = "`src/sample/sampler_test.cpp` (chi-square, known answers)",
    .holds = "the company of a request never changes its draws",
    .elsewhere = "checked, not measured"};

}  // namespace sluice::lab
