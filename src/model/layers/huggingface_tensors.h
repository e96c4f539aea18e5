#pragma once
// A GGUF's tensors in the places that the family's Hugging Face files give them.

#include <memory>
#include <vector>

#include "model/layers/decoder_config.h"
#include "model/layers/tensor_table.h"
#include "weights/gguf_writer.h"

namespace sluice {

/// What belongs to no layer first, then layer by layer. F32, F16 and BF16 stay what they are; what is in blocks becomes `type`, and
/// what is made of several kinds of float becomes F32. Rope factors are left out: they are settings there.
Result<std::vector<GgufTensor>> huggingface_tensors(std::shared_ptr<TensorSource> source, const TensorTable& table,
                                                    const DecoderConfig& config, DType type);

/// The values of one of the table's vectors; empty where there is none of that key.
Result<std::vector<float>> table_vector(const TensorSource& source, const TensorTable& table, std::string_view key, int layer = -1);

}  // namespace sluice
