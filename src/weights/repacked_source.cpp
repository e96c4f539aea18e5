#include "weights/repacked_source.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "quant/weight/weight_format.h"
#include "tensor/buffer.h"
#include "weights/derived_source.h"
#include "weights/output_head.h"

namespace sluice {
namespace {

class RepackedSource final : public DerivedSource {
 public:
  static Result<std::shared_ptr<TensorSource>> make(std::shared_ptr<TensorSource> from, const QuantRecipe& recipe,
                                                    ThreadPool& pool) {
    const auto out = std::make_shared<RepackedSource>(pool);
    const auto place = [&](const TensorInfo& info) { return from->files()[info.file_index]; };
    const bool gguf = from->find("token_embd.weight") != nullptr;
    if (recipe.mixture && !gguf)
      return unsupported(fmt::format("{}: {} chooses types by the names that GGUF gives to tensors; take one type for all, "
                                     "or convert the model first",
                                     from->metadata().origin(), recipe.name));
    const std::string arch = from->metadata().architecture();
    const RecipeModel model{gguf ? from->metadata().integer_or(arch + ".block_count", 0) : 0,
                            !has_own_head(from->tensors())};
    for (TensorInfo info : from->tensors()) {
      if (info.packed)
        return unsupported(fmt::format("{}: {} is a native pack's, whose layout is fixed; name the model that it was made of",
                                       place(info), info.name));
      if (holds_matrices(info.name, info.shape)) {
        const DType wanted = recipe_dtype(recipe, model, info.name, info.shape);
        if (wanted != info.dtype && weight_format(info.dtype) == nullptr)
          return unsupported(fmt::format("{}: tensor {} is of type {}, which cannot be decoded", place(info), info.name,
                                         dtype_name(info.dtype)));
        info.dtype = wanted;
        info.size_bytes = row_bytes(wanted, info.shape.elems());
      }
      out->tensors_.push_back(std::move(info));
    }
    out->encoded_.resize(out->tensors_.size());
    out->from_ = std::move(from);
    return std::shared_ptr<TensorSource>(out);
  }

  explicit RepackedSource(ThreadPool& pool) : pool_(pool) {}

  TensorView view(const TensorInfo& info) const override {
    const TensorInfo& original = original_of(info);
    if (original.dtype == info.dtype) return from_->view(original);
    std::optional<Buffer>& buffer = encoded_[index_of(info)];
    if (!buffer) {
      auto memory = Buffer::allocate(info.size_bytes);
      CHECK(memory.ok(), "no memory for {} in {}", info.name, dtype_name(info.dtype));
      encode(from_->view(original), info, memory->data());
      from_->release(original);
      buffer = std::move(*memory);
    }
    return {buffer->data(), info.dtype, info.shape};
  }
  void release(const TensorInfo& info) const override {
    from_->release(original_of(info));
    encoded_[index_of(info)].reset();
  }

 private:
  void encode(const TensorView& rows, const TensorInfo& to, uint8_t* out) const {
    const WeightFormat &decoder = *weight_format(rows.dtype), &encoder = *weight_format(to.dtype);
    const int64_t cols = to.shape[to.shape.rank - 1], count = to.shape.elems() / cols;
    const size_t row_size = row_bytes(rows.dtype, cols), out_size = row_bytes(to.dtype, cols);
    pool_.run(static_cast<int>(count), [&](int row, int) {
      static thread_local std::vector<float> values;
      values.resize(static_cast<size_t>(cols));
      decoder.decode(static_cast<const uint8_t*>(rows.data) + static_cast<size_t>(row) * row_size, values.data(), cols);
      encoder.encode(values.data(), out + static_cast<size_t>(row) * out_size, cols);
    });
  }

  ThreadPool& pool_;
  mutable std::vector<std::optional<Buffer>> encoded_;  // by tensor
};

}  // namespace

Result<std::shared_ptr<TensorSource>> repack_source(std::shared_ptr<TensorSource> source, const QuantRecipe& recipe,
                                                    ThreadPool& pool) {
  return RepackedSource::make(std::move(source), recipe, pool);
}

}  // namespace sluice
