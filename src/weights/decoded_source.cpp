#include "weights/decoded_source.h"

#include <vector>

#include "backend/unpack.h"
#include "quant/weight/weight_format.h"
#include "tensor/buffer.h"
#include "weights/derived_source.h"

namespace sluice {
namespace {

class DecodedSource final : public DerivedSource {
 public:
  static Result<std::shared_ptr<TensorSource>> make(std::shared_ptr<TensorSource> from) {
    auto out = std::make_shared<DecodedSource>();
    size_t bytes = 0;
    for (TensorInfo info : from->tensors()) {
      if (weight_format(info.dtype) == nullptr)
        return unsupported(fmt::format("{}: tensor {} is of type {}, which cannot be decoded",
                                       from->files()[info.file_index], info.name, dtype_name(info.dtype)));
      info.dtype = DType::f32;
      info.packed = false;
      info.offset_bytes = bytes;
      info.size_bytes = static_cast<size_t>(info.shape.elems()) * sizeof(float);
      bytes += (info.size_bytes + 63) / 64 * 64;
      out->tensors_.push_back(std::move(info));
    }
    SLUICE_TRY(out->values_, Buffer::allocate(bytes));
    for (size_t i = 0; i < out->tensors_.size(); ++i) {
      const TensorInfo& encoded = from->tensors()[i];
      auto* to = reinterpret_cast<float*>(out->values_.data() + out->tensors_[i].offset_bytes);
      const WeightFormat& format = *weight_format(encoded.dtype);
      if (encoded.packed) {
        const PackedMatrix panels = from->panels(encoded);
        std::vector<uint8_t> row(row_bytes(encoded.dtype, panels.k));
        for (int64_t r = 0; r < panels.n; ++r, to += panels.k) {
          unpack_row(panels, r, row.data());
          format.decode(row.data(), to, panels.k);
        }
      } else {
        format.decode(from->view(encoded).data, to, encoded.shape.elems());
      }
      from->release(encoded);
    }
    out->from_ = std::move(from);
    return std::shared_ptr<TensorSource>(std::move(out));
  }

  TensorView view(const TensorInfo& info) const override {
    return {values_.data() + info.offset_bytes, DType::f32, info.shape};
  }
  void release(const TensorInfo&) const override {}

 private:
  Buffer values_;
};

}  // namespace

Result<std::shared_ptr<TensorSource>> decode_source(std::shared_ptr<TensorSource> source) {
  return DecodedSource::make(std::move(source));
}

}  // namespace sluice
