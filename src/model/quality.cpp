#include "model/quality.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace sluice {

std::vector<double> token_nll(Model& model, std::span<const KvLayerView> kv, std::span<const TokenId> tokens) {
  constexpr size_t kRows = 64;  // whose logits are held at a time
  const auto vocab = static_cast<size_t>(model.info().vocab_size);
  const auto block_tokens = static_cast<size_t>(kv[0].block_tokens);
  std::vector<BlockId> blocks((tokens.size() + block_tokens - 1) / block_tokens);
  std::iota(blocks.begin(), blocks.end(), BlockId{0});
  std::vector<float> logits(kRows * vocab);
  std::vector<double> nll;
  for (size_t first = 0; first + 1 < tokens.size(); first += kRows) {
    const size_t rows = std::min(kRows, tokens.size() - 1 - first);  // the last token predicts nothing that is known
    std::vector<int32_t> positions(rows), wanted(rows);
    std::iota(positions.begin(), positions.end(), static_cast<int32_t>(first));
    std::iota(wanted.begin(), wanted.end(), 0);
    const std::vector<int64_t> slots(positions.begin(), positions.end());
    const AttendSegment segment{0, static_cast<int>(rows), static_cast<int>(first), blocks.data()};
    model.forward({tokens.subspan(first, rows), positions, slots, {&segment, 1}, wanted}, kv, logits.data());
    for (size_t r = 0; r < rows; ++r) {
      const std::span<const float> row(logits.data() + r * vocab, vocab);
      const double top = *std::ranges::max_element(row);
      double sum = 0;
      for (const float v : row) sum += std::exp(static_cast<double>(v) - top);
      nll.push_back(top + std::log(sum) - static_cast<double>(row[static_cast<size_t>(tokens[first + r + 1])]));
    }
  }
  return nll;
}

PairedNll compare_nll(std::span<const double> reference, std::span<const double> other) {
  CHECK(reference.size() == other.size() && reference.size() > 1, "{} and {} tokens", reference.size(), other.size());
  PairedNll out;
  out.tokens = reference.size();
  const auto n = static_cast<double>(reference.size());
  for (size_t i = 0; i < reference.size(); ++i) {
    out.mean += reference[i] / n;
    out.difference += (other[i] - reference[i]) / n;
  }
  double squares = 0;
  for (size_t i = 0; i < reference.size(); ++i) {
    const double d = other[i] - reference[i] - out.difference;
    squares += d * d;
  }
  out.interval = 1.96 * std::sqrt(squares / (n - 1) / n);
  return out;
}

}  // namespace sluice
