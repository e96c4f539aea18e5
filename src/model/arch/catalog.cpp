// Every model family: a file of this folder defines <name>_arch(), one family or a few close ones.
#define SLUICE_MODEL_FAMILIES(family) \
  family(llama) \
  family(qwen2) \
  family(qwen2moe) \
  family(qwen3) \
  family(qwen3moe) \
  family(mistral) \
  family(ministral) \
  family(ministral3) \
  family(mixtral) \
  family(gemma) \
  family(gemma2) \
  family(gemma3) \
  family(gpt_oss) \
  family(deepseek) \
  family(phi2) \
  family(phi3) \
  family(glm) \
  family(glm4) \
  family(chatglm) \
  family(llama4) \
  family(olmo) \
  family(olmo2) \
  family(olmoe) \
  family(granite) \
  family(granitemoe) \
  family(smollm3) \
  family(starcoder2) \
  family(gpt2) \
  family(gpt_bigcode) \
  family(gptj) \
  family(codegen) \
  family(gpt_neox) \
  family(falcon) \
  family(opt) \
  family(bloom) \
  family(mpt) \
  family(baichuan) \
  family(minicpm) \
  family(minicpm3) \
  family(stablelm) \
  family(cohere) \
  family(cohere2) \
  family(exaone4) \
  family(nemotron) \
  family(mamba) \
  family(mamba2) \
  family(rwkv4) \
  family(rwkv5) \
  family(rwkv6) \
  family(rwkv7) \
  family(retnet) \
  family(linear_attention) \
  family(qwen3next) \
  family(jamba) \
  family(nemotron_h) \
  family(falcon_h1) \
  family(granitehybrid) \
  family(bamba) \
  family(bitnet) \
  family(relullama) \
  family(bitnet_b158) \
  family(bert) \
  family(roberta) \
  family(modernbert) \

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
