#include "weights/mapped_source.h"

#include <algorithm>
#include <numeric>
#include <tuple>

namespace sluice {

bool tensor_bytes(const Shape& shape, int64_t block_elems, int64_t block_bytes, size_t& bytes) {
  constexpr int64_t kMost = int64_t{1} << 62;
  int64_t elems = 1;
  for (int i = 0; i < shape.rank; ++i) {
    if (shape[i] < 0) return false;
    if (__builtin_mul_overflow(elems, shape[i], &elems) || elems > kMost) return false;
  }
  const int64_t inner = shape.rank == 0 ? 1 : shape[shape.rank - 1];
  if (inner % block_elems != 0) return false;
  int64_t product = 0;
  if (__builtin_mul_overflow(elems / block_elems, block_bytes, &product) || product > kMost) return false;
  bytes = static_cast<size_t>(product);
  return true;
}

Result<std::shared_ptr<TensorSource>> MappedSource::create(Metadata metadata,
                                                           std::vector<std::shared_ptr<MappedFile>> files,
                                                           std::vector<TensorInfo> tensors) {
  auto source = std::shared_ptr<MappedSource>(new MappedSource);
  source->metadata_ = std::move(metadata);
  source->files_ = std::move(files);
  source->tensors_ = std::move(tensors);
  const auto& all = source->tensors_;
  source->by_name_.reserve(all.size());
  for (size_t i = 0; i < all.size(); ++i) {
    const auto [at, inserted] = source->by_name_.emplace(all[i].name, i);
    if (!inserted)
      return corrupt_data(fmt::format("{}: tensor {} occurs twice (also in {})",
                                      source->files_[all[i].file_index]->path(), all[i].name,
                                      source->files_[all[at->second].file_index]->path()));
  }
  std::vector<size_t> order(all.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return std::tie(all[a].file_index, all[a].offset_bytes, all[a].size_bytes) <
           std::tie(all[b].file_index, all[b].offset_bytes, all[b].size_bytes);
  });
  for (size_t i = 0; i < order.size(); ++i) {
    const TensorInfo& info = all[order[i]];
    const size_t file_bytes = source->files_[info.file_index]->bytes().size();
    CHECK(info.offset_bytes <= file_bytes && info.size_bytes <= file_bytes - info.offset_bytes, "{}", info.name);
    if (i == 0 || all[order[i - 1]].file_index != info.file_index) continue;
    const TensorInfo& before = all[order[i - 1]];
    if (before.offset_bytes + before.size_bytes > info.offset_bytes)
      return corrupt_data(fmt::format("{}: tensor {} at byte {} overlaps tensor {}, which ends at byte {}",
                                      source->files_[info.file_index]->path(), info.name, info.offset_bytes,
                                      before.name, before.offset_bytes + before.size_bytes));
  }
  return std::shared_ptr<TensorSource>(std::move(source));
}

const TensorInfo* MappedSource::find(std::string_view name) const {
  const auto at = by_name_.find(name);
  return at == by_name_.end() ? nullptr : &tensors_[at->second];
}

const uint8_t* MappedSource::data(const TensorInfo& info) const {
  return files_[info.file_index]->bytes().data() + info.offset_bytes;
}

TensorView MappedSource::view(const TensorInfo& info) const {
  CHECK(!info.packed, "{} is packed", info.name);
  return {data(info), info.dtype, info.shape};
}

PackedMatrix MappedSource::panels(const TensorInfo& info) const {
  CHECK(info.packed, "{} is not packed", info.name);
  const int64_t k = info.shape[info.shape.rank - 1];
  return {info.dtype, info.shape.elems() / k, k, data(info)};
}

void MappedSource::release(const TensorInfo& info) const {
  files_[info.file_index]->release(info.offset_bytes, info.size_bytes);
}

void MappedSource::map_ahead(const TensorInfo& info, size_t begin, size_t bytes) const {
  CHECK(begin <= info.size_bytes && bytes <= info.size_bytes - begin, "{}", info.name);
  files_[info.file_index]->map_ahead(info.offset_bytes + begin, bytes);
}

std::vector<std::string> MappedSource::files() const {
  std::vector<std::string> paths;
  for (const auto& file : files_) paths.push_back(file->path());
  return paths;
}

}  // namespace sluice
