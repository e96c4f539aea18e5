// The portable table.

#include "backend/op_table.h"
#include "backend/ref/matmul.h"

namespace sluice {
namespace {

std::string lacks_nothing() { return {}; }

constexpr OpTable make_table() {
  OpTable t{};
  t.isa = "ref";
  t.lacks = lacks_nothing;
  const auto set = [&](DType d, MatmulFn* f) { t.matmul[static_cast<int>(d)] = f; };
  set(DType::f32, ref::matmul_f32);
  set(DType::f16, ref::matmul_f16);
  set(DType::bf16, ref::matmul_bf16);
  set(DType::q8_0, ref::matmul_q8_0);
  set(DType::q4_0, ref::matmul_q4_0);
  set(DType::q4_k, ref::matmul_q4_k);
  set(DType::q6_k, ref::matmul_q6_k);
  set(DType::q5_0, ref::matmul_q5_0);
  set(DType::q5_k, ref::matmul_q5_k);
  set(DType::iq4_nl, ref::matmul_iq4_nl);
  set(DType::mxfp4, ref::matmul_mxfp4);
  set(DType::q4_1, ref::matmul_q4_1);
  set(DType::q5_1, ref::matmul_q5_1);
  set(DType::q3_k, ref::matmul_q3_k);
  set(DType::q2_k, ref::matmul_q2_k);
  set(DType::i8_g128, ref::matmul_i8_g128);
  set(DType::u4_g128, ref::matmul_u4_g128);
  set(DType::u4_g32, ref::matmul_u4_g32);
  set(DType::u8_g128, ref::matmul_u8_g128);
  set(DType::iq4_xs, ref::matmul_iq4_xs);
  set(DType::tq2_0, ref::matmul_tq2_0);
  t.codes = ref::matmul_codes;
  t.bf16_form = ActForm::f32;
  const auto arrange = [&](ActForm form, ArrangeFn* f) {
    t.arrange[static_cast<int>(form)] = f;
    t.group_rows[static_cast<int>(form)] = 4;
  };
  arrange(ActForm::f32, ref::arrange_f32);
  arrange(ActForm::bf16_pair, ref::arrange_pairs);
  arrange(ActForm::q8, ref::arrange_q8);
  t.row = &kRefRowOps;
  t.peaks = [] { return Peaks{}; };
  return t;
}

}  // namespace

constinit const OpTable kRefOps = make_table();
constinit const OpTable kRefBf16Ops = [] {
  OpTable t = make_table();
  t.isa = "refbf16";
  t.matmul[static_cast<int>(DType::bf16)] = ref::matmul_bf16_pairs;
  t.bf16_form = ActForm::bf16_pair;
  return t;
}();

}  // namespace sluice
