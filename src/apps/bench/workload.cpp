#include "apps/bench/workload.h"

#include <algorithm>
#include <optional>
#include <tuple>
#include <utility>

#include "sim/number.h"

namespace sluice {

void WorkloadFlags::declare(OptionSet& o) {
  o.group("Workload");
  o.add("--trace", trace, "a trace file (Azure CSV, Mooncake or RTP-LLM JSON lines) or a directory of ServeGen's clients; random requests when absent");
  o.add("--trace-repeat", trace_repeat, "how many times a trace is played, one after the other");
  o.add("--output-lengths", output_lengths,
        "output lengths that the trace does not have, or those of random requests: constant:64, uniform:16,256, exponential:128, lognormal:5.0,0.8");
  o.add("--num-prompts", num_prompts, "requests; of a trace, that many spread over it (0: all); of ServeGen's clients, the first (0: a day)");
  o.add("--random-input-len", input_len, "prompt tokens of a random request");
  o.add("--random-output-len", output_len, "output tokens of a random request");
  o.add("--random-prefix-len", prefix_len, "tokens that all random prompts share, before their own");
  o.add("--random-range-ratio", range_ratio, "spread of random lengths: r gives [1 - r, 1 + r] times the length");
  o.add("--length-scale", length_scale, "multiplies the lengths of a trace");
  o.add("--output-length-scale", output_length_scale, "multiplies the output lengths of a trace; 0: as --length-scale");
  o.add("--max-input-len", max_input_len, "clips prompts, of random requests with their shared prefix; 0: not");
  o.add("--max-output-len", max_output_len, "clips outputs; 0: not");
  o.add("--request-rate", request_rate, "requests per second; inf: all at once; trace: the trace's own times");
  o.add("--burstiness", burstiness, "of random arrivals: 1 is Poisson, less is burstier, more is steadier");
  o.add("--seed", seed, "of lengths, arrivals and tokens");
  o.add("--goodput", goodput_text, "limits in ms, such as ttft:500,tpot:50,e2el:5000; requests that meet all count");
}

namespace {

Status parse_goodput(const std::string& text, GoodputLimits& limits) {
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find(',', at), text.size()), colon = std::min(text.find(':', at), end);
    const std::string name = text.substr(at, colon - at);
    double* target = name == "ttft"   ? &limits.ttft_ms
                     : name == "tpot" ? &limits.tpot_ms
                     : name == "e2el" ? &limits.e2el_ms
                                      : nullptr;
    if (colon == end || target == nullptr ||
        !read_number(std::string_view(text).substr(colon + 1, end - colon - 1), *target) || !(*target > 0))
      return invalid_argument(fmt::format("--goodput '{}': ttft:MS,tpot:MS,e2el:MS is wanted, each optional", text),
                              "--goodput");
    at = end + 1;
  }
  return {};
}

/// Per second; 0: the trace's own times.
Result<double> parse_rate(const WorkloadFlags& flags) {
  double rate = 0;
  if (flags.request_rate == "trace") {
    if (flags.trace.empty()) return invalid_argument("--request-rate trace needs --trace", "--request-rate");
    return rate;
  }
  if (!(read_number(flags.request_rate, rate) && rate > 0))  // it knows "inf"
    return invalid_argument(
        fmt::format("--request-rate is '{}'; it must be a number of requests per second above 0, inf or trace",
                    flags.request_rate),
        "--request-rate");
  return rate;
}

}  // namespace

Status WorkloadFlags::check_given(const OptionSet& options) const {
  const auto refuse = [](std::string_view flag, std::string_view why) {
    return invalid_argument(fmt::format("--{} has no effect {}", flag, why), fmt::format("--{}", flag));
  };
  for (const char* flag : {"length-scale", "output-length-scale"})
    if (trace.empty() && options.given(flag)) return refuse(flag, "without --trace: random requests have the lengths that --random-input-len and --random-output-len say");
  for (const char* flag : {"random-input-len", "random-output-len", "random-prefix-len", "random-range-ratio", "burstiness"})
    if (!trace.empty() && options.given(flag)) return refuse(flag, "with --trace, which says what is sent and when; --length-scale and --request-rate fit it");
  if (!output_lengths.empty() && options.given("random-output-len")) return refuse("random-output-len", "with --output-lengths: give one of them");
  if (request_rate == "inf" && options.given("burstiness")) return refuse("burstiness", "where all requests come at once: give --request-rate");
  return {};
}

Status WorkloadFlags::check() {
  SLUICE_TRY_STATUS(parse_goodput(goodput_text, goodput));
  SLUICE_TRY([[maybe_unused]] const double rate, parse_rate(*this));
  if (!(burstiness > 0)) return invalid_argument("--burstiness must be above 0", "--burstiness");
  if (!(length_scale > 0)) return invalid_argument("--length-scale must be above 0", "--length-scale");
  if (!(output_length_scale >= 0)) return invalid_argument("--output-length-scale must be at least 0", "--output-length-scale");
  for (const auto& [flag, value, low] : {std::tuple{"--num-prompts", num_prompts, trace.empty() ? 1 : 0},
                                         {"--trace-repeat", trace_repeat, 1},
                                         {"--random-input-len", input_len, 1},
                                         {"--random-output-len", output_len, 1},
                                         {"--random-prefix-len", prefix_len, 0},
                                         {"--max-input-len", max_input_len, 0},
                                         {"--max-output-len", max_output_len, 0}})
    if (value < low || (value > kMostRequestTokens && std::string_view(flag).starts_with("--random-")))
      return invalid_argument(value < low ? fmt::format("{} is {}; it must be at least {}", flag, value, low)
                                          : fmt::format("{} is {}; it must be at most {}, as of all tokens of a request", flag, value, kMostRequestTokens), flag);
  if (trace.empty() && trace_repeat != 1) return invalid_argument("--trace-repeat needs --trace", "--trace-repeat");
  if (!(range_ratio >= 0 && range_ratio <= 1))
    return invalid_argument(fmt::format("--random-range-ratio is {}; it must be from 0 to 1", range_ratio),
                            "--random-range-ratio");
  if (output_lengths.empty()) return {};
  SLUICE_TRY([[maybe_unused]] const auto lengths, LengthDistribution::parse(output_lengths, "--output-lengths"));
  return {};
}

Result<std::unique_ptr<RequestStream>> RequestStream::open(WorkloadFlags& flags, int64_t vocab_size) {
  SLUICE_TRY_STATUS(flags.check());
  SLUICE_TRY(const double rate, parse_rate(flags));
  StreamOptions options{{.limit = flags.num_prompts,
                         .length_scale = flags.length_scale,
                         .output_length_scale = flags.output_length_scale,
                         .max_prompt_tokens = flags.max_input_len,
                         .max_output_tokens = flags.max_output_len,
                         .request_rate = rate},
                        flags.trace_repeat, std::nullopt, flags.seed};
  if (!flags.output_lengths.empty()) {
    SLUICE_TRY(options.output_lengths, LengthDistribution::parse(flags.output_lengths, "--output-lengths"));
  }
  auto stream = std::make_unique<RequestStream>();
  stream->seed_ = flags.seed;
  stream->vocab_size_ = vocab_size;
  if (!flags.trace.empty()) {
    SLUICE_TRY(stream->entries_, open_trace(flags.trace, options));
  } else {
    stream->entries_ = random_trace({.requests = flags.num_prompts, .input_tokens = flags.input_len, .output_tokens = flags.output_len, .prefix_tokens = flags.prefix_len,
                                     .range_ratio = flags.range_ratio, .rate = rate, .burstiness = flags.burstiness}, options);
  }
  for (TraceRequest entry; stream->entries_->next(entry); ++stream->extent_.requests)
    stream->extent_.longest = std::max(stream->extent_.longest, entry.prompt_tokens + entry.output_tokens);
  stream->entries_->rewind();
  if (stream->extent_.longest > kMostRequestTokens)
    return invalid_argument(fmt::format("a request of {} has {} tokens with its output; at most {} are possible: clip them by --max-input-len and --max-output-len{}",
                                        flags.trace.empty() ? "the workload" : flags.trace, stream->extent_.longest, kMostRequestTokens,
                                        flags.trace.empty() ? "" : ", or scale them by --length-scale"), "--max-input-len");
  return stream;
}

bool RequestStream::next(Request& request) {
  TraceRequest entry;
  if (!entries_->next(entry)) return false;
  request = trace_request(entry, index_++, seed_, vocab_size_);
  request.arrival = entry.arrival;
  return true;
}

Result<Workload> make_workload(WorkloadFlags& flags, int64_t vocab_size) {
  SLUICE_TRY(const auto stream, RequestStream::open(flags, vocab_size));
  Workload load;
  for (Request request; stream->next(request);) {
    load.arrivals.push_back(std::exchange(request.arrival, 0));
    load.requests.push_back(std::move(request));
  }
  return load;
}

}  // namespace sluice
