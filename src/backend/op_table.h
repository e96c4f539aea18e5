#pragma once
// The kernels of one instruction set. Ops (ops.h) splits the work over threads and calls these; tables give the
// same bits for the same matmul, but for BF16 weights where their bf16_form differs. A null matmul entry means: use the reference table's.

#include <span>
#include <string>
#include <string_view>

#include "backend/kernel_args.h"
#include "tensor/dtype.h"

namespace sluice {

struct RowOps;  // attention, norms, rope, element-wise: row_ops.h

/// Runs `rounds` of independent multiply-adds in registers, and returns the operations done, an add and a multiply
/// counting two. Null where a table has no such instructions.
struct Peak {
  const char* instructions = "none";
  PeakFn* run = nullptr;
};
/// bf16: the CPU's dot product in the table whose kernels take it, else widening to float32.
struct Peaks {
  Peak f32, bf16, int8;
};

struct OpTable {
  std::string_view isa;
  std::string (*lacks)();  // what this CPU misses for this table, comma-separated; empty when it can run
  std::string (*enable)();  // asks the system for what the table needs of it; what it refused, or empty. Null: needs nothing
  bool unproven;            // has not run on hardware yet: taken only where it is named (docs/adr/0005)

  // Matmul (kernel_args.h), indexed by DType.
  MatmulFn* matmul[kNumDTypes];
  MatmulFn* codes;                 // of panels of codes, which types without an entry are unpacked to; null as above
  ActForm bf16_form;               // how its BF16 kernel reads rows; F32 and F16 read f32, block types q8
  int group_rows[kNumActForms];    // rows per RowGroup that the kernels take at most, and like best
  ArrangeFn* arrange[kNumActForms];
  int planned_rows;                // products of more rows are computed in one way, whatever their plan

  const RowOps* row;

  Peaks (*peaks)();  // for the roofline
};

extern const RowOps kRefRowOps, kAvx2RowOps, kAvx512RowOps, kAvx512VnniRowOps;

extern const OpTable kRefOps;        // backend/ref: portable C++
extern const OpTable kRefBf16Ops;    // the same with the BF16 products of AVX512_BF16
extern const OpTable kAvx2Ops;       // backend/cpu: AVX2, FMA, F16C
extern const OpTable kAvxVnniOps;    // the same and AVX-VNNI
extern const OpTable kAvx512bwOps;   // AVX-512 F, BW, DQ, VL
extern const OpTable kAvx512Ops;     // the same and VNNI
extern const OpTable kAvx512bf16Ops; // the same and BF16
extern const OpTable kAmxOps;        // AVX-512, VNNI and AMX-INT8
extern const OpTable kAvx512Vnni256Ops;  // AVX-VNNI's source in the encoding of AVX512VL and VNNI

/// The table whose every kernel equals those of `table` bit for bit, in portable C++: ref, or refbf16 where BF16 rows are
/// rounded to bfloat16.
const OpTable& reference_of(const OpTable& table);

/// Every table, best first (catalog.cpp).
std::span<const OpTable* const> op_tables();

}  // namespace sluice
