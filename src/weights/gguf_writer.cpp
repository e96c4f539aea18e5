#include "weights/gguf_writer.h"

#include <xxhash.h>

#include <memory>
#include <set>

#include "backend/kernel_args.h"
#include "backend/pack.h"
#include "quant/weight/weight_format.h"
#include "weights/mapped_source.h"
#include "weights/native_pack.h"
#include "weights/output_file.h"
#include "weights/tensor_encoder.h"

namespace sluice {
namespace {

size_t alignment_of(const GgufPlan& plan) { return plan.pack ? kPackAlignment : kGgufAlignment; }
size_t padded(size_t bytes, size_t alignment) { return (bytes + alignment - 1) / alignment * alignment; }

class HeaderBuilder {
 public:
  template <class T>
  void scalar(T value) { text_.append(reinterpret_cast<const char*>(&value), sizeof value); }
  void string(const std::string& value) {
    scalar<uint64_t>(value.size());
    text_ += value;
  }
  void integer(GgufType type, int64_t value) {
    text_.append(reinterpret_cast<const char*>(&value), gguf_scalar_bytes(type));  // little-endian: the low bytes
  }
  void number(GgufType type, double value) {
    if (type == GgufType::f32) scalar(static_cast<float>(value));
    else scalar(value);
  }

  void key(const GgufKey& key) {
    string(key.name);
    scalar(static_cast<uint32_t>(key.type));
    const bool array = key.type == GgufType::array;
    if (array) scalar(static_cast<uint32_t>(key.element));
    std::visit([&](const auto& value) { put(key, array ? key.element : key.type, value); }, key.value);
  }

  const std::string& text() const { return text_; }

 private:
  static bool is_float(GgufType type) { return type == GgufType::f32 || type == GgufType::f64; }
  void put(const GgufKey& key, GgufType type, bool value) {
    CHECK(type == GgufType::boolean, "{}", key.name);
    integer(type, value);
  }
  void put(const GgufKey& key, GgufType type, int64_t value) {
    CHECK(gguf_scalar_bytes(type) > 0 && !is_float(type), "{}", key.name);
    integer(type, value);
  }
  void put(const GgufKey& key, GgufType type, double value) {
    CHECK(is_float(type), "{}", key.name);
    number(type, value);
  }
  void put(const GgufKey& key, GgufType type, const std::string& value) {
    CHECK(type == GgufType::string, "{}", key.name);
    string(value);
  }
  template <class T>
  void put(const GgufKey& key, GgufType type, const std::vector<T>& values) {
    CHECK(key.type == GgufType::array, "{}", key.name);
    scalar<uint64_t>(values.size());
    for (const auto& value : values) put(key, type, value);
  }

  std::string text_;
};

// `hashes` of the tensors' bytes, of a pack.
Result<std::string> build_header(const std::string& path, const GgufPlan& plan, const std::vector<int64_t>& hashes,
                                 size_t& total_bytes) {
  std::vector<GgufKey> keys = plan.keys;
  if (plan.pack) {
    keys.push_back(GgufKey::u32("general.alignment", kPackAlignment));
    keys.push_back(GgufKey::u32(std::string(kPackVersionKey), kPackVersion));
    keys.push_back(GgufKey::array(std::string(kPackHashesKey), GgufType::u64, hashes));
  }
  HeaderBuilder header;
  header.scalar(kGgufMagic);
  header.scalar(kGgufVersion);
  header.scalar<uint64_t>(plan.tensors.size());
  header.scalar<uint64_t>(keys.size());
  std::set<std::string_view> seen;
  for (const auto& key : keys) {
    CHECK(seen.insert(key.name).second, "{}", key.name);
    header.key(key);
  }
  seen.clear();
  total_bytes = 0;
  for (const auto& tensor : plan.tensors) {
    const GgmlType* type = plan.pack ? find_pack_type(tensor.dtype) : find_ggml_type(tensor.dtype);
    if (type == nullptr && find_pack_type(tensor.dtype) != nullptr)
      return invalid_argument(fmt::format("{}: tensor {} is of type {}, Sluice's own, which GGUF does not have: name another type "
                                          "(--type q8_0), write a native pack (--pack), or encode a model as it is loaded (--repack)",
                                          path, tensor.name, dtype_name(tensor.dtype)));
    size_t bytes = 0;
    if (type == nullptr || tensor.shape.rank < 1 || (!tensor.fill_encoded && weight_format(tensor.dtype) == nullptr) ||
        !(tensor.packed ? packed_tensor_bytes(tensor.shape, tensor.dtype, bytes)
                        : tensor_bytes(tensor.shape, type->block_elems, type->block_bytes, bytes)))
      return invalid_argument(fmt::format("{}: tensor {} {} cannot be stored as {}", path, tensor.name,
                                          tensor.shape.text(), dtype_name(tensor.dtype)));
    CHECK(seen.insert(tensor.name).second, "tensor {} is planned twice", tensor.name);
    CHECK(!tensor.packed || plan.pack, "tensor {} is packed in a plain GGUF", tensor.name);
    header.string(tensor.name);
    header.scalar(static_cast<uint32_t>(tensor.shape.rank));
    for (int i = tensor.shape.rank - 1; i >= 0; --i) header.scalar(static_cast<uint64_t>(tensor.shape[i]));
    header.scalar(type->id + (tensor.packed ? kPackedTypeBase : 0));
    header.scalar<uint64_t>(total_bytes);
    total_bytes += padded(bytes, alignment_of(plan));
  }
  return header.text();
}

}  // namespace

Result<size_t> write_gguf(const std::string& path, const GgufPlan& plan, ThreadPool& pool,
                          const GgufProgress& progress) {
  size_t total_bytes = 0, done_bytes = 0;
  std::vector<int64_t> hashes(plan.tensors.size());
  SLUICE_TRY(std::string header, build_header(path, plan, hashes, total_bytes));
  OutputFile file(path);
  SLUICE_TRY_STATUS(file.open());
  SLUICE_TRY_STATUS(file.write(header.data(), header.size()));
  SLUICE_TRY_STATUS(file.pad(alignment_of(plan)));

  TensorEncoder encoder(pool);
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> hash(XXH3_createState(), &XXH3_freeState);
  for (size_t t = 0; t < plan.tensors.size(); ++t) {
    const GgufTensor& tensor = plan.tensors[t];
    XXH3_64bits_reset(hash.get());
    SLUICE_TRY_STATUS(encoder.encode(tensor, [&](const uint8_t* encoded, size_t bytes) -> Status {
      SLUICE_TRY_STATUS(file.write(encoded, bytes));
      if (plan.pack) XXH3_64bits_update(hash.get(), encoded, bytes);
      done_bytes += bytes;
      if (progress) progress(done_bytes, total_bytes, tensor.name);
      return {};
    }));
    if (plan.pack) hashes[t] = static_cast<int64_t>(XXH3_64bits_digest(hash.get()));
    const size_t before = file.written();
    SLUICE_TRY_STATUS(file.pad(alignment_of(plan)));
    done_bytes += file.written() - before;
  }
  if (plan.pack) {
    SLUICE_TRY(header, build_header(path, plan, hashes, total_bytes));
    SLUICE_TRY_STATUS(file.rewrite_start(header));
  }
  SLUICE_TRY_STATUS(file.commit());
  return file.written();
}

}  // namespace sluice
