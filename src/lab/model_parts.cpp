// What models are made of. That each is right is held by tests/fidelity (docs/models.md); what it saves is a property of the model, and
// the figures are of named commands: 2 cores of a Zen 5 with AVX-512 where they are times.
#include "lab/experiment.h"

namespace sluice::lab {

extern const Experiment kGroupedHeads, kLatentAttention, kLinearAttention, kMamba, kMixture, kRetNet, kRwkv;

constexpr const char kFidelity[] = "`tests/fidelity/fidelity_test.cpp`, `tests/exactness` (EveryKindOfModel)";

const Experiment kGroupedHeads = {
    .name = "grouped-heads",
    .ids = "A2 A3",
    .group = "models",
    .technique = "Query heads that share KV heads (GQA), down to one for all (MQA)",
    .paper = "Shazeer, Fast transformer decoding, 2019; Ainslie et al., GQA, EMNLP 2023",
    .file = "src/backend/attend.cpp",
    .flag = "as the model has it",
    .test = kFidelity,
    .holds = "exact; a KV head is read once for all of its query heads",
    .elsewhere = "KV of a token falls with the heads: 14 query heads over 2 KV heads keep 2/14"};
const Experiment kLatentAttention = {
    .name = "latent-attention",
    .ids = "-",
    .group = "models",
    .technique = "Multi-head latent attention in its absorbed form: one row of a token for all heads, keys and values alike",
    .paper = "DeepSeek-AI, DeepSeek-V2, 2024, section 2.1",
    .file = "src/model/layers/latent_attention.cpp",
    .flag = "as the model has it",
    .test = "`tests/fidelity/fidelity_test.cpp`, `tests/exactness`, `src/backend/attend_variants_test.cpp` (LatentRows)",
    .holds = "the reference's logits to 1e-4; exact within a path",
    .elsewhere = "576 values of a token and layer in DeepSeek-V3's shape, where its 128 heads would keep 40,960; `sluice inspect MODEL` says what a token takes"};
const Experiment kMixture = {
    .name = "mixture-of-experts",
    .ids = "X1 X2",
    .group = "models",
    .technique = "Mixture of experts: rows sorted by expert, each expert's as one product, no row dropped and none padded to a capacity",
    .paper = "Shazeer et al., ICLR 2017; Gale et al., MegaBlocks, MLSys 2023",
    .file = "src/model/layers/moe.cpp",
    .flag = "as the model has it; `sluice:expert_rows_total` counts by layer and expert",
    .test = "`src/backend/experts_test.cpp`, `src/backend/route_experts_test.cpp`, `tests/fidelity`, `tests/exactness`",
    .holds = "exact: a row's result never depends on which others an expert has",
    .elsewhere = "`bench/make_moe_model.py` (64 experts, 8 of a token, hidden 1,024, Q8_0), `sluice bench latency` and `llama-bench` of llama.cpp in turn, two threads: prompts of 512 tokens 6.6 to 6.9 times, one sequence 1.1 to 1.8 times"};
const Experiment kMamba = {
    .name = "mamba",
    .ids = "M3",
    .group = "models",
    .technique = "Selective state spaces (Mamba, Mamba 2): a state of fixed size in place of keys and values",
    .paper = "Gu and Dao, Mamba, 2023; Dao and Gu, Mamba 2, ICML 2024",
    .file = "src/model/layers/mamba.cpp",
    .flag = "as the model has it; `--swa-full-tokens-ratio` for the snapshots of the prefix cache",
    .test = "`tests/fidelity`, `src/model/layers/parallel_forms_test.cpp`, `tests/exactness`",
    .holds = "step by step and in parallel alike to 1e-4; exact within a path: batches, forks, preemption and prefix hits change no bit",
    .elsewhere = "a sequence keeps as much at any length; `sluice inspect MODEL` says how much"};
const Experiment kRwkv = {
    .name = "rwkv",
    .ids = "M6",
    .group = "models",
    .technique = "RWKV 4, 5, 6 and 7",
    .paper = "Peng et al., RWKV, EMNLP 2023; Eagle and Finch, 2024; Goose, 2025",
    .file = "src/model/layers/rwkv7.cpp",
    .flag = "as the model has it",
    .test = "`tests/fidelity`, `tests/fidelity/trained_model_test.cpp` (the authors' recorded logits), `src/model/layers/rwkv_parallel_forms_test.cpp`, `tests/exactness`",
    .holds = "the reference's logits to 1e-4; step by step and in parallel alike to 1e-4; exact within a path",
    .elsewhere = "a sequence keeps as much at any length"};
const Experiment kRetNet = {
    .name = "retnet",
    .ids = "M5",
    .group = "models",
    .technique = "Retention: decay in place of a softmax, as a recurrence",
    .paper = "Sun et al., RetNet, 2023",
    .file = "src/model/layers/retention.cpp",
    .flag = "as the model has it",
    .test = "`tests/fidelity`, `src/model/layers/parallel_forms_test.cpp`, `tests/exactness`",
    .holds = "step by step and in parallel alike to 1e-4; exact within a path",
    .elsewhere = "a sequence keeps as much at any length"};
const Experiment kLinearAttention = {
    .name = "linear-attention",
    .ids = "A4",
    .group = "models",
    .technique = "Linear attention (elu + 1), and the gated delta rule of Qwen3-Next",
    .paper = "Katharopoulos et al., ICML 2020; Yang et al., Gated DeltaNet, ICLR 2025",
    .file = "src/model/layers/linear_attention.cpp",
    .flag = "as the model has it",
    .test = "`tests/fidelity` (the authors' formulation), `src/model/layers/parallel_forms_test.cpp`, `tests/exactness`",
    .holds = "the reference's logits to 1e-4; exact within a path",
    .elsewhere = "a sequence keeps as much at any length"};

}  // namespace sluice::lab
