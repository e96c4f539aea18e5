#include "apps/bench/breakdown.h"

#include <algorithm>

namespace sluice {

StepTimes StepMeter::times() const {
  StepTimes t = stack_.executor->times();
  t.copy -= before_.copy, t.forward -= before_.forward, t.sample -= before_.sample;
  t.steps -= before_.steps, t.rows -= before_.rows, t.sampled -= before_.sampled;
  return t;
}

std::string breakdown_text(const std::string& title, const OpMeter& ops, const std::vector<OtherTime>& others,
                           double seconds, double steps, const Roofline& roofline) {
  std::string text = fmt::format("\n{}: {:.3f} ms per step, {:.0f} steps\n", title, 1e3 * seconds / steps, steps);
  text += fmt::format("| {:<22} | {:>7} | {:>9} | {:>7} | {:>7} | {:>7} | {:<15} |\n", "part of the step", "calls",
                      "ms", "share", "GB/s", "GOP/s", "of its roofline");
  text += fmt::format("|{:-<24}|{:-<8}:|{:-<10}:|{:-<8}:|{:-<8}:|{:-<8}:|{:-<17}|\n", "", "", "", "", "", "", "");
  double left = seconds;
  for (const OpMeter::Entry& e : ops.entries()) {
    const double s = static_cast<double>(e.ns) / 1e9;
    left -= s;
    const double memory_s = e.work.bytes / (roofline.memory_gbps * 1e9), peak = roofline.peak(e.work.arithmetic);
    const double arithmetic_s = peak > 0 ? e.work.operations / (peak * 1e9) : 0;
    text += fmt::format("| {:<22} | {:>7.0f} | {:>9.3f} | {:>5.1f} % | {:>7.1f} | {:>7.1f} | {:>5.0f} %, {:<6} |\n",
                        e.work.op, static_cast<double>(e.calls) / steps, 1e3 * s / steps, 100 * s / seconds,
                        e.work.bytes / s / 1e9, e.work.operations / s / 1e9, 100 * std::max(memory_s, arithmetic_s) / s,
                        arithmetic_s > memory_s ? name_of(e.work.arithmetic) : "memory");
  }
  const auto plain = [&](std::string_view name, double s) {
    text += fmt::format("| {:<22} | {:>7} | {:>9.3f} | {:>5.1f} % | {:>7} | {:>7} | {:<15} |\n", name, "",
                        1e3 * s / steps, 100 * s / seconds, "", "", "");
  };
  for (const OtherTime& other : others) plain(other.name, other.seconds), left -= other.seconds;
  plain("the rest", left);
  return text;
}

}  // namespace sluice
