#include "weights/quantized_source.h"

#include <mutex>
#include <optional>
#include <unordered_map>

#include "base/machine.h"
#include "base/thread_pool.h"
#include "tensor/buffer.h"
#include "weights/quantization.h"

namespace sluice {
namespace {

struct Method {
  std::string_view name;
  RepackFn* repack;
};
constexpr Method kMethods[] = {{"gptq", repack_gptq},
                               {"awq", repack_awq},
                               {"compressed-tensors", repack_compressed_tensors},
                               {"bitsandbytes", repack_bitsandbytes},
                               {"fp8", repack_float8},
                               {"fbgemm_fp8", repack_float8},
                               {"modelopt", repack_float8},
                               {"mxfp4", repack_mxfp4},
                               {"bitnet", repack_bitnet}};

class QuantizedSource final : public TensorSource {
 public:
  QuantizedSource(std::shared_ptr<TensorSource> from, std::string_view config_prefix, Repacking repacking)
      : from_(std::move(from)), metadata_(from_->metadata()), repacked_(std::move(repacking.tensors)) {
    metadata_.remove_prefix(config_prefix);  // what it says is done
    for (const TensorInfo& info : from_->tensors()) {
      if (repacking.parts.contains(info.name)) continue;
      originals_.push_back(&info);
      tensors_.push_back(info);
    }
    for (const RepackedTensor& t : repacked_) {
      originals_.push_back(nullptr);
      tensors_.push_back({t.name, t.dtype, t.shape, t.file_index, 0, row_bytes(t.dtype, t.shape.elems())});
    }
    for (size_t i = 0; i < tensors_.size(); ++i) by_name_.emplace(tensors_[i].name, i);
    buffers_.resize(repacked_.size());
  }

  const Metadata& metadata() const override { return metadata_; }
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  const TensorInfo* find(std::string_view name) const override {
    const auto at = by_name_.find(name);
    return at == by_name_.end() ? nullptr : &tensors_[at->second];
  }
  std::vector<std::string> files() const override { return from_->files(); }
  const TensorSource& as_in_files() const override { return from_->as_in_files(); }

  TensorView view(const TensorInfo& info) const override {
    if (const TensorInfo* original = original_of(info)) return from_->view(*original);
    const std::lock_guard lock(mutex_);
    std::optional<Buffer>& buffer = buffers_[place_of(info)];
    if (!buffer) {
      auto memory = Buffer::allocate(info.size_bytes);
      CHECK(memory.ok(), "no memory for {} in {}", info.name, dtype_name(info.dtype));
      fill(repacked(info), memory->data());
      buffer = std::move(*memory);
    }
    return {buffer->data(), info.dtype, info.shape};
  }
  void release(const TensorInfo& info) const override {
    if (const TensorInfo* original = original_of(info)) return from_->release(*original);
    const std::lock_guard lock(mutex_);
    buffers_[place_of(info)].reset();
  }
  void map_ahead(const TensorInfo& info, size_t begin, size_t bytes) const override {
    if (const TensorInfo* original = original_of(info)) from_->map_ahead(*original, begin, bytes);
  }
  std::span<const int32_t> column_order(const TensorInfo& info) const override {
    if (original_of(info) != nullptr) return {};
    return repacked(info).order;
  }

 private:
  size_t index_of(const TensorInfo& info) const { return static_cast<size_t>(&info - tensors_.data()); }
  const TensorInfo* original_of(const TensorInfo& info) const { return originals_[index_of(info)]; }
  size_t place_of(const TensorInfo& info) const { return index_of(info) - (tensors_.size() - repacked_.size()); }
  const RepackedTensor& repacked(const TensorInfo& info) const { return repacked_[place_of(info)]; }

  // Neighbouring rows lie side by side in some layouts, so that a thread takes several.
  void fill(const RepackedTensor& t, uint8_t* out) const {
    if (t.shape.elems() == 0) return;
    constexpr int64_t kRows = 64;
    const int64_t cols = t.shape[t.shape.rank - 1], rows = t.shape.elems() / cols;
    const size_t row_size = row_bytes(t.dtype, cols);
    if (!pool_) pool_.emplace(usable_cores());
    pool_->run(static_cast<int>((rows + kRows - 1) / kRows), [&](int part, int) {
      for (int64_t row = part * kRows; row < std::min(rows, (part + 1) * kRows); ++row)
        t.fill(row, out + static_cast<size_t>(row) * row_size);
    });
  }

  std::shared_ptr<TensorSource> from_;
  Metadata metadata_;
  std::vector<RepackedTensor> repacked_;  // the last of tensors_
  std::vector<TensorInfo> tensors_;
  std::vector<const TensorInfo*> originals_;  // by tensor; null for repacked ones
  std::unordered_map<std::string_view, size_t> by_name_;
  mutable std::mutex mutex_;  // of what follows: rows are asked for by several threads at once
  mutable std::vector<std::optional<Buffer>> buffers_;  // by repacked tensor
  mutable std::optional<ThreadPool> pool_;
};

}  // namespace

Result<std::shared_ptr<TensorSource>> open_quantized(std::shared_ptr<TensorSource> source) {
  const QuantizationConfig config(source->metadata());
  if (!config.present()) return source;
  const std::string name = config.string_or("quant_method", "");
  std::string known;
  for (const Method& method : kMethods) {
    known += (known.empty() ? "" : ", ") + std::string(method.name);
    if (method.name != name) continue;
    Repacking repacking;
    SLUICE_TRY_STATUS(method.repack(config, *source, repacking));
    for (const RepackedTensor& t : repacking.tensors)
      if (source->find(t.name) != nullptr && !repacking.parts.contains(t.name))
        return corrupt_data(
            fmt::format("{}: tensor {} is there both quantized and as it is", source->files()[t.file_index], t.name));
    const std::string prefix(config.prefix());
    return std::shared_ptr<TensorSource>(
        std::make_shared<QuantizedSource>(std::move(source), prefix, std::move(repacking)));
  }
  return config.refused("quant_method", fmt::format("\"{}\"", name.substr(0, 100)),
                        "read are " + known + ", and GGUF files");
}

}  // namespace sluice
