// Ops::matmul, packing, and rows of embedding tables.

#include "backend/op_meter.h"
#include "backend/ordered_matmul.h"
#include "backend/pack.h"
#include "backend/products.h"
#include "base/check.h"
#include "quant/weight/weight_format.h"

namespace sluice {

size_t Ops::packed_bytes(DType dtype, int64_t n, int64_t k) {
  return static_cast<size_t>(panel_count(n)) * panel_bytes(dtype, k);
}

bool Ops::matmul_supports(DType dtype) { return panel_kind(dtype) != PanelKind::none; }

void Ops::pack(const TensorView& w, uint8_t* out) const {
  CHECK(matmul_supports(w.dtype), "no packed form of {}", dtype_name(w.dtype));
  const size_t bytes = panel_bytes(w.dtype, w.cols());
  pool_.run(static_cast<int>(panel_count(w.rows())),
            [&](int panel, int) { pack_panel(w, panel, out + static_cast<size_t>(panel) * bytes); });
}

void Ops::embed(const TensorView& table, std::span<const TokenId> tokens, float* out) const {
  const OpTimer timer(meter_, [&] { return embed_work(table.dtype, table.cols(), static_cast<int64_t>(tokens.size())); });
  const WeightFormat* format = weight_format(table.dtype);
  CHECK(format != nullptr, "cannot decode {} rows", dtype_name(table.dtype));
  const int64_t k = table.cols();
  pool_.run(static_cast<int>(tokens.size()), [&](int i, int) {
    CHECK(tokens[i] >= 0 && tokens[i] < table.rows(), "token {} of a table of {}", tokens[i], table.rows());
    format->decode(table.row(tokens[i]), out + i * k, k);
  });
}

void Ops::matmul(const MatmulIn& in, std::span<const MatmulOut> outs) const {
  if (in.rows == 0 || outs.empty()) return;
  const OpTimer timer(meter_, [&] { return matmul_work(in.rows, outs); });
  if (has_order(outs)) return ordered_matmul(*this, in, outs);
  const Machine on{table_, plans_, pool_};
  ProductMemory& memory = product_memory();
  memory.input.wanted.fill(false);
  for (const MatmulOut& o : outs) {
    CHECK(o.w->k == in.k, "an input of {} columns for a matrix of {}", in.k, o.w->k);
    memory.input.want(act_form(table_, o.w->dtype));
  }
  arrange(on, in, nullptr, memory.input);
  run_products(on, outs, &memory.input, nullptr, memory.jobs);
}

}  // namespace sluice
