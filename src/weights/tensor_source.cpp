#include "weights/tensor_source.h"

#include <cstring>
#include <filesystem>

#include "base/mapped_file.h"
#include "weights/gguf_file.h"
#include "weights/safetensors_file.h"

namespace sluice {

Result<std::shared_ptr<TensorSource>> open_tensor_source(const std::string& path) {
  if (is_directory(path)) return open_safetensors(path);
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored))
    return not_found(fmt::format("{}: there is no such file or directory; models are not downloaded: wanted is the path of a .gguf file, a "
                                 ".safetensors file or a Hugging Face directory", path));
  const std::string extension = std::filesystem::path(path).extension().string();
  if (extension == ".safetensors" || extension == ".json") return open_safetensors(path);
  SLUICE_TRY(auto file, MappedFile::open(path));
  uint32_t magic = 0;
  if (file->bytes().size() >= sizeof magic) std::memcpy(&magic, file->bytes().data(), sizeof magic);
  if (extension == ".gguf" || magic == kGgufMagic) return open_gguf(path);
  return unsupported(
      fmt::format("{}: no model that is read here: wanted is a .gguf file, a .safetensors file or a Hugging "
                  "Face directory; llama2.c .bin files go through `sluice convert` first",
                  path));
}

}  // namespace sluice
