#include "apps/bench/workload.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <tuple>

#include "base/rng.h"

namespace sluice {

void WorkloadFlags::declare(OptionSet& o) {
  o.group("Workload");
  o.add("--trace", trace, "a trace file (Azure CSV, Mooncake or RTP-LLM JSON lines); random requests when absent");
  o.add("--num-prompts", num_prompts, "requests; of a trace, that many spread over it (0: all)");
  o.add("--random-input-len", input_len, "prompt tokens of a random request");
  o.add("--random-output-len", output_len, "output tokens of a random request");
  o.add("--random-prefix-len", prefix_len, "tokens that all random prompts share, before their own");
  o.add("--random-range-ratio", range_ratio, "spread of random lengths: r gives [1 - r, 1 + r] times the length");
  o.add("--length-scale", length_scale, "multiplies the lengths of a trace");
  o.add("--output-length-scale", output_length_scale, "multiplies the output lengths of a trace; 0: as --length-scale");
  o.add("--max-input-len", max_input_len, "clips prompts; 0: not");
  o.add("--max-output-len", max_output_len, "clips outputs; 0: not");
  o.add("--request-rate", request_rate, "requests per second; inf: all at once; trace: the trace's own times");
  o.add("--burstiness", burstiness, "of random arrivals: 1 is Poisson, less is burstier, more is steadier");
  o.add("--seed", seed, "of lengths, arrivals and tokens");
  o.add("--goodput", goodput_text, "limits in ms, such as ttft:500,tpot:50,e2el:5000; requests that meet all count");
}

namespace {

/// Reads all of `text` as a number, or returns false.
bool read_number(std::string_view text, double& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

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

/// Gamma-distributed gap with mean 1/rate and shape k (Marsaglia and Tsang, 2000); k = 1 is exponential.
double next_gap(Rng& rng, double rate, double shape) {
  if (shape == 1) return rng.next_exponential(rate);
  const double k = shape < 1 ? shape + 1 : shape, d = k - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  for (;;) {
    const double x = rng.next_normal(), v = std::pow(1 + c * x, 3);
    if (v <= 0 || std::log(1 - rng.next_double()) >= 0.5 * x * x + d - d * v + d * std::log(v)) continue;
    const double boost = shape < 1 ? std::pow(1 - rng.next_double(), 1 / shape) : 1;
    return d * v * boost / (shape * rate);
  }
}

}  // namespace

Result<Workload> make_workload(WorkloadFlags& flags, int64_t vocab_size) {
  SLUICE_TRY_STATUS(parse_goodput(flags.goodput_text, flags.goodput));
  double rate = 0;  // from_chars knows "inf"
  const bool own_times = flags.request_rate == "trace";
  if (!own_times && !(read_number(flags.request_rate, rate) && rate > 0))
    return invalid_argument(
        fmt::format("--request-rate is '{}'; it must be a number of requests per second above 0, inf or trace",
                    flags.request_rate),
        "--request-rate");
  if (own_times && flags.trace.empty()) return invalid_argument("--request-rate trace needs --trace", "--request-rate");
  if (!(flags.burstiness > 0)) return invalid_argument("--burstiness must be above 0", "--burstiness");
  if (!(flags.length_scale > 0)) return invalid_argument("--length-scale must be above 0", "--length-scale");
  if (!(flags.output_length_scale >= 0)) return invalid_argument("--output-length-scale must be at least 0", "--output-length-scale");
  const bool random = flags.trace.empty();
  for (const auto& [flag, value, low] : {std::tuple{"--num-prompts", flags.num_prompts, random ? 1 : 0},
                                         {"--random-input-len", flags.input_len, 1},
                                         {"--random-output-len", flags.output_len, 1},
                                         {"--random-prefix-len", flags.prefix_len, 0},
                                         {"--max-input-len", flags.max_input_len, 0},
                                         {"--max-output-len", flags.max_output_len, 0}})
    if (value < low) return invalid_argument(fmt::format("{} is {}; it must be at least {}", flag, value, low), flag);
  if (!(flags.range_ratio >= 0 && flags.range_ratio <= 1))
    return invalid_argument(fmt::format("--random-range-ratio is {}; it must be from 0 to 1", flags.range_ratio),
                            "--random-range-ratio");
  Rng rng(flags.seed ^ 0x5eed);
  Workload load;
  std::vector<TraceRequest> entries;
  if (!random) {
    SLUICE_TRY(auto trace, load_trace(flags.trace));
    entries = scale_trace(std::move(trace), {.limit = flags.num_prompts,
                                            .length_scale = flags.length_scale,
                                            .output_length_scale = flags.output_length_scale,
                                            .max_prompt_tokens = flags.max_input_len,
                                            .max_output_tokens = flags.max_output_len,
                                            .request_rate = own_times ? 0 : rate});
  } else {
    auto length = [&](int around) {
      const auto low = static_cast<int64_t>(std::ceil(around * (1 - flags.range_ratio))),
                 high = static_cast<int64_t>(around * (1 + flags.range_ratio));
      return std::max(1, static_cast<int>(rng.between(low, std::max(low, high))));
    };
    double t = 0;
    for (int i = 0; i < flags.num_prompts; ++i) {
      TraceRequest r;
      r.arrival = static_cast<Nanos>(t * 1e9);
      r.prompt_tokens = flags.prefix_len + length(flags.input_len);
      r.output_tokens = length(flags.output_len);
      if (flags.prefix_len > 0) {
        r.prefix_hashes = {flags.seed + 1};
        r.hash_block_tokens = flags.prefix_len;
      }
      entries.push_back(std::move(r));
      if (std::isfinite(rate)) t += next_gap(rng, rate, flags.burstiness);
    }
  }
  for (size_t i = 0; i < entries.size(); ++i) {
    load.requests.push_back(trace_request(entries[i], i, flags.seed, vocab_size));
    load.arrivals.push_back(entries[i].arrival);
  }
  return load;
}

}  // namespace sluice
