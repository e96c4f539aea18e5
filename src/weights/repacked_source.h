#pragma once
// A model's matrices in another type than its file holds, encoded as they are loaded: `--repack`.
//
// What is served then are other weights than the file's, but for types that hold its values exactly (F32 from any float
// type, F16 and BF16 in F32). The types and which tensor takes which are those of `convert --type`.

#include <memory>

#include "base/thread_pool.h"
#include "weights/quant_recipe.h"
#include "weights/tensor_source.h"

namespace sluice {

/// `source` with its matrices in the recipe's types. A tensor is encoded by `pool` when it is first viewed, which takes one
/// thread at a time, and kept until it is released. unsupported: of a native pack, whose layout is fixed; of types that
/// have no codec; of a mixture, whose rules know GGUF's names, where the file has others.
Result<std::shared_ptr<TensorSource>> repack_source(std::shared_ptr<TensorSource> source, const QuantRecipe& recipe,
                                                    ThreadPool& pool);

}  // namespace sluice
