// Every model family: <name>.cpp in this folder defines <name>_arch().
#define SLUICE_MODEL_FAMILIES(family) \
  family(llama) \
  family(qwen2) \
  family(qwen3) \
  family(mistral) \

#include "model/model.h"

namespace sluice {

#define SLUICE_DECLARE(name) ModelArch name##_arch();
SLUICE_MODEL_FAMILIES(SLUICE_DECLARE)

std::span<const ModelArch> model_catalog() {
#define SLUICE_ENTRY(name) name##_arch(),
  static const ModelArch kAll[] = {SLUICE_MODEL_FAMILIES(SLUICE_ENTRY)};
  return kAll;
}

}  // namespace sluice
