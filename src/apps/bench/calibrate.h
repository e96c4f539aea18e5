#pragma once
// What ties the simulator to a machine: runs of one workload on the real engine and in the simulator, and the fit of the step-time
// model to measured steps. 'sluice bench calibrate' and 'sluice simulate --calibrate' are the same.

#include <string>
#include <vector>

#include "apps/bench/workload.h"
#include "apps/engine_stack.h"
#include "sim/sim_executor.h"

namespace sluice {

constexpr int kCalibrationRequests = 60;

/// `executor`, `stats` and `times` may be null; `what` is shown as it goes.
Result<std::vector<RequestRecord>> run_real(EngineStack& stack, const EngineOptions& options, const Workload& load, Executor* executor,
                                            EngineStats* stats, const char* what, EngineTimes* times = nullptr);
Result<std::vector<RequestRecord>> run_simulated(const StepCost& cost, const EngineOptions& options, const Workload& load);

/// One line per step, each behind `before`: its features, what it took, what the model says; and the names of these.
std::string steps_csv_head();
std::string steps_csv(const std::vector<MeasuredStep>& steps, const StepCost& cost, const std::string& before = {});

/// Fits the steps, and prints the terms and their error on the others.
Result<StepCost> fit_and_report(EngineStack& stack, const std::string& model, std::vector<MeasuredStep> steps, const std::vector<MeasuredStep>& held_out);
/// Runs a workload of about `requests`, under policies that cut steps differently, and one of a third as many on the engine, fits the steps of the
/// first and reports the error on those of the second, which are put into `held_out_steps` where it is not null.
Result<StepCost> calibrate(EngineStack& stack, const std::string& model, int requests, std::vector<MeasuredStep>* held_out_steps = nullptr);

}  // namespace sluice
