#include "model/layers/pooling_head.h"

#include <algorithm>
#include <cmath>

namespace sluice {
namespace {

// In float64 and in order: the same for a row wherever it stands.
void normalize(float* x, int64_t width) {
  double sum = 0;
  for (int64_t i = 0; i < width; ++i) sum += static_cast<double>(x[i]) * x[i];
  const double length = std::max(std::sqrt(sum), 1e-12);
  for (int64_t i = 0; i < width; ++i) x[i] = static_cast<float>(x[i] / length);
}

float dot(const float* x, const std::vector<float>& y) {
  double sum = 0;
  for (size_t i = 0; i < y.size(); ++i) sum += static_cast<double>(x[i]) * y[i];
  return static_cast<float>(sum);
}

}  // namespace

PoolingHead::PoolingHead(const TextUse& use, const ClassifierConfig& classifier, int64_t hidden)
    : use_(use), config_(classifier), pooling_(use.pooling), hidden_(hidden), norm_("cls.norm", classifier.norm, hidden) {
  if (use.task == TextUse::Task::score && !use.answers) pooling_ = classifier.pooling;
}

Status PoolingHead::declare(TensorTable& table, const TensorSource& source) {
  for (const char* unused : {"pooler.weight", "pooler.bias", "position_ids"}) table.ignore(unused);
  if (use_.task != TextUse::Task::score || use_.answers) return {};
  // A GGUF of a causal reranker has its two answers as classes.
  const std::vector<std::string>* labels = source.metadata().strings(source.metadata().architecture() + ".classifier.output_labels");
  if (labels != nullptr && labels->size() == 2 && labels->front() == "yes") classes_ = 2;
  const int64_t named = source.metadata().integer_or("num_labels", 1);
  const std::vector<std::string> none;
  if (labels != nullptr && static_cast<int64_t>(labels->size()) != classes_)
    return unsupported(fmt::format("{}: the classifier has {} classes; a reranker has one", source.metadata().origin(), labels->size()));
  if (named != 1 || source.metadata().has("id2label.1"))
    return unsupported(fmt::format("{}: the classifier has several classes; a reranker has one (num_labels, id2label)", source.metadata().origin()));
  table.matrix("cls.weight", &dense_, hidden_, hidden_, "classifier", config_.dense);
  table.vector("cls.bias", &dense_bias_, hidden_, config_.dense_bias);
  norm_.declare(table);
  table.matrix("cls.output.weight", &out_, classes_, hidden_, "classifier");
  table.vector("cls.output.bias", &out_bias_, classes_, config_.out_bias);
  return {};
}

void PoolingHead::pool(const float* hidden, bool picked, std::span<const AttendSegment> texts, float* out) const {
  for (size_t t = 0; t < texts.size(); ++t, out += hidden_) {
    if (one_row()) {
      const float* row = hidden + (picked ? static_cast<int64_t>(t) : row_of(texts[t])) * hidden_;
      std::copy(row, row + hidden_, out);
      continue;
    }
    const float* const rows = hidden + int64_t{texts[t].first_row} * hidden_;
    for (int64_t i = 0; i < hidden_; ++i) {
      double sum = 0;
      for (int64_t r = 0; r < texts[t].rows; ++r) sum += rows[r * hidden_ + i];
      out[i] = static_cast<float>(sum / texts[t].rows);
    }
  }
}

void PoolingHead::apply(const Ops& ops, const float* hidden, bool picked, std::span<const AttendSegment> texts, float* out) {
  const auto count = static_cast<int64_t>(texts.size());
  if (use_.task == TextUse::Task::embed) {
    pool(hidden, picked, texts, out);
    for (int64_t t = 0; use_.normalize && t < count; ++t) normalize(out + t * hidden_, hidden_);
    return;
  }
  pooled_.resize(static_cast<size_t>(count * hidden_));
  pool(hidden, picked, texts, pooled_.data());
  if (use_.answers) {
    for (int64_t t = 0; t < count; ++t) out[t] = dot(pooled_.data() + t * hidden_, difference_);
    return;
  }
  const float* x = pooled_.data();
  if (dense_.data != nullptr) {
    dense_out_.resize(pooled_.size());
    const MatmulOut dense{&dense_, dense_bias_, dense_out_.data(), hidden_};
    ops.matmul({x, count, hidden_}, {&dense, 1});
    if (config_.act == ClassifierConfig::Act::tanh)
      ops.softcap(dense_out_.data(), 1, count * hidden_);  // 1 * tanh(x / 1)
    else
      ops.activate(dense_out_.data(), count * hidden_, Activation::gelu);
    x = dense_out_.data();
  }
  classes_out_.resize(static_cast<size_t>(count * classes_));
  const MatmulOut classes{&out_, out_bias_, classes_out_.data(), classes_};
  ops.matmul({x, count, hidden_, norm_.norm()}, {&classes, 1});
  for (int64_t t = 0; t < count; ++t) {
    const float* const of = classes_out_.data() + t * classes_;
    out[t] = classes_ == 2 ? of[0] - of[1] : of[0];
  }
}

}  // namespace sluice
