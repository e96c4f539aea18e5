// config.json as it is published: the keys of the time, those left out that have a default, those that say nothing of the computation.
// Only facts of the models stand here; what they have to be understood as stands below each.

#include "model/find_arch.h"
#include "model/layers/decoder_model.h"
#include "tests/support/memory_source.h"
#include "weights/hf_config.h"

namespace sluice::test {
namespace {

struct Published {
  const char* model;
  const char* config;
  const char* meaning;
};
void PrintTo(const Published& p, std::ostream* out) { *out << p.model; }

std::string rotation(const RopeConfig& rope, int head_dim) {
  const RopeSettings& s = rope.settings;
  std::string text = fmt::format("rope {}", s.theta);
  if (rope.rotary_dims() != head_dim) text += fmt::format(" of {}", rope.rotary_dims());
  if (s.type == "linear") text += fmt::format(", linear {}", s.factor);
  else if (s.type == "llama3") text += fmt::format(", llama3 {} of {}, {} to {}", s.factor, s.original_positions, s.low_freq, s.high_freq);
  else if (s.type == "yarn") text += fmt::format(", yarn {} of {}, x{:.4f}{}", s.factor, s.original_positions, rope.magnitude, s.truncate ? "" : ", not truncated");
  else if (s.type != "default") text += fmt::format(", {} of {}, x{:.4f}", s.type, s.original_positions, rope.magnitude);
  return text;
}

/// What a decoder is, in a line.
std::string meaning(const Decoder& decoder) {
  const DecoderConfig& d = decoder.config;
  const ModelInfo& info = d.info;
  std::string text = fmt::format("{}: {} x {}, {}/{} heads of {}, ffn {}, vocab {}, context {}, eps {}", info.arch, info.layers, info.hidden, info.heads,
                                 info.kv_heads, info.head_dim, info.ffn, info.vocab_size, info.max_positions, d.norm.eps);
  if (d.rope != nullptr) text += "; " + rotation(*d.rope, info.head_dim);
  if (d.local_rope != nullptr) text += "; in windows " + rotation(*d.local_rope, info.head_dim);
  int windows = 0, window = 0, mixtures = 0, experts = 0, taken = 0;
  for (const int w : d.windows) windows += w > 0, window = std::max(window, w);
  if (windows > 0) text += fmt::format("; {} windows of {}", windows, window);
  for (const DecoderLayer& layer : decoder.layers)
    if (layer.ffn != nullptr && layer.ffn->experts_per_row() > 0)
      ++mixtures, experts = static_cast<int>(layer.ffn->expert_rows().size()), taken = layer.ffn->experts_per_row();
  if (mixtures > 0) text += fmt::format("; {} of {} experts in {}", taken, experts, mixtures);
  text += d.head == Presence::absent ? "; tied" : d.head == Presence::required ? "; own head" : "";
  return text;
}

const Published kPublished[] = {
    {"Qwen3-0.6B", R"({"architectures": ["Qwen3ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0, "bos_token_id": 151643, "eos_token_id": 151645,
      "head_dim": 128, "hidden_act": "silu", "hidden_size": 1024, "initializer_range": 0.02, "intermediate_size": 3072, "max_position_embeddings": 40960,
      "max_window_layers": 28, "model_type": "qwen3", "num_attention_heads": 16, "num_hidden_layers": 28, "num_key_value_heads": 8, "rms_norm_eps": 1e-06,
      "rope_scaling": null, "rope_theta": 1000000, "sliding_window": null, "tie_word_embeddings": true, "torch_dtype": "bfloat16", "use_cache": true,
      "use_sliding_window": false, "vocab_size": 151936})",
     "qwen3: 28 x 1024, 16/8 heads of 128, ffn 3072, vocab 151936, context 40960, eps 1e-06; rope 1000000; tied"},
    {"Qwen3-8B with yarn, as its card says", R"({"architectures": ["Qwen3ForCausalLM"], "attention_bias": false, "head_dim": 128, "hidden_act": "silu",
      "hidden_size": 4096, "intermediate_size": 12288, "max_position_embeddings": 40960, "max_window_layers": 36, "num_attention_heads": 32,
      "num_hidden_layers": 36, "num_key_value_heads": 8, "rms_norm_eps": 1e-06, "rope_scaling": {"rope_type": "yarn", "factor": 4.0,
      "original_max_position_embeddings": 32768}, "rope_theta": 1000000, "sliding_window": null, "tie_word_embeddings": false, "use_sliding_window": false,
      "vocab_size": 151936})",
     "qwen3: 36 x 4096, 32/8 heads of 128, ffn 12288, vocab 151936, context 131072, eps 1e-06; rope 1000000, yarn 4 of 32768, x1.1386; own head"},
    {"Qwen3-30B-A3B", R"({"architectures": ["Qwen3MoeForCausalLM"], "attention_bias": false, "decoder_sparse_step": 1, "head_dim": 128, "hidden_act": "silu",
      "hidden_size": 2048, "intermediate_size": 6144, "max_position_embeddings": 40960, "max_window_layers": 48, "mlp_only_layers": [],
      "model_type": "qwen3_moe", "moe_intermediate_size": 768, "norm_topk_prob": true, "num_attention_heads": 32, "num_experts": 128,
      "num_experts_per_tok": 8, "num_hidden_layers": 48, "num_key_value_heads": 4, "output_router_logits": false, "rms_norm_eps": 1e-06,
      "rope_scaling": null, "rope_theta": 1000000.0, "router_aux_loss_coef": 0.001, "sliding_window": null, "tie_word_embeddings": false,
      "torch_dtype": "bfloat16", "use_sliding_window": false, "vocab_size": 151936})",
     "qwen3moe: 48 x 2048, 32/4 heads of 128, ffn 6144, vocab 151936, context 40960, eps 1e-06; rope 1000000; 8 of 128 experts in 48; own head"},
    {"Qwen2.5-7B", R"({"architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0, "hidden_act": "silu", "hidden_size": 3584, "intermediate_size": 18944,
      "max_position_embeddings": 131072, "max_window_layers": 28, "model_type": "qwen2", "num_attention_heads": 28, "num_hidden_layers": 28,
      "num_key_value_heads": 4, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "sliding_window": 131072, "tie_word_embeddings": false,
      "torch_dtype": "bfloat16", "use_mrope": false, "use_sliding_window": false, "vocab_size": 152064})",
     "qwen2: 28 x 3584, 28/4 heads of 128, ffn 18944, vocab 152064, context 131072, eps 1e-06; rope 1000000; own head"},
    {"Qwen1.5-MoE-A2.7B", R"({"architectures": ["Qwen2MoeForCausalLM"], "decoder_sparse_step": 1, "hidden_act": "silu", "hidden_size": 2048,
      "intermediate_size": 5632, "max_position_embeddings": 8192, "max_window_layers": 21, "model_type": "qwen2_moe", "moe_intermediate_size": 1408,
      "norm_topk_prob": false, "num_attention_heads": 16, "num_experts": 60, "num_experts_per_tok": 4, "num_hidden_layers": 24,
      "num_key_value_heads": 16, "output_router_logits": false, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "router_aux_loss_coef": 0.001,
      "shared_expert_intermediate_size": 5632, "sliding_window": 32768, "tie_word_embeddings": false, "use_sliding_window": false, "vocab_size": 151936})",
     "qwen2moe: 24 x 2048, 16/16 heads of 128, ffn 5632, vocab 151936, context 8192, eps 1e-06; rope 1000000; 4 of 60 experts in 24; own head"},
    {"Llama-3.1-8B", R"({"architectures": ["LlamaForCausalLM"], "attention_bias": false, "attention_dropout": 0.0, "bos_token_id": 128000,
      "eos_token_id": [128001, 128008, 128009], "hidden_act": "silu", "hidden_size": 4096, "initializer_range": 0.02, "intermediate_size": 14336,
      "max_position_embeddings": 131072, "mlp_bias": false, "model_type": "llama", "num_attention_heads": 32, "num_hidden_layers": 32,
      "num_key_value_heads": 8, "pretraining_tp": 1, "rms_norm_eps": 1e-05, "rope_scaling": {"factor": 8.0, "low_freq_factor": 1.0,
      "high_freq_factor": 4.0, "original_max_position_embeddings": 8192, "rope_type": "llama3"}, "rope_theta": 500000.0, "tie_word_embeddings": false,
      "torch_dtype": "bfloat16", "vocab_size": 128256})",
     "llama: 32 x 4096, 32/8 heads of 128, ffn 14336, vocab 128256, context 131072, eps 1e-05; rope 500000, llama3 8 of 8192, 1 to 4; own head"},
    {"Llama-2-7B", R"({"architectures": ["LlamaForCausalLM"], "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 4096,
      "initializer_range": 0.02, "intermediate_size": 11008, "max_position_embeddings": 4096, "model_type": "llama", "num_attention_heads": 32,
      "num_hidden_layers": 32, "num_key_value_heads": 32, "pretraining_tp": 1, "rms_norm_eps": 1e-05, "rope_scaling": null,
      "tie_word_embeddings": false, "torch_dtype": "float16", "use_cache": true, "vocab_size": 32000})",
     "llama: 32 x 4096, 32/32 heads of 128, ffn 11008, vocab 32000, context 4096, eps 1e-05; rope 10000; own head"},
    {"LLaMA 7B of 2023, which says little", R"({"architectures": ["LLaMAForCausalLM"], "bos_token_id": 0, "eos_token_id": 1, "hidden_act": "silu",
      "hidden_size": 4096, "intermediate_size": 11008, "initializer_range": 0.02, "max_sequence_length": 2048, "model_type": "llama",
      "num_attention_heads": 32, "num_hidden_layers": 32, "pad_token_id": -1, "rms_norm_eps": 1e-06, "torch_dtype": "float16", "vocab_size": 32000})",
     "llama: 32 x 4096, 32/32 heads of 128, ffn 11008, vocab 32000, context 2048, eps 1e-06; rope 10000"},
    {"longchat 7B 16k, with the older key of a type", R"({"architectures": ["LlamaForCausalLM"], "hidden_act": "silu", "hidden_size": 4096,
      "intermediate_size": 11008, "max_position_embeddings": 16384, "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 32,
      "rms_norm_eps": 1e-05, "rope_scaling": {"factor": 8.0, "type": "linear"}, "tie_word_embeddings": false, "vocab_size": 32000})",
     "llama: 32 x 4096, 32/32 heads of 128, ffn 11008, vocab 32000, context 16384, eps 1e-05; rope 10000, linear 8; own head"},
    {"Llama-4-Scout", R"({"architectures": ["Llama4ForConditionalGeneration"], "boi_token_index": 200080, "eoi_token_index": 200081,
      "image_token_index": 200092, "model_type": "llama4", "text_config": {"_attn_implementation_autoset": true, "attention_bias": false,
      "attention_chunk_size": 8192, "attention_dropout": 0.0, "attn_scale": 0.1, "attn_temperature_tuning": 4, "cache_implementation": "hybrid",
      "floor_scale": 8192, "for_llm_compressor": false, "head_dim": 128, "hidden_act": "silu", "hidden_size": 5120, "interleave_moe_layer_step": 1,
      "intermediate_size": 8192, "intermediate_size_mlp": 16384, "max_position_embeddings": 10485760, "model_type": "llama4_text",
      "no_rope_layers": [], "num_attention_heads": 40, "num_experts_per_tok": 1, "num_hidden_layers": 48, "num_key_value_heads": 8,
      "num_local_experts": 16, "output_router_logits": false, "rms_norm_eps": 1e-05, "rope_scaling": {"factor": 16.0, "high_freq_factor": 1.0,
      "low_freq_factor": 1.0, "original_max_position_embeddings": 8192, "rope_type": "llama3"}, "rope_theta": 500000.0,
      "router_aux_loss_coef": 0.001, "router_jitter_noise": 0.0, "use_qk_norm": true, "vocab_size": 202048}, "torch_dtype": "bfloat16",
      "vision_config": {"hidden_size": 1408, "image_size": 336, "intermediate_size": 5632, "num_attention_heads": 16, "num_hidden_layers": 34,
      "rope_theta": 10000}})",
     "llama4: 48 x 5120, 40/8 heads of 128, ffn 16384, vocab 202048, context 10485760, eps 1e-05; rope 500000, llama3 16 of 8192, 1 to 1; "
     "1 of 16 experts in 48"},
    {"gemma-2-9b", R"({"architectures": ["Gemma2ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0, "attn_logit_softcapping": 50.0,
      "cache_implementation": "hybrid", "final_logit_softcapping": 30.0, "head_dim": 256, "hidden_act": "gelu_pytorch_tanh",
      "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 3584, "intermediate_size": 14336, "max_position_embeddings": 8192,
      "model_type": "gemma2", "num_attention_heads": 16, "num_hidden_layers": 42, "num_key_value_heads": 8, "query_pre_attn_scalar": 256,
      "rms_norm_eps": 1e-06, "rope_theta": 10000.0, "sliding_window": 4096, "sliding_window_size": 4096, "torch_dtype": "float32", "vocab_size": 256000})",
     "gemma2: 42 x 3584, 16/8 heads of 256, ffn 14336, vocab 256000, context 8192, eps 1e-06; rope 10000; 21 windows of 4096; tied"},
    {"gemma-3-1b-it", R"({"architectures": ["Gemma3ForCausalLM"], "attention_bias": false, "attn_logit_softcapping": null, "cache_implementation": "hybrid",
      "eos_token_id": [1, 106], "final_logit_softcapping": null, "head_dim": 256, "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 1152,
      "intermediate_size": 6912, "max_position_embeddings": 32768, "model_type": "gemma3_text", "num_attention_heads": 4, "num_hidden_layers": 26,
      "num_key_value_heads": 1, "query_pre_attn_scalar": 256, "rms_norm_eps": 1e-06, "rope_local_base_freq": 10000, "rope_scaling": null,
      "rope_theta": 1000000, "sliding_window": 512, "sliding_window_pattern": 6, "torch_dtype": "bfloat16", "vocab_size": 262144})",
     "gemma3: 26 x 1152, 4/1 heads of 256, ffn 6912, vocab 262144, context 32768, eps 1e-06; rope 1000000; in windows rope 10000; "
     "22 windows of 512; tied"},
    {"gemma-3-4b-it, which leaves most out", R"({"architectures": ["Gemma3ForConditionalGeneration"], "boi_token_index": 255999, "eoi_token_index": 256000,
      "image_token_index": 262144, "mm_tokens_per_image": 256, "model_type": "gemma3", "text_config": {"hidden_size": 2560, "intermediate_size": 10240,
      "model_type": "gemma3_text", "num_hidden_layers": 34, "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024},
      "torch_dtype": "bfloat16", "vision_config": {"hidden_size": 1152, "image_size": 896, "intermediate_size": 4304, "num_attention_heads": 16,
      "num_hidden_layers": 27, "patch_size": 14, "vision_use_head": false}})",
     "gemma3: 34 x 2560, 8/4 heads of 256, ffn 10240, vocab 262208, context 131072, eps 1e-06; rope 1000000, linear 8; in windows rope 10000; "
     "29 windows of 1024; tied"},
    {"gpt-oss-20b", R"({"architectures": ["GptOssForCausalLM"], "attention_bias": true, "attention_dropout": 0.0, "experts_per_token": 4, "head_dim": 64,
      "hidden_act": "silu", "hidden_size": 2880, "initial_context_length": 4096, "intermediate_size": 2880, "max_position_embeddings": 131072,
      "model_type": "gpt_oss", "num_attention_heads": 64, "num_experts_per_tok": 4, "num_hidden_layers": 24, "num_key_value_heads": 8,
      "num_local_experts": 32, "output_router_logits": false, "rms_norm_eps": 1e-05, "rope_scaling": {"beta_fast": 32.0, "beta_slow": 1.0,
      "factor": 32.0, "original_max_position_embeddings": 4096, "rope_type": "yarn", "truncate": false}, "rope_theta": 150000,
      "router_aux_loss_coef": 0.9, "sliding_window": 128, "swiglu_limit": 7.0, "tie_word_embeddings": false, "vocab_size": 201088})",
     "gpt-oss: 24 x 2880, 64/8 heads of 64, ffn 2880, vocab 201088, context 131072, eps 1e-05; rope 150000, yarn 32 of 4096, x1.3466, not truncated; "
     "12 windows of 128; 4 of 32 experts in 24; own head"},
    {"DeepSeek-V2-Lite", R"({"architectures": ["DeepseekV2ForCausalLM"], "attention_bias": false, "aux_loss_alpha": 0.001, "first_k_dense_replace": 1,
      "hidden_act": "silu", "hidden_size": 2048, "intermediate_size": 10944, "kv_lora_rank": 512, "max_position_embeddings": 163840,
      "model_type": "deepseek_v2", "moe_intermediate_size": 1408, "moe_layer_freq": 1, "n_group": 1, "n_routed_experts": 64, "n_shared_experts": 2,
      "norm_topk_prob": false, "num_attention_heads": 16, "num_experts_per_tok": 6, "num_hidden_layers": 27, "num_key_value_heads": 16,
      "pretraining_tp": 1, "q_lora_rank": null, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "rms_norm_eps": 1e-06, "rope_scaling": {"beta_fast": 32,
      "beta_slow": 1, "factor": 40, "mscale": 0.707, "mscale_all_dim": 0.707, "original_max_position_embeddings": 4096, "type": "yarn"},
      "rope_theta": 10000, "routed_scaling_factor": 1.0, "scoring_func": "softmax", "seq_aux": true, "tie_word_embeddings": false, "topk_group": 1,
      "topk_method": "greedy", "v_head_dim": 128, "vocab_size": 102400})",
     "deepseek2: 27 x 2048, 16/1 heads of 576, ffn 10944, vocab 102400, context 163840, eps 1e-06; rope 10000 of 64, yarn 40 of 4096, x1.0000; "
     "6 of 64 experts in 26; own head"},
    {"DeepSeek-V3", R"({"architectures": ["DeepseekV3ForCausalLM"], "attention_bias": false, "ep_size": 1, "first_k_dense_replace": 3, "hidden_act": "silu",
      "hidden_size": 7168, "intermediate_size": 18432, "kv_lora_rank": 512, "max_position_embeddings": 163840, "model_type": "deepseek_v3",
      "moe_intermediate_size": 2048, "moe_layer_freq": 1, "n_group": 8, "n_routed_experts": 256, "n_shared_experts": 1, "norm_topk_prob": true,
      "num_attention_heads": 128, "num_experts_per_tok": 8, "num_hidden_layers": 61, "num_key_value_heads": 128, "num_nextn_predict_layers": 1,
      "q_lora_rank": 1536, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "rms_norm_eps": 1e-06, "rope_scaling": {"beta_fast": 32, "beta_slow": 1,
      "factor": 40, "mscale": 1.0, "mscale_all_dim": 1.0, "original_max_position_embeddings": 4096, "type": "yarn"}, "rope_theta": 10000,
      "routed_scaling_factor": 2.5, "scoring_func": "sigmoid", "tie_word_embeddings": false, "topk_group": 4, "topk_method": "noaux_tc",
      "v_head_dim": 128, "vocab_size": 129280})",
     "deepseek2: 61 x 7168, 128/1 heads of 576, ffn 18432, vocab 129280, context 163840, eps 1e-06; rope 10000 of 64, yarn 40 of 4096, x1.0000; "
     "8 of 256 experts in 58; own head"},
    {"Mistral-7B-v0.1", R"({"architectures": ["MistralForCausalLM"], "hidden_act": "silu", "hidden_size": 4096, "intermediate_size": 14336,
      "max_position_embeddings": 32768, "model_type": "mistral", "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8,
      "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "sliding_window": 4096, "tie_word_embeddings": false, "vocab_size": 32000})",
     "mistral: 32 x 4096, 32/8 heads of 128, ffn 14336, vocab 32000, context 32768, eps 1e-05; rope 10000; 32 windows of 4096; own head"},
    {"Mistral-Nemo, whose heads are smaller than the width", R"({"architectures": ["MistralForCausalLM"], "attention_dropout": 0.0, "head_dim": 128,
      "hidden_act": "silu", "hidden_size": 5120, "intermediate_size": 14336, "max_position_embeddings": 1024000, "num_attention_heads": 32,
      "num_hidden_layers": 40, "num_key_value_heads": 8, "rms_norm_eps": 1e-05, "rope_theta": 1000000.0, "sliding_window": null,
      "tie_word_embeddings": false, "vocab_size": 131072})",
     "mistral: 40 x 5120, 32/8 heads of 128, ffn 14336, vocab 131072, context 1024000, eps 1e-05; rope 1000000; own head"},
    {"Mixtral-8x7B", R"({"architectures": ["MixtralForCausalLM"], "attention_dropout": 0.0, "hidden_act": "silu", "hidden_size": 4096,
      "intermediate_size": 14336, "max_position_embeddings": 32768, "model_type": "mixtral", "num_attention_heads": 32, "num_experts_per_tok": 2,
      "num_hidden_layers": 32, "num_key_value_heads": 8, "num_local_experts": 8, "output_router_logits": false, "rms_norm_eps": 1e-05,
      "rope_theta": 1000000.0, "router_aux_loss_coef": 0.02, "sliding_window": null, "tie_word_embeddings": false, "vocab_size": 32000})",
     "mixtral: 32 x 4096, 32/8 heads of 128, ffn 14336, vocab 32000, context 32768, eps 1e-05; rope 1000000; 2 of 8 experts in 32; own head"},
    {"Phi-3-mini-4k", R"({"architectures": ["Phi3ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0, "embd_pdrop": 0.0, "hidden_act": "silu",
      "hidden_size": 3072, "intermediate_size": 8192, "max_position_embeddings": 4096, "model_type": "phi3", "num_attention_heads": 32,
      "num_hidden_layers": 32, "num_key_value_heads": 32, "original_max_position_embeddings": 4096, "resid_pdrop": 0.0, "rms_norm_eps": 1e-05,
      "rope_scaling": null, "rope_theta": 10000.0, "sliding_window": 2047, "tie_word_embeddings": false, "vocab_size": 32064})",
     "phi3: 32 x 3072, 32/32 heads of 96, ffn 8192, vocab 32064, context 4096, eps 1e-05; rope 10000; 32 windows of 2047; own head"},
    {"Phi-4", R"({"architectures": ["Phi3ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0, "embd_pdrop": 0.0, "hidden_act": "silu",
      "hidden_size": 5120, "intermediate_size": 17920, "max_position_embeddings": 16384, "model_type": "phi3", "num_attention_heads": 40,
      "num_hidden_layers": 40, "num_key_value_heads": 10, "original_max_position_embeddings": 16384, "resid_pdrop": 0.0, "rms_norm_eps": 1e-05,
      "rope_scaling": null, "rope_theta": 250000, "sliding_window": null, "tie_word_embeddings": false, "vocab_size": 100352})",
     "phi3: 40 x 5120, 40/10 heads of 128, ffn 17920, vocab 100352, context 16384, eps 1e-05; rope 250000; own head"},
    {"a Phi-4-mini with shorter lists", R"({"architectures": ["Phi3ForCausalLM"], "attention_bias": false, "embd_pdrop": 0.0, "full_attn_mod": 1, "hidden_act": "silu",
      "hidden_size": 192, "interpolate_factor": 1, "intermediate_size": 8192, "lm_head_bias": false, "max_position_embeddings": 131072,
      "mlp_bias": false, "model_type": "phi3", "num_attention_heads": 24, "num_hidden_layers": 32, "num_key_value_heads": 8,
      "original_max_position_embeddings": 4096, "partial_rotary_factor": 0.75, "resid_pdrop": 0.0, "rms_norm_eps": 1e-05, "rope_scaling":
      {"long_factor": [1, 1.118320672, 1.250641126], "short_factor": [1.0, 1.0, 1.0], "type": "longrope"}, "rope_theta": 10000.0,
      "sliding_window": 262144, "tie_word_embeddings": true, "vocab_size": 200064})",
     "phi3: 32 x 192, 24/8 heads of 8, ffn 8192, vocab 200064, context 131072, eps 1e-05; rope 10000 of 6, longrope of 4096, x1.1902; "
     "32 windows of 262144; tied"},
    {"GLM-4-9B-0414", R"({"architectures": ["Glm4ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0, "head_dim": 128, "hidden_act": "silu",
      "hidden_size": 4096, "intermediate_size": 13696, "max_position_embeddings": 32768, "model_type": "glm4", "num_attention_heads": 32,
      "num_hidden_layers": 40, "num_key_value_heads": 2, "partial_rotary_factor": 0.5, "rms_norm_eps": 1e-05, "rope_theta": 10000.0,
      "tie_word_embeddings": false, "vocab_size": 151552})",
     "glm4: 40 x 4096, 32/2 heads of 128, ffn 13696, vocab 151552, context 32768, eps 1e-05; rope 10000 of 64; own head"},
    {"glm-4-9b-chat, the authors' own form", R"({"_name_or_path": "THUDM/glm-4-9b-chat", "add_bias_linear": false, "add_qkv_bias": true,
      "apply_query_key_layer_scaling": true, "apply_residual_connection_post_layernorm": false, "architectures": ["ChatGLMModel"],
      "attention_dropout": 0.0, "attention_softmax_in_fp32": true, "bias_dropout_fusion": true, "ffn_hidden_size": 13696, "fp32_residual_connection": false,
      "hidden_dropout": 0.0, "hidden_size": 4096, "kv_channels": 128, "layernorm_epsilon": 1.5625e-07, "model_type": "chatglm",
      "multi_query_attention": true, "multi_query_group_num": 2, "num_attention_heads": 32, "num_layers": 40, "original_rope": true,
      "padded_vocab_size": 151552, "post_layer_norm": true, "rmsnorm": true, "rope_ratio": 500, "seq_length": 131072, "tie_word_embeddings": false,
      "torch_dtype": "bfloat16", "use_cache": true})",
     "chatglm: 40 x 4096, 32/2 heads of 128, ffn 13696, vocab 151552, context 131072, eps 1.5625e-07; rope 5000000 of 64; own head"},
    {"granite-3.1-8b", R"({"architectures": ["GraniteForCausalLM"], "attention_bias": false, "attention_dropout": 0.1, "attention_multiplier": 0.0078125,
      "embedding_multiplier": 12.0, "hidden_act": "silu", "hidden_size": 4096, "intermediate_size": 12800, "logits_scaling": 16.0,
      "max_position_embeddings": 131072, "mlp_bias": false, "model_type": "granite", "num_attention_heads": 32, "num_hidden_layers": 40,
      "num_key_value_heads": 8, "residual_multiplier": 0.22, "rms_norm_eps": 1e-05, "rope_scaling": null, "rope_theta": 10000000.0,
      "tie_word_embeddings": true, "vocab_size": 49155})",
     "granite: 40 x 4096, 32/8 heads of 128, ffn 12800, vocab 49155, context 131072, eps 1e-05; rope 10000000; tied"},
    {"OLMo-2-1124-7B", R"({"architectures": ["Olmo2ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0, "hidden_act": "silu", "hidden_size": 4096,
      "intermediate_size": 11008, "max_position_embeddings": 4096, "model_type": "olmo2", "num_attention_heads": 32, "num_hidden_layers": 32,
      "num_key_value_heads": 32, "rms_norm_eps": 1e-06, "rope_scaling": null, "rope_theta": 500000, "tie_word_embeddings": false, "vocab_size": 100352})",
     "olmo2: 32 x 4096, 32/32 heads of 128, ffn 11008, vocab 100352, context 4096, eps 1e-06; rope 500000; own head"},
    {"Olmo-3-7B", R"({"architectures": ["Olmo3ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0, "hidden_act": "silu", "hidden_size": 4096,
      "intermediate_size": 11008, "max_position_embeddings": 65536, "model_type": "olmo3", "num_attention_heads": 32, "num_hidden_layers": 32,
      "num_key_value_heads": 32, "rms_norm_eps": 1e-06, "rope_scaling": {"attention_factor": 1.2079441541679836, "beta_fast": 32, "beta_slow": 1,
      "factor": 8.0, "original_max_position_embeddings": 8192, "rope_type": "yarn"}, "rope_theta": 500000, "sliding_window": 4096,
      "tie_word_embeddings": false, "vocab_size": 100278})",
     "olmo2: 32 x 4096, 32/32 heads of 128, ffn 11008, vocab 100278, context 65536, eps 1e-06; rope 500000, yarn 8 of 8192, x1.2079; "
     "in windows rope 500000; 24 windows of 4096; own head"},
    {"OLMoE-1B-7B", R"({"architectures": ["OlmoeForCausalLM"], "attention_bias": false, "clip_qkv": null, "hidden_act": "silu", "hidden_size": 2048,
      "intermediate_size": 1024, "max_position_embeddings": 4096, "model_type": "olmoe", "norm_topk_prob": false, "num_attention_heads": 16,
      "num_experts": 64, "num_experts_per_tok": 8, "num_hidden_layers": 16, "num_key_value_heads": 16, "output_router_logits": false,
      "rms_norm_eps": 1e-05, "rope_scaling": null, "rope_theta": 10000.0, "router_aux_loss_coef": 0.01, "tie_word_embeddings": false, "vocab_size": 50304})",
     "olmoe: 16 x 2048, 16/16 heads of 128, ffn 1024, vocab 50304, context 4096, eps 1e-05; rope 10000; 8 of 64 experts in 16; own head"},
    {"SmolLM3-3B", R"({"architectures": ["SmolLM3ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0, "hidden_act": "silu", "hidden_size": 2048,
      "intermediate_size": 11008, "max_position_embeddings": 65536, "max_window_layers": 28, "mlp_bias": false, "model_type": "smollm3",
      "no_rope_layer_interval": 4, "no_rope_layers": [1, 1, 1, 0, 1, 1, 1, 0, 1, 1, 1, 0, 1, 1, 1, 0, 1, 1, 1, 0, 1, 1, 1, 0, 1, 1, 1, 0, 1, 1, 1, 0, 1, 1, 1, 0],
      "num_attention_heads": 16, "num_hidden_layers": 36, "num_key_value_heads": 4, "pretraining_tp": 2, "rms_norm_eps": 1e-06, "rope_scaling": null,
      "rope_theta": 5000000.0, "sliding_window": null, "use_sliding_window": false, "vocab_size": 128256})",
     "smollm3: 36 x 2048, 16/4 heads of 128, ffn 11008, vocab 128256, context 65536, eps 1e-06; rope 5000000"},
    {"falcon-7b", R"({"alibi": false, "apply_residual_connection_post_layernorm": false, "architectures": ["FalconForCausalLM"], "attention_dropout": 0.0,
      "bias": false, "bos_token_id": 11, "eos_token_id": 11, "hidden_dropout": 0.0, "hidden_size": 4544, "initializer_range": 0.02,
      "layer_norm_epsilon": 1e-05, "model_type": "falcon", "multi_query": true, "new_decoder_architecture": false, "num_attention_heads": 71,
      "num_hidden_layers": 32, "parallel_attn": true, "torch_dtype": "bfloat16", "vocab_size": 65024})",
     "falcon: 32 x 4544, 71/1 heads of 64, ffn 18176, vocab 65024, context 2048, eps 1e-05; rope 10000; tied"},
    {"falcon-40b", R"({"alibi": false, "apply_residual_connection_post_layernorm": false, "architectures": ["FalconForCausalLM"], "bias": false,
      "hidden_size": 8192, "layer_norm_epsilon": 1e-05, "model_type": "falcon", "new_decoder_architecture": true, "num_attention_heads": 128,
      "num_hidden_layers": 60, "num_kv_heads": 8, "parallel_attn": true, "vocab_size": 65024})",
     "falcon: 60 x 8192, 128/8 heads of 64, ffn 32768, vocab 65024, context 2048, eps 1e-05; rope 10000; tied"},
    {"falcon-rw-1b", R"({"alibi": true, "apply_residual_connection_post_layernorm": false, "architectures": ["FalconForCausalLM"], "bias": true,
      "hidden_size": 2048, "layer_norm_epsilon": 1e-05, "model_type": "falcon", "multi_query": false, "new_decoder_architecture": false,
      "num_attention_heads": 32, "num_hidden_layers": 24, "parallel_attn": false, "vocab_size": 50304})",
     "falcon: 24 x 2048, 32/32 heads of 64, ffn 8192, vocab 50304, context 2048, eps 1e-05; tied"},
    {"stablelm-3b-4e1t", R"({"architectures": ["StableLMEpochForCausalLM"], "bos_token_id": 0, "eos_token_id": 0, "hidden_act": "silu", "hidden_size": 2560,
      "initializer_range": 0.02, "intermediate_size": 6912, "max_position_embeddings": 4096, "model_type": "stablelm_epoch", "norm_eps": 1e-05,
      "num_attention_heads": 32, "num_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 32, "rope_pct": 0.25, "rope_theta": 10000,
      "rotary_scaling_factor": 1.0, "tie_word_embeddings": false, "torch_dtype": "bfloat16", "use_cache": true, "vocab_size": 50304})",
     "stablelm: 32 x 2560, 32/32 heads of 80, ffn 6912, vocab 50304, context 4096, eps 1e-05; rope 10000 of 20; own head"},
    {"c4ai-command-r-v01", R"({"architectures": ["CohereForCausalLM"], "attention_bias": false, "attention_dropout": 0.0, "hidden_act": "silu",
      "hidden_size": 8192, "intermediate_size": 22528, "layer_norm_eps": 1e-05, "logit_scale": 0.0625, "max_position_embeddings": 8192,
      "model_max_length": 131072, "model_type": "cohere", "num_attention_heads": 64, "num_hidden_layers": 40, "num_key_value_heads": 64,
      "pretraining_tp": 1, "rope_theta": 8000000.0, "use_cache": true, "vocab_size": 256000})",
     "cohere: 40 x 8192, 64/64 heads of 128, ffn 22528, vocab 256000, context 131072, eps 1e-05; rope 8000000; tied"},
    {"c4ai-command-r7b", R"({"architectures": ["Cohere2ForCausalLM"], "attention_bias": false, "cache_implementation": "hybrid", "head_dim": 128,
      "hidden_act": "silu", "hidden_size": 4096, "intermediate_size": 14336, "layer_norm_eps": 1e-05, "layer_switch": 4, "logit_scale": 0.25,
      "max_position_embeddings": 8192, "model_type": "cohere2", "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8,
      "order_of_interleaved_layers": "local_attn_first", "position_embedding_type": "rope_gptj", "rope_scaling": null, "rope_theta": 50000,
      "rotary_pct": 1.0, "sliding_window": 4096, "sliding_window_pattern": 4, "use_embedding_sharing": true, "use_gated_activation": true,
      "use_parallel_block": true, "use_parallel_embedding": false, "vocab_size": 256000})",
     "cohere2: 32 x 4096, 32/8 heads of 128, ffn 14336, vocab 256000, context 8192, eps 1e-05; rope 50000; 24 windows of 4096; tied"},
    {"EXAONE-4.0-32B", R"({"architectures": ["Exaone4ForCausalLM"], "attention_dropout": 0.0, "head_dim": 128, "hidden_act": "silu", "hidden_size": 5120,
      "intermediate_size": 27392, "max_position_embeddings": 131072, "model_type": "exaone4", "num_attention_heads": 40, "num_hidden_layers": 64,
      "num_key_value_heads": 8, "rms_norm_eps": 1e-05, "rope_scaling": {"factor": 16.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
      "original_max_position_embeddings": 8192, "rope_type": "llama3"}, "rope_theta": 1000000, "sliding_window": 4096,
      "sliding_window_pattern": "LLLG", "tie_word_embeddings": false, "vocab_size": 102400})",
     "exaone4: 64 x 5120, 40/8 heads of 128, ffn 27392, vocab 102400, context 131072, eps 1e-05; rope 1000000, llama3 16 of 8192, 1 to 4; "
     "48 windows of 4096; own head"},
    {"EXAONE-4.0-1.2B", R"({"architectures": ["Exaone4ForCausalLM"], "head_dim": 64, "hidden_act": "silu", "hidden_size": 2048, "intermediate_size": 4096,
      "max_position_embeddings": 65536, "model_type": "exaone4", "num_attention_heads": 32, "num_hidden_layers": 30, "num_key_value_heads": 8,
      "rms_norm_eps": 1e-05, "rope_scaling": {"factor": 16.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
      "original_max_position_embeddings": 8192, "rope_type": "llama3"}, "rope_theta": 1000000, "sliding_window": null,
      "sliding_window_pattern": null, "tie_word_embeddings": true, "vocab_size": 102400})",
     "exaone4: 30 x 2048, 32/8 heads of 64, ffn 4096, vocab 102400, context 65536, eps 1e-05; rope 1000000, llama3 16 of 8192, 1 to 4; tied"},
    {"starcoder2-3b, which names two activations", R"({"activation_function": "gelu", "architectures": ["Starcoder2ForCausalLM"], "attention_dropout": 0.1,
      "attention_softmax_in_fp32": true, "embedding_dropout": 0.1, "hidden_act": "gelu_pytorch_tanh", "hidden_size": 3072, "intermediate_size": 12288,
      "layer_norm_epsilon": 1e-05, "max_position_embeddings": 16384, "mlp_type": "default", "model_type": "starcoder2", "norm_epsilon": 1e-05,
      "norm_type": "layer_norm", "num_attention_heads": 24, "num_hidden_layers": 30, "num_key_value_heads": 2, "residual_dropout": 0.1,
      "rope_theta": 999999.4420358813, "scale_attention_softmax_in_fp32": true, "scale_attn_weights": true, "sliding_window": 4096,
      "use_bias": true, "vocab_size": 49152})",
     "starcoder2: 30 x 3072, 24/2 heads of 128, ffn 12288, vocab 49152, context 16384, eps 1e-05; rope 999999.4420358813; 30 windows of 4096; tied"},
    {"gpt2", R"({"activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"], "attn_pdrop": 0.1, "bos_token_id": 50256, "embd_pdrop": 0.1,
      "eos_token_id": 50256, "initializer_range": 0.02, "layer_norm_epsilon": 1e-05, "model_type": "gpt2", "n_ctx": 1024, "n_embd": 768, "n_head": 12,
      "n_layer": 12, "n_positions": 1024, "resid_pdrop": 0.1, "summary_activation": null, "summary_first_dropout": 0.1, "summary_type": "cls_index",
      "task_specific_params": {"text-generation": {"do_sample": true, "max_length": 50}}, "vocab_size": 50257})",
     "gpt2: 12 x 768, 12/12 heads of 64, ffn 3072, vocab 50257, context 1024, eps 1e-05; tied"},
    {"pythia-70m", R"({"architectures": ["GPTNeoXForCausalLM"], "hidden_act": "gelu", "hidden_size": 512, "initializer_range": 0.02,
      "intermediate_size": 2048, "layer_norm_eps": 1e-05, "max_position_embeddings": 2048, "model_type": "gpt_neox", "num_attention_heads": 8,
      "num_hidden_layers": 6, "rotary_emb_base": 10000, "rotary_pct": 0.25, "tie_word_embeddings": false, "torch_dtype": "float16",
      "use_cache": true, "use_parallel_residual": true, "vocab_size": 50304})",
     "gptneox: 6 x 512, 8/8 heads of 64, ffn 2048, vocab 50304, context 2048, eps 1e-05; rope 10000 of 16; own head"},
    {"MiniCPM-2B", R"({"architectures": ["MiniCPMForCausalLM"], "dim_model_base": 256, "hidden_act": "silu", "hidden_size": 2304,
      "initializer_range": 0.1, "intermediate_size": 5760, "max_position_embeddings": 4096, "num_attention_heads": 36, "num_hidden_layers": 40,
      "num_key_value_heads": 36, "rms_norm_eps": 1e-05, "rope_scaling": null, "scale_depth": 1.4, "scale_emb": 12, "torch_dtype": "bfloat16",
      "vocab_size": 122753})",
     "minicpm: 40 x 2304, 36/36 heads of 64, ffn 5760, vocab 122753, context 4096, eps 1e-05; rope 10000; tied"},
    {"a MiniCPM4.1 with shorter lists", R"({"architectures": ["MiniCPMForCausalLM"], "attention_bias": false, "dim_model_base": 256, "hidden_act": "silu",
      "hidden_size": 256, "intermediate_size": 16384, "max_position_embeddings": 65536, "model_type": "minicpm", "num_attention_heads": 32,
      "num_hidden_layers": 32, "num_key_value_heads": 2, "rms_norm_eps": 1e-06, "rope_scaling": {"rope_type": "longrope",
      "long_factor": [0.99, 1.01, 1.03, 1.05], "short_factor": [0.99, 1.01, 1.03, 1.05], "original_max_position_embeddings": 65536},
      "scale_depth": 1.4, "scale_emb": 12, "sparse_config": {"kernel_size": 32, "kernel_stride": 16, "init_blocks": 1, "block_size": 64,
      "window_size": 2048, "topk": 64, "use_nope": false, "dense_len": 8192}, "tie_word_embeddings": false, "vocab_size": 73448})",
     "minicpm: 32 x 256, 32/2 heads of 8, ffn 16384, vocab 73448, context 8192, eps 1e-06; rope 10000, longrope of 65536, x1.0000; own head"},
    {"bitnet-b1.58-2B-4T", R"({"architectures": ["BitNetForCausalLM"], "hidden_act": "relu2", "hidden_size": 2560, "initializer_range": 0.02,
      "intermediate_size": 6912, "max_position_embeddings": 4096, "model_type": "bitnet", "num_attention_heads": 20, "num_hidden_layers": 30,
      "num_key_value_heads": 5, "rms_norm_eps": 1e-05, "rope_theta": 500000.0, "tie_word_embeddings": true, "torch_dtype": "bfloat16", "vocab_size": 128256})",
     "bitnet: 30 x 2560, 20/5 heads of 128, ffn 6912, vocab 128256, context 4096, eps 1e-05; rope 500000; tied"},
    {"phi-2", R"({"architectures": ["PhiForCausalLM"], "attention_dropout": 0.0, "embd_pdrop": 0.0, "hidden_act": "gelu_new", "hidden_size": 2560,
      "intermediate_size": 10240, "layer_norm_eps": 1e-05, "max_position_embeddings": 2048, "model_type": "phi", "num_attention_heads": 32,
      "num_hidden_layers": 32, "num_key_value_heads": 32, "partial_rotary_factor": 0.4, "qk_layernorm": false, "resid_pdrop": 0.1,
      "rope_scaling": null, "rope_theta": 10000.0, "tie_word_embeddings": false, "vocab_size": 51200})",
     "phi2: 32 x 2560, 32/32 heads of 80, ffn 10240, vocab 51200, context 2048, eps 1e-05; rope 10000 of 32; own head"},
};

class PublishedConfigTest : public testing::TestWithParam<Published> {};

TEST_P(PublishedConfigTest, MeansThisModel) {
  auto metadata = parse_config(GetParam().config, "config.json");
  ASSERT_TRUE(metadata.ok()) << metadata.error().message;
  const MemorySource source(std::move(metadata).value());
  const auto arch = find_arch(source.metadata());
  ASSERT_TRUE(arch.ok()) << arch.error().message;
  const auto decoder = (*arch)->describe(source);
  ASSERT_TRUE(decoder.ok()) << decoder.error().message;
  EXPECT_EQ(meaning(*decoder), GetParam().meaning);
}

INSTANTIATE_TEST_SUITE_P(All, PublishedConfigTest, testing::ValuesIn(kPublished), [](const auto& info) {
  std::string name;
  for (const char c : std::string(info.param.model)) name += std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
  return name;
});

}  // namespace
}  // namespace sluice::test
