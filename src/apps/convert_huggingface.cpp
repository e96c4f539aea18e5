#include "apps/convert_huggingface.h"

#include <cstdio>
#include <filesystem>

#include "apps/matrix_types.h"
#include "apps/progress.h"
#include "base/machine.h"
#include "base/mapped_file.h"
#include "model/model.h"
#include "text/tokenizer/load_tokenizer.h"
#include "weights/gguf_file.h"
#include "weights/safetensors_writer.h"

namespace sluice {
namespace {

Result<DType> float_type(const std::string& name) {
  for (const DType type : {DType::bf16, DType::f16, DType::f32}) {
    const std::string known = type == DType::bf16 ? "bf16" : type == DType::f16 ? "f16" : "f32";
    if (name == known || (name.empty() && type == DType::bf16)) return type;
  }
  return invalid_argument(fmt::format("a Hugging Face directory is written in bf16, f16 or f32, not in {}", name), "--type");
}

}  // namespace

bool means_directory(const std::string& path) {
  if (path.ends_with('/') || is_directory(path)) return true;
  std::error_code none;
  if (std::filesystem::exists(path, none)) return false;
  // A model's name may have dots: "bge-small-en-v1.5", "Qwen2.5-0.5B".
  const std::string ending = std::filesystem::path(path).extension().string();
  return ending.size() < 2 || (ending[1] >= '0' && ending[1] <= '9');
}

Status convert_to_huggingface(const ToHuggingfaceFlags& flags) {
  SLUICE_TRY(const DType type, float_type(flags.type));
  if (flags.shard.bytes < 1) return invalid_argument("--max-shard-size must be at least 1 byte", "--max-shard-size");
  SLUICE_TRY(const std::shared_ptr<TensorSource> source, open_gguf(flags.input));
  SLUICE_TRY(HuggingfacePlan plan, plan_to_huggingface(source, type));
  SLUICE_TRY(const GgufVocab vocabulary, read_gguf_vocab(source->metadata()));
  auto tokenizer = write_huggingface_tokenizer(vocabulary);
  if (!tokenizer.ok()) return tokenizer.error().in(flags.input);
  plan.files.merge(*tokenizer);

  ThreadPool pool(usable_cores());
  size_t bytes = 0;
  {
    Progress progress("writing " + flags.output);
    SLUICE_TRY(bytes, write_huggingface(flags.output, plan, static_cast<uint64_t>(flags.shard.bytes), pool,
                                        [&](size_t done, size_t all, const std::string& tensor) {
                                          progress.update(static_cast<double>(done), static_cast<double>(all), tensor);
                                        }));
  }
  int decoded = 0;
  for (const TensorInfo& info : source->tensors()) decoded += dtype_info(info.dtype).block_elems > 1;
  const std::string note = decoded > 0 ? fmt::format("; {} quantized tensors were decoded to {}", decoded, dtype_name(type)) : "";
  std::fputs(fmt::format("wrote {}: {} tensors, {}; matrices: {}{}\n", flags.output, plan.tensors.size(),
                         format_bytes(static_cast<double>(bytes)), matrix_types(plan.tensors), note)
                 .c_str(),
             stderr);
  return {};
}

}  // namespace sluice
