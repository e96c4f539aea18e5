#include <algorithm>

#include "lab/scheduling/predicted_lengths.h"
#include "sched/length/retrained_buckets.h"

namespace sluice::lab {
namespace {

/// Of requests that are predicted and then end, one after the other, how many end in the predicted bucket: by the table as
/// it was trained, and retrained by those that came before.
std::pair<int, int> right_buckets(const Load& true_lengths) {
  RetrainedBuckets retrained;
  std::pair<int, int> right;
  Sequence seq;
  for (const Request& r : true_lengths.requests) {
    const int prompt = static_cast<int>(r.prompt.size()), truth = Buckets::bucket_of(r.max_tokens);
    right.first += Buckets::predicted_bucket(prompt) == truth;
    right.second += retrained.predicted_bucket(prompt) == truth;
    seq.id += 1;
    seq.request = std::make_shared<const Request>(r);
    retrained.on_new(seq);
    retrained.on({Event::Kind::finished, seq.id, r.max_tokens});
  }
  return right;
}

Result<Finding> run_predicted_reservation(const Setting& setting) {
  constexpr int kMost = 800;
  const int n = setting.quick ? 300 : 3000;
  const auto load = [n](bool named, bool forced) { return two_applications(n, 40, 200, kMost, named, forced); };
  EngineOptions options = engine_options(1024, 8 * 1024);
  options.max_num_seqs = 128;
  EngineOptions reserve = options, predicted = options, oracle = options;
  reserve.admission_policy = "reserve";
  predicted.admission_policy = oracle.admission_policy = "predicted";
  predicted.length_predictor = "running-mean";
  oracle.length_predictor = "oracle";
  SLUICE_TRY(const Run full, simulate(reserve, load(true, false)));
  SLUICE_TRY(const Run coarse, simulate(predicted, load(false, false)));
  SLUICE_TRY(const Run fine, simulate(predicted, load(true, false)));
  SLUICE_TRY(const Run true_lengths, simulate(oracle, load(true, true)));

  Finding f;
  std::string why;
  f.must("the same outputs, stopped and doubled or not", same_outputs(full, fine, &why) && same_outputs(full, coarse, &why) && same_outputs(full, true_lengths, &why), why);
  f.must("with the true lengths nobody is preempted", true_lengths.stats.preemptions == 0);
  f.must("a predictor preempts those who exceed it", fine.stats.preemptions > 0 && coarse.stats.preemptions > 0,
         fmt::format("{} of {} requests, {} by one mean for all", fine.stats.preemptions, n, coarse.stats.preemptions));
  const auto in_use = [](const Run& r) { return 1 - r.mean_free_share; };
  // How far a mean for all and one per client differ is mended by doubling: both come near to the true lengths.
  f.must("the pool is used more than twice as much as with max_tokens reserved", 2 * in_use(full) < std::min({in_use(coarse), in_use(fine), in_use(true_lengths)}),
         fmt::format("{:.1f} % by max_tokens, {:.1f} % by one mean for all, {:.1f} % by a mean per client, {:.1f} % by the true lengths", 100 * in_use(full),
                     100 * in_use(coarse), 100 * in_use(fine), 100 * in_use(true_lengths)));
  f.must("every predictor serves more, and the true lengths the most", full.report.output_throughput < std::min(coarse.report.output_throughput, fine.report.output_throughput) &&
                                                            std::max(coarse.report.output_throughput, fine.report.output_throughput) < true_lengths.report.output_throughput,
         fmt::format("{:.0f} by max_tokens, {:.0f} by one mean, {:.0f} by a mean per client, {:.0f} tok/s by the true lengths", full.report.output_throughput,
                     coarse.report.output_throughput, fine.report.output_throughput, true_lengths.report.output_throughput));
  const auto [by_table, by_retraining] = right_buckets(load(false, true));
  f.must("retraining on the requests that ended improves the accuracy of the bucket table", by_retraining > by_table,
         fmt::format("{} of {} in the predicted bucket by the table, {} retrained", by_table, n, by_retraining));
  f.effect = {"simulated output throughput, max_tokens reserved and a prediction", "tok/s", full.report.output_throughput, fine.report.output_throughput, Better::higher, false};
  f.count("sequences that run, on average", full.mean_running(), fine.mean_running());
  f.count("preemptions", static_cast<double>(full.stats.preemptions), static_cast<double>(fine.stats.preemptions));
  f.count("tokens computed again", static_cast<double>(full.stats.tokens_recomputed), static_cast<double>(fine.stats.tokens_recomputed));
  return f;
}

}  // namespace

extern const Experiment kPredictedReservation;
const Experiment kPredictedReservation = {
    .name = "predicted-reservation",
    .ids = "V4",
    .group = "scheduling",
    .technique = "Memory reserved by predicted length, with a supervisor that preempts and doubles",
    .paper = "Jin et al., S3, NeurIPS 2023",
    .file = "src/sched/gate/predicted.h",
    .flag = "`--admission-policy predicted --length-predictor NAME`",
    .test = "`tests/property`, `tests/property/combinations_test.cpp`",
    .baseline = "`--admission-policy reserve`: prompt and max_tokens of all",
    .workload = "simulated, 300 requests at once of two applications that end far below their max_tokens",
    .holds = "lossless; no preemption with the true lengths; retraining improves the bucket table; every predictor serves more than max_tokens reserved, the true lengths the most",
    .run = run_predicted_reservation};

}  // namespace sluice::lab
