// Which tables there are, best first, and the choice among them.
//
// AVX-VNNI stands before AVX-512 without VNNI: on Zen 5, one thread, 128 rows, it multiplies Q8_0 1.9 times as fast
// (and Q4_0 at 0.8 of the speed). A CPU with both has AVX512_VNNI too, so far, and takes the first.

#include <cstdlib>
#include <string>

#include "backend/op_table.h"
#include "backend/ops.h"
#include "base/log.h"

namespace sluice {

std::span<const OpTable* const> op_tables() {
  static constexpr const OpTable* kAll[] = {
#ifndef SLUICE_PORTABLE
      &kAvx512bf16Ops, &kAvx512Ops, &kAvxVnniOps, &kAvx512bwOps, &kAvx2Ops, &kAvx512Vnni256Ops, &kAmxOps,
#endif
      &kRefOps, &kRefBf16Ops};
  return kAll;
}

const OpTable& reference_of(const OpTable& table) {
  return table.bf16_form == ActForm::bf16_pair ? kRefBf16Ops : kRefOps;
}

std::string_view Ops::isa() const { return table_.isa; }

namespace {

/// `source` is the flag or the variable that named it.
Result<const OpTable*> take_named(const OpTable& table, const std::string& lacks, const char* source) {
  if (!lacks.empty())
    return unsupported(fmt::format("{} {} cannot run on this CPU, which lacks {}", source, table.isa, lacks), source);
  if (table.enable != nullptr)
    if (const std::string refused = table.enable(); !refused.empty())
      return unsupported(fmt::format("{} {} cannot run here: {}", source, table.isa, refused), source);
  if (table.unproven)
    log_warn("the kernels of {} are untested on hardware: until now their instructions ran in an emulator only",
             table.isa);
  return &table;
}

}  // namespace

Result<const OpTable*> select_op_table(std::string_view forced_isa) {
  const char* variable = std::getenv("SLUICE_ISA");
  if (forced_isa.empty() && variable != nullptr) forced_isa = variable;
  const char* source = variable != nullptr && forced_isa == variable ? "SLUICE_ISA" : "--isa";
  std::string choices;
  for (const OpTable* table : op_tables()) {
    const std::string lacks = table->lacks();
    if (forced_isa.empty() && lacks.empty() && !table->unproven) return table;
    if (forced_isa == table->isa) return take_named(*table, lacks, source);
    choices += fmt::format("{}{}{}", choices.empty() ? "" : ", ", table->isa,
                           lacks.empty() ? "" : fmt::format(" (not here: the CPU lacks {})", lacks));
  }
  return invalid_argument(fmt::format("{} {} is unknown; the choices are {}", source, forced_isa, choices), source);
}

}  // namespace sluice
