#include "weights/native_pack.h"

#include <xxhash.h>

#include <algorithm>
#include <set>

#include "backend/kernel_args.h"
#include "backend/ops.h"
#include "quant/weight/weight_format.h"
#include "weights/mapped_source.h"
#include "weights/output_head.h"

namespace sluice {
namespace {

constexpr GgmlType kOwnTypes[] = {
    {kOwnTypeBase, "I8_G128", 128, 130, DType::i8_g128},    {kOwnTypeBase + 1, "U4_G128", 128, 69, DType::u4_g128},
    {kOwnTypeBase + 2, "U4_G32", 32, 21, DType::u4_g32},    {kOwnTypeBase + 3, "U8_G128", 128, 133, DType::u8_g128},
    {kOwnTypeBase + 4, "U8_G32", 32, 37, DType::u8_g32},    {kOwnTypeBase + 5, "F8_G128", 128, 132, DType::f8_g128},
    {kOwnTypeBase + 6, "F8_G32", 32, 36, DType::f8_g32},    {kOwnTypeBase + 7, "NF4_G64", 64, 36, DType::nf4_g64},
    {kOwnTypeBase + 8, "F8_E4M3", 1, 1, DType::f8_e4m3},    {kOwnTypeBase + 9, "F8_E5M2", 1, 1, DType::f8_e5m2},
};

}  // namespace

const GgmlType* find_pack_type(uint32_t id) {
  for (const GgmlType& own : kOwnTypes)
    if (own.id == id) return &own;
  return find_ggml_type(id);
}

const GgmlType* find_pack_type(DType dtype) {
  for (const GgmlType& own : kOwnTypes)
    if (own.dtype == dtype) return &own;
  return find_ggml_type(dtype);
}

Result<bool> is_pack(std::span<const GgufKey> keys, const std::string& path) {
  const auto key = std::ranges::find(keys, kPackVersionKey, &GgufKey::name);
  if (key == keys.end()) return false;
  const auto* version = std::get_if<int64_t>(&key->value);
  if (version == nullptr) return corrupt_data(fmt::format("{}: key \"{}\" is no integer", path, kPackVersionKey));
  if (*version != kPackVersion)
    return unsupported(
        fmt::format("{}: a native pack in layout {}, but this build reads layout {}; convert the model "
                    "that it was made from again (sluice convert MODEL PACK --pack)",
                    path, *version, kPackVersion));
  return true;
}

bool packed_tensor_bytes(const Shape& shape, DType dtype, size_t& bytes) {
  const DTypeInfo& info = dtype_info(dtype);
  size_t row_major = 0;  // bounds the shape
  if (shape.rank != 2 || !Ops::matmul_supports(dtype) || shape[0] < 1 || shape[1] < 1 ||
      shape[0] > INT64_MAX - kPanelCols || !tensor_bytes(shape, info.block_elems, info.block_bytes, row_major) ||
      shape[1] > int64_t{1} << 40)
    return false;
  const auto panel = static_cast<size_t>(Ops::packed_bytes(dtype, 1, shape[1]));
  const auto panels = static_cast<size_t>((shape[0] + kPanelCols - 1) / kPanelCols);
  return !__builtin_mul_overflow(panel, panels, &bytes) && bytes <= size_t{1} << 62;
}

GgufPlan as_pack(GgufPlan plan) {
  plan.pack = true;
  const bool own_head = has_own_head(plan.tensors);
  for (GgufTensor& t : plan.tensors) {
    const bool row_table = t.name.ends_with("_embd.weight") && (own_head || t.name != "token_embd.weight");
    size_t bytes = 0;
    t.packed = !row_table && packed_tensor_bytes(t.shape, t.dtype, bytes);
  }
  return plan;
}

Result<size_t> verify_pack(const TensorSource& source, ThreadPool& pool,
                           const std::function<void(size_t, size_t)>& progress) {
  const Metadata& metadata = source.metadata();
  const std::vector<int64_t>* hashes = metadata.integers(kPackHashesKey);
  const std::vector<TensorInfo>& tensors = source.tensors();
  if (hashes == nullptr)
    return unsupported(
        fmt::format("{} holds no checksums; those of native packs do (sluice convert --pack)", metadata.origin()));
  if (hashes->size() != tensors.size())
    return corrupt_data(fmt::format("{}: key \"{}\" has {} checksums for {} tensors", metadata.origin(), kPackHashesKey,
                                    hashes->size(), tensors.size()));
  size_t all = 0, done = 0;
  for (const TensorInfo& t : tensors) all += t.size_bytes;
  std::vector<uint8_t> differs(tensors.size());
  const auto group = static_cast<size_t>(pool.size()) * 2;
  for (size_t first = 0; first < tensors.size(); first += group) {
    const size_t count = std::min(group, tensors.size() - first);
    pool.run(static_cast<int>(count), [&](int i, int) {
      const TensorInfo& t = tensors[first + static_cast<size_t>(i)];
      const void* data = t.packed ? source.panels(t).data : source.view(t).data;
      differs[first + static_cast<size_t>(i)] =
          XXH3_64bits(data, t.size_bytes) != static_cast<uint64_t>((*hashes)[first + static_cast<size_t>(i)]);
    });
    for (size_t i = first; i < first + count; ++i) {
      done += tensors[i].size_bytes;
      source.release(tensors[i]);
    }
    if (progress) progress(done, all);
  }
  std::string names;
  for (size_t i = 0; i < tensors.size(); ++i)
    if (differs[i] != 0) names += (names.empty() ? "" : ", ") + tensors[i].name;
  if (!names.empty())
    return corrupt_data(fmt::format("{}: the bytes of these tensors have changed since they were written: {}",
                                    metadata.origin(), names));
  return tensors.size();
}

}  // namespace sluice
