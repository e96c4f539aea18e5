#include "serve/openai/api_request.h"

#include <charconv>
#include <limits>
#include <nlohmann/json.hpp>

namespace sluice {

namespace {

struct Unhonoured {
  const char *name, *neutral, *why;
};
constexpr char kNoConstraint[] = "constrained output is not built";
// Known to OpenAI's or vLLM's clients, changing the answer, and not honoured here.
constexpr Unhonoured kUnhonoured[] = {
    {"early_stopping", "[false]", "a beam search ends when its best beam is no better than what has finished"},
    {"spaces_between_special_tokens", "[true]", "special tokens are always set apart as the tokenizer does"},
    {"truncate_prompt_tokens", "[]", "prompts are not truncated"},
    {"allowed_token_ids", "[]", kNoConstraint},
    {"bad_words", "[[]]", "it is not built"},
    {"prompt_logprobs", "[false]", "it is not built"},
    {"guided_json", "[]", kNoConstraint},
    {"guided_regex", "[]", kNoConstraint},
    {"guided_choice", "[]", kNoConstraint},
    {"guided_grammar", "[]", kNoConstraint},
    {"guided_decoding_backend", "[]", kNoConstraint},
    {"guided_whitespace_pattern", "[]", kNoConstraint},
    {"structural_tag", "[]", kNoConstraint},
    {"structured_outputs", "[]", kNoConstraint},
    {"logits_processors", "[[]]", "it is not built"},
    {"return_tokens_as_token_ids", "[false]", "it is not built"},
    {"return_token_ids", "[false]", "it is not built"},
    {"prompt_embeds", "[]", "it is not built"},
    {"kv_transfer_params", "[]", "it is not built"},
    {"vllm_xargs", "[{}]", "it is not built"},
    {"repetition_detection", "[]", "it is not built"},
    {"min_length", "[0]", "its name here is min_tokens"},
    {"typical_p", "[1]", "it is not built"},
    {"mirostat", "[0]", "it is not built"},
    {"grammar", "[\"\"]", kNoConstraint},
    {"json_schema", "[]", kNoConstraint},
};
// Known, and without effect on the answer.
constexpr const char* kNoEffect[] = {
    "metadata", "store", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "prediction"};

void read_response_format(FieldReader& in, GenerationFields& out) {
  const Json* format = in.object("response_format", "an object such as {\"type\": \"text\"}");
  if (format == nullptr) return;
  FieldReader inner(*format, "response_format.");
  std::string type;
  inner.string("type", type);
  if (inner.failed()) return in.fail(inner.error());
  if (type != "text")
    in.fail(unsupported(
        fmt::format("response_format.type is {}, but constrained output is not built; leave it out or set it "
                    "to \"text\"",
                    describe_json(Json(type))),
        "response_format"));
  for (std::string& name : inner.unknown()) out.warnings.push_back(std::move(name));
}

void read_stream(FieldReader& in, GenerationFields& out) {
  in.boolean("stream", out.stream);
  const Json* options = in.object("stream_options", "an object such as {\"include_usage\": true}");
  if (options == nullptr) return;
  FieldReader inner(*options, "stream_options.");
  inner.boolean("include_usage", out.include_usage);
  inner.boolean("continuous_usage_stats", out.continuous_usage);
  inner.only("include_obfuscation", "[false]", "streams are not padded");
  if (!out.stream && !inner.failed())
    inner.fail(invalid_argument("stream_options is given, but stream is not true", "stream_options"));
  if (inner.failed()) return in.fail(inner.error());
  for (std::string& name : inner.unknown()) out.warnings.push_back(std::move(name));
}

void read_stop(FieldReader& in, GenerationFields& out) {
  in.strings("stop", out.stop);
  size_t bytes = 0;
  for (const std::string& s : out.stop) {
    bytes += s.size();
    if (s.empty())
      in.fail(invalid_argument("stop holds an empty string; every stop string has at least one character", "stop"));
  }
  if (out.stop.size() > kMaxStopStrings || bytes > kMaxStopBytes)
    in.fail(invalid_argument(fmt::format("stop holds {} strings of {} bytes; at most {} strings of {} bytes are right",
                                         out.stop.size(), bytes, kMaxStopStrings, kMaxStopBytes),
                             "stop"));
  in.integers("stop_token_ids", out.stop_token_ids, 0, std::numeric_limits<TokenId>::max());
  in.boolean("include_stop_str_in_output", out.include_stop_in_output);
}

/// As vLLM has them: best_of beams, or n without it, of which the best n are told.
void read_beams(FieldReader& in, GenerationFields& out) {
  bool beams = false;
  in.boolean("use_beam_search", beams);
  int best_of = out.n;
  in.integer("best_of", best_of, 1, 128);
  const bool penalty = in.number(kLengthPenaltyLimits, out.length_penalty);
  if (!beams) {
    if (best_of != out.n)
      in.fail(unsupported(fmt::format("best_of is {} and n is {}, but choosing among samples is not built; leave it out or set it to n",
                                      best_of, out.n), "best_of"));
    if (penalty && out.length_penalty != 1)
      in.fail(invalid_argument("length_penalty belongs to beam search; leave it out or set use_beam_search", "length_penalty"));
    return;
  }
  out.beam_width = best_of;
  if (best_of < out.n)
    in.fail(invalid_argument(fmt::format("best_of is {} and n is {}; of {} beams at most so many are the best", best_of, out.n, best_of), "best_of"));
  if (out.stream)
    in.fail(unsupported("stream is true, but a beam search knows its tokens only at its end; leave stream out", "stream"));
  if (!out.stop.empty())
    in.fail(unsupported("stop is given, but a beam search ends at tokens alone; use stop_token_ids", "stop"));
  const SamplingParams& s = out.sampling;
  if (s.repetition_penalty != 1 || s.presence_penalty != 0 || s.frequency_penalty != 0 || !s.logit_bias.empty())
    in.fail(unsupported("a beam search ranks by the model's own log-probabilities: repetition_penalty, presence_penalty, frequency_penalty and "
                        "logit_bias have no part in it; leave them out", "use_beam_search"));
}

void read_logit_bias(FieldReader& in, SamplingParams& sampling) {
  const Json* bias = in.object("logit_bias", "an object of token ids and numbers from -100 to 100");
  if (bias == nullptr) return;
  sampling.logit_bias.clear();
  for (const auto& [key, value] : bias->items()) {
    TokenId id = 0;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (key.empty() || error != std::errc() || end != key.data() + key.size() || id < 0)
      return in.fail(invalid_argument(
          fmt::format("logit_bias has the key {}; its keys must be token ids", describe_json(Json(key))),
          "logit_bias"));
    if (!value.is_number() || !(value.get<double>() >= -100 && value.get<double>() <= 100))
      return in.fail(fmt::format("logit_bias.{}", id), value, "a number from -100 to 100");
    sampling.logit_bias.emplace_back(id, value.get<float>());
  }
}

}  // namespace

void read_generation_fields(FieldReader& in, GenerationFields& out) {
  SamplingParams& s = out.sampling;
  in.string("model", out.model);
  in.string("request_id", out.request_id);
  in.number(kTemperatureLimits, s.temperature);
  in.integer("top_k", s.top_k, kLowestTopK, INT32_MAX);
  in.number(kTopPLimits, s.top_p);
  in.number(kMinPLimits, s.min_p);
  in.number(kRepetitionPenaltyLimits, s.repetition_penalty);
  in.number(kPresencePenaltyLimits, s.presence_penalty);
  in.number(kFrequencyPenaltyLimits, s.frequency_penalty);
  settle_sampling(s);
  in.integer("min_tokens", s.min_tokens, 0, INT32_MAX);
  read_logit_bias(in, s);
  int64_t seed = 0;
  if (in.integer("seed", seed, INT64_MIN, INT64_MAX)) out.seed = seed;
  in.integer("n", out.n, 1, 128);
  read_stream(in, out);
  read_stop(in, out);
  read_beams(in, out);
  in.boolean("ignore_eos", out.ignore_eos);
  in.boolean("skip_special_tokens", out.skip_special_tokens);
  in.string("user", out.user);
  in.integer("priority", out.priority, INT32_MIN, INT32_MAX);
  if (in.string("cache_salt", out.cache_salt) && out.cache_salt.empty())
    in.fail(invalid_argument("cache_salt is empty; it must have at least one character", "cache_salt"));
  out.prompt_cache = read_prompt_cache(in);
  read_response_format(in, out);
  for (const Unhonoured& field : kUnhonoured) in.only(field.name, field.neutral, field.why);
  for (const char* name : kNoEffect) in.ignore(name);
  in.only("service_tier", R"(["auto", "default"])", "there are no tiers");
}

void read_prompts(FieldReader& in, const char* field, std::vector<Prompt>& out) {
  constexpr char kWant[] = "a string, an array of strings, an array of token ids, or an array of arrays of token ids";
  const Json* prompt = in.any(field);
  if (prompt == nullptr)
    return in.fail(invalid_argument(fmt::format("{} is missing; it must be {}", field, kWant), field));
  const auto tokens = [&](const Json& array, const std::string& name, std::vector<TokenId>& ids) {
    ids.reserve(array.size());
    for (size_t i = 0; i < array.size(); ++i) {
      const auto id = integral_value(array[i]);
      if (!id || *id < 0 || *id > std::numeric_limits<TokenId>::max())
        return in.fail(fmt::format("{}[{}]", name, i), array[i], "a token id");
      ids.push_back(static_cast<TokenId>(*id));
    }
  };
  if (prompt->is_string()) {
    out.emplace_back(prompt->get<std::string>());
    return;
  }
  if (!prompt->is_array() || prompt->empty()) return in.fail(field, *prompt, kWant);
  if (prompt->front().is_number()) {
    std::vector<TokenId> ids;
    tokens(*prompt, field, ids);
    out.emplace_back(std::move(ids));
    return;
  }
  for (size_t i = 0; i < prompt->size(); ++i) {
    const Json& one = (*prompt)[i];
    const std::string name = fmt::format("{}[{}]", field, i);
    if (one.is_string() && prompt->front().is_string()) {
      out.emplace_back(one.get<std::string>());
    } else if (one.is_array() && prompt->front().is_array()) {
      std::vector<TokenId> ids;
      tokens(one, name, ids);
      out.emplace_back(std::move(ids));
    } else {
      return in.fail(name, one,
                     prompt->front().is_string()  ? "a string like the first"
                     : prompt->front().is_array() ? "an array of token ids like the first"
                                                  : "a string, a token id or an array of token ids");
    }
  }
}

Result<CompletionRequest> parse_completion_request(const Json& body, const SamplingParams& defaults) {
  if (!body.is_object())
    return invalid_argument(fmt::format("the body is {}; it must be an object", describe_json(body)));
  CompletionRequest out;
  out.sampling = defaults;
  FieldReader in(body);
  read_generation_fields(in, out);
  read_prompts(in, "prompt", out.prompts);
  int max_tokens = 0;
  in.boolean("echo", out.echo);
  if (in.integer("max_tokens", max_tokens, out.echo ? 0 : 1, INT32_MAX)) out.max_tokens = max_tokens;
  // false, as some clients send it, means none.
  if (const Json* logprobs = in.any("logprobs"); logprobs != nullptr && *logprobs != Json(false))
    in.integer("logprobs", out.sampling.logprobs, 0, kMaxTopLogprobs);
  if (out.echo) out.prompt_logprobs = out.sampling.logprobs;
  if (out.echo && out.prompt_cache)
    in.fail(unsupported("echo is true, but a prompt that is put together by prompt_cache is not repeated; leave one of them out", "echo"));
  in.only("suffix", R"([""])", "filling in the middle is not built");
  in.boolean("add_special_tokens", out.add_special_tokens);
  in.boolean("parse_special", out.parse_special);
  if (in.failed()) return in.error();
  for (std::string& name : in.unknown()) out.warnings.push_back(std::move(name));
  return out;
}

std::string warning_text(const std::vector<std::string>& warnings) {
  constexpr size_t kMostNames = 32, kMostBytes = 64;
  std::string text;
  for (size_t i = 0; i < warnings.size() && i < kMostNames; ++i) {
    if (i > 0) text += ", ";
    for (const char c : warnings[i].substr(0, kMostBytes)) text += c > 0x20 && c < 0x7f && c != ',' ? c : '?';
  }
  if (warnings.size() > kMostNames) text += fmt::format(", and {} more", warnings.size() - kMostNames);
  return text;
}

}  // namespace sluice
