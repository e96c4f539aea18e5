#include "weights/fingerprint.h"

#include <fcntl.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>

namespace sluice {
namespace {

class Hash {
 public:
  Hash() : state_(XXH3_createState()) { XXH3_64bits_reset(state_); }
  ~Hash() { XXH3_freeState(state_); }
  Hash(const Hash&) = delete;
  Hash& operator=(const Hash&) = delete;

  void bytes(const void* data, size_t n) { XXH3_64bits_update(state_, data, n); }
  template <class T>
    requires std::is_arithmetic_v<T> || std::is_enum_v<T>
  void add(T value) {
    bytes(&value, sizeof value);
  }
  void add(const std::string& text) {
    add(text.size());
    bytes(text.data(), text.size());
  }
  template <class T>
  void add(const std::vector<T>& list) {
    add(list.size());
    for (const T& value : list) add(value);
  }
  uint64_t value() const { return XXH3_64bits_digest(state_); }

 private:
  XXH3_state_t* state_;
};

struct Files {
  std::vector<int> fds;
  ~Files() {
    for (const int fd : fds) ::close(fd);
  }
};

}  // namespace

Result<uint64_t> model_fingerprint(const TensorSource& model, const std::function<void(size_t, size_t)>& progress) {
  const TensorSource& source = model.as_in_files();
  Hash hash;
  for (const auto& [key, value] : source.metadata().values()) {
    hash.add(key);
    std::visit([&hash](const auto& v) { hash.add(v); }, value);
  }
  Files files;
  const std::vector<std::string> paths = source.files();
  for (const std::string& path : paths) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return io_error(path + " cannot be read");
    files.fds.push_back(fd);
  }
  size_t done = 0, all = 0;
  for (const TensorInfo& tensor : source.tensors()) all += tensor.size_bytes;
  std::vector<uint8_t> piece(size_t{1} << 20);
  for (const TensorInfo& tensor : source.tensors()) {
    hash.add(tensor.name);
    hash.add(tensor.dtype);
    hash.add(tensor.packed);
    for (int i = 0; i < tensor.shape.rank; ++i) hash.add(tensor.shape[i]);
    for (size_t at = 0; at < tensor.size_bytes; at += piece.size()) {
      const size_t n = std::min(piece.size(), tensor.size_bytes - at);
      if (::pread(files.fds[tensor.file_index], piece.data(), n, static_cast<off_t>(tensor.offset_bytes + at)) != static_cast<ssize_t>(n))
        return io_error(fmt::format("{}: tensor {} cannot be read", paths[tensor.file_index], tensor.name));
      hash.bytes(piece.data(), n);
      done += n;
      if (progress) progress(done, all);
    }
  }
  return hash.value();
}

}  // namespace sluice
