// Which tables there are, best first, and the choice among them.

#include <cstdlib>
#include <string>

#include "backend/op_table.h"
#include "backend/ops.h"

namespace sluice {

std::span<const OpTable* const> op_tables() {
  static constexpr const OpTable* kAll[] = {&kAvx512bf16Ops, &kAvx512Ops, &kAvx512bwOps, &kAvx2Ops, &kRefOps, &kRefBf16Ops};
  return kAll;
}

const OpTable& reference_of(const OpTable& table) {
  return table.bf16_form == ActForm::bf16_pair ? kRefBf16Ops : kRefOps;
}

std::string_view Ops::isa() const { return table_.isa; }

Result<const OpTable*> select_op_table(std::string_view forced_isa) {
  if (forced_isa.empty())
    if (const char* isa = std::getenv("SLUICE_ISA")) forced_isa = isa;
  std::string choices;
  for (const OpTable* table : op_tables()) {
    const std::string lacks = table->lacks();
    if (forced_isa.empty() && lacks.empty()) return table;
    if (forced_isa == table->isa) {
      if (lacks.empty()) return table;
      return unsupported(fmt::format("SLUICE_ISA {} cannot run on this CPU, which lacks {}", forced_isa, lacks), "SLUICE_ISA");
    }
    choices += fmt::format("{}{}{}", choices.empty() ? "" : ", ", table->isa,
                           lacks.empty() ? "" : fmt::format(" (not here: the CPU lacks {})", lacks));
  }
  return invalid_argument(fmt::format("SLUICE_ISA {} is unknown; the choices are {}", forced_isa, choices), "SLUICE_ISA");
}

}  // namespace sluice
