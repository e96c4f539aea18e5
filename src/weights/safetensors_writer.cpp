#include "weights/safetensors_writer.h"

#include <nlohmann/json.hpp>
#include <set>
#include <span>

#include "weights/mapped_source.h"
#include "weights/output_file.h"
#include "weights/tensor_encoder.h"

namespace sluice {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kDataAlignment = 8;  // of the header's end, as the format's own writer pads it

size_t bytes_of(const GgufTensor& tensor) { return row_bytes(tensor.dtype, tensor.shape.elems()); }

/// Tensors [first, end) of each file.
std::vector<std::pair<size_t, size_t>> shards_of(std::span<const GgufTensor> tensors, uint64_t limit) {
  std::vector<std::pair<size_t, size_t>> shards{{0, 0}};
  uint64_t bytes = 0;
  for (size_t t = 0; t < tensors.size(); ++t) {
    const uint64_t more = bytes_of(tensors[t]);
    if (bytes > 0 && bytes + more > limit) {
      shards.push_back({t, t});
      bytes = 0;
    }
    bytes += more;
    shards.back().second = t + 1;
  }
  return shards;
}

std::string header_of(std::span<const GgufTensor> tensors) {
  Json header = {{"__metadata__", {{"format", "pt"}}}};
  size_t at = 0;
  for (const GgufTensor& tensor : tensors) {
    std::vector<int64_t> shape(tensor.shape.dims.begin(), tensor.shape.dims.begin() + tensor.shape.rank);
    const size_t end = at + bytes_of(tensor);
    header[tensor.name] = {{"dtype", dtype_name(tensor.dtype)}, {"shape", std::move(shape)}, {"data_offsets", {at, end}}};
    at = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + kDataAlignment - 1) / kDataAlignment * kDataAlignment, ' ');
  return text;
}

Status write_text(const std::string& path, const std::string& text) {
  OutputFile file(path);
  SLUICE_TRY_STATUS(file.open());
  SLUICE_TRY_STATUS(file.write(text.data(), text.size()));
  return file.commit();
}

}  // namespace

Result<size_t> write_huggingface(const std::string& directory, const HuggingfacePlan& plan, uint64_t shard_bytes, ThreadPool& pool,
                                 const GgufProgress& progress) {
  size_t total = 0, done = 0;
  std::set<std::string_view> names;
  for (const GgufTensor& tensor : plan.tensors) {
    const bool writable = tensor.dtype == DType::f32 || tensor.dtype == DType::f16 || tensor.dtype == DType::bf16;
    CHECK(writable && !tensor.packed, "tensor {} cannot be written as safetensors", tensor.name);
    CHECK(names.insert(tensor.name).second, "tensor {} is planned twice", tensor.name);
    total += bytes_of(tensor);
  }
  OutputDirectory out(directory);
  SLUICE_TRY_STATUS(out.open());
  const auto shards = shards_of(plan.tensors, shard_bytes);
  Json index = {{"metadata", {{"total_size", total}}}, {"weight_map", Json::object()}};
  TensorEncoder encoder(pool);
  for (size_t s = 0; s < shards.size(); ++s) {
    const std::string name = shards.size() == 1 ? "model.safetensors" : fmt::format("model-{:05}-of-{:05}.safetensors", s + 1, shards.size());
    const auto tensors = std::span(plan.tensors).subspan(shards[s].first, shards[s].second - shards[s].first);
    const std::string header = header_of(tensors);
    const uint64_t length = header.size();
    SLUICE_TRY(std::string path, out.file(name));
    OutputFile file(std::move(path), directory + "/" + name);
    SLUICE_TRY_STATUS(file.open());
    SLUICE_TRY_STATUS(file.write(&length, sizeof length));
    SLUICE_TRY_STATUS(file.write(header.data(), header.size()));
    for (const GgufTensor& tensor : tensors) {
      index["weight_map"][tensor.name] = name;
      SLUICE_TRY_STATUS(encoder.encode(tensor, [&](const uint8_t* bytes, size_t count) -> Status {
        SLUICE_TRY_STATUS(file.write(bytes, count));
        done += count;
        if (progress) progress(done, total, tensor.name);
        return {};
      }));
    }
    SLUICE_TRY_STATUS(file.commit());
  }
  std::map<std::string, std::string> files = plan.files;
  if (shards.size() > 1) files["model.safetensors.index.json"] = index.dump(2) + "\n";
  for (const auto& [name, text] : files) {
    SLUICE_TRY(const std::string path, out.file(name));
    SLUICE_TRY_STATUS(write_text(path, text));
  }
  SLUICE_TRY_STATUS(out.commit());
  return done;
}

}  // namespace sluice
