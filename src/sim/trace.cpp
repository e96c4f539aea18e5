#include "sim/trace.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <ctime>
#include <limits>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/mapped_file.h"
#include "base/rng.h"

namespace sluice {
namespace {

/// "2023-11-16 18:15:46.6805900" as ns since the epoch; nothing when it has another form.
std::optional<Nanos> parse_timestamp(const std::string& text) {
  std::tm tm{};
  int consumed = 0;
  if (std::sscanf(text.c_str(), "%d-%d-%d %d:%d:%d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min,
                  &tm.tm_sec, &consumed) != 6)
    return std::nullopt;
  tm.tm_year -= 1900;
  tm.tm_mon -= 1;
  Nanos ns = static_cast<Nanos>(timegm(&tm)) * 1'000'000'000;
  Nanos unit = 100'000'000;
  for (size_t i = static_cast<size_t>(consumed) + 1; i < text.size() && text[i] >= '0' && text[i] <= '9'; ++i, unit /= 10)
    ns += (text[i] - '0') * unit;
  return ns;
}

std::vector<std::string> split(const std::string& line, char by) {
  std::vector<std::string> fields(1);
  for (const char c : line) {
    if (c == by) fields.emplace_back();
    else if (c != '\r') fields.back() += c;
  }
  return fields;
}

std::optional<int> parse_count(const std::string& text) {
  int value = 0;
  size_t used = 0;
  try {
    value = static_cast<int>(std::stod(text, &used));
  } catch (const std::exception&) {
    return std::nullopt;
  }
  return used == text.size() && value >= 0 && value <= 100'000'000 ? std::optional(value) : std::nullopt;
}

Result<TraceRequest> from_json(const nlohmann::json& j, const std::string& where) {
  if (!j.is_object()) return corrupt_data(where + ": a JSON object is wanted");
  auto count = [&](const char* key, int otherwise) {
    return j.contains(key) && j[key].is_number() ? static_cast<int>(std::clamp(j[key].get<double>(), 0.0, 1e8)) : otherwise;
  };
  TraceRequest r;
  const bool mooncake = j.contains("input_length");
  const char* time_key = mooncake ? "timestamp" : "ts";
  r.prompt_tokens = count(mooncake ? "input_length" : "il", -1);
  r.output_tokens = count(mooncake ? "output_length" : "ol", 0);
  if (r.prompt_tokens < 0 || !j.contains(time_key) || !j[time_key].is_number())
    return corrupt_data(where + ": neither Mooncake's fields (timestamp, input_length, output_length) nor ts, il, ol");
  r.arrival = static_cast<Nanos>(std::clamp(j[time_key].get<double>(), 0.0, 1e12) * 1e6);
  r.priority = count("priority", 0);
  for (const char* key : {"client", "user"})
    if (j.contains(key)) r.client = j[key].is_string() ? j[key].get<std::string>() : j[key].dump();
  const char* hash_key = mooncake ? "hash_ids" : "bh";
  if (j.contains(hash_key) && j[hash_key].is_array())
    for (const auto& h : j[hash_key]) {
      if (h.is_number_unsigned()) r.prefix_hashes.push_back(h.get<uint64_t>());
      else if (h.is_string()) r.prefix_hashes.push_back(std::strtoull(h.get_ref<const std::string&>().c_str(), nullptr, 10));
    }
  if (!r.prefix_hashes.empty())
    r.hash_block_tokens = mooncake ? 512 : std::max(1, r.prompt_tokens / static_cast<int>(r.prefix_hashes.size()));
  return r;
}

}  // namespace

Result<std::optional<TraceRequest>> TraceParser::parse(const std::string& line, const std::string& where) {
  if (line.empty() || line == "\r") return std::optional<TraceRequest>();
  if (line[0] == '{') {
    SLUICE_TRY(auto request, from_json(nlohmann::json::parse(line, nullptr, false), where));
    return std::optional(std::move(request));
  }
  const std::vector<std::string> fields = split(line, ',');
  if (columns_ == 0) {
    for (size_t i = 0; i < fields.size(); ++i) {
      const int column = static_cast<int>(i);
      if (fields[i] == "TIMESTAMP") time_column_ = column;
      if (fields[i] == "ContextTokens" || fields[i] == "num_prefill_tokens") prompt_column_ = column;
      if (fields[i] == "GeneratedTokens" || fields[i] == "num_decode_tokens") output_column_ = column;
    }
    if (prompt_column_ < 0)
      return unsupported(fmt::format("{}: the columns '{}' are of no trace format known here (Azure: TIMESTAMP,"
                                     "ContextTokens,GeneratedTokens; lengths: num_prefill_tokens,num_decode_tokens)",
                                     where, line.substr(0, 80)));
    columns_ = fields.size();
    return std::optional<TraceRequest>();
  }
  if (fields.size() < columns_)
    return corrupt_data(fmt::format("{}: {} columns, {} are wanted", where, fields.size(), columns_));
  const auto count = [&](int column) { return column < 0 ? std::optional(0) : parse_count(fields[static_cast<size_t>(column)]); };
  const auto prompt = count(prompt_column_), output = count(output_column_);
  const auto time = time_column_ < 0 ? std::optional<Nanos>(0) : parse_timestamp(fields[static_cast<size_t>(time_column_)]);
  if (!prompt || !output || !time)
    return corrupt_data(fmt::format("{}: '{}' is not a timestamp and two counts", where, line.substr(0, 80)));
  TraceRequest r;
  r.arrival = *time;
  r.prompt_tokens = *prompt;
  r.output_tokens = *output;
  return std::optional(std::move(r));
}

Result<std::vector<TraceRequest>> load_trace(const std::string& path) {
  SLUICE_TRY(const std::string text, read_file(path));
  std::vector<TraceRequest> trace;
  TraceParser parser;
  size_t line_number = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    SLUICE_TRY(auto entry, parser.parse(text.substr(at, end - at), fmt::format("{}:{}", path, ++line_number)));
    if (entry) trace.push_back(std::move(*entry));
    at = end + 1;
  }
  if (trace.empty()) return corrupt_data(fmt::format("{}: no requests in it", path));
  std::ranges::stable_sort(trace, {}, &TraceRequest::arrival);
  const Nanos first = trace.front().arrival;
  for (TraceRequest& r : trace) {
    r.arrival -= first;
    r.prompt_tokens = std::max(1, r.prompt_tokens);
    r.output_tokens = std::max(1, r.output_tokens);
  }
  return trace;
}

void scale_lengths(TraceRequest& r, const TraceScale& scale) {
  const auto scaled = [](int tokens, double by, int limit) {
    const int n = static_cast<int>(std::clamp(std::round(tokens * by), 1.0, 1e9));  // a prompt and an output, added, fit an int
    return limit > 0 ? std::min(n, limit) : n;
  };
  r.prompt_tokens = scaled(r.prompt_tokens, scale.length_scale, scale.max_prompt_tokens);
  r.output_tokens = scaled(r.output_tokens, scale.output_length_scale > 0 ? scale.output_length_scale : scale.length_scale, scale.max_output_tokens);
  if (scale.length_scale != 1)
    r.hash_block_tokens = r.hash_block_tokens > 0 ? scaled(r.hash_block_tokens, scale.length_scale, 0) : 0;
}

std::vector<TraceRequest> scale_trace(std::vector<TraceRequest> trace, const TraceScale& scale) {
  if (const size_t kept = kept_of(trace.size(), scale); kept < trace.size()) {
    // A run of consecutive requests would keep one busy minute; every k-th keeps the whole trace's lengths. The gaps
    // between them are the trace's own, so bursts survive at the larger scale.
    std::vector<TraceRequest> sample;
    for (size_t i = 0; i < kept; ++i) sample.push_back(trace[kept_index(i, trace.size(), kept)]);
    trace = std::move(sample);
  }
  for (TraceRequest& r : trace) scale_lengths(r, scale);
  const Nanos first = trace.empty() ? 0 : trace.front().arrival, span = trace.empty() ? 0 : trace.back().arrival - first;
  for (TraceRequest& r : trace) {
    r.arrival -= first;
    if (scale.request_rate <= 0) continue;
    const double wanted_ns = std::isinf(scale.request_rate) ? 0 : static_cast<double>(trace.size() - 1) / scale.request_rate * 1e9;
    r.arrival = span > 0 ? static_cast<Nanos>(static_cast<double>(r.arrival) / static_cast<double>(span) * wanted_ns) : 0;
  }
  return trace;
}

Request trace_request(const TraceRequest& entry, size_t index, uint64_t seed, int64_t vocab_size) {
  Request request;
  // Random ids from the upper half of the vocabulary, away from control tokens at its start.
  const uint64_t low = static_cast<uint64_t>(vocab_size) / 2, span = std::max<uint64_t>(1, static_cast<uint64_t>(vocab_size) - low);
  request.prompt.reserve(entry.prompt_tokens);
  std::array<uint32_t, 4> words{};  // a draw makes four tokens; blocks may begin within one
  size_t drawn_for = SIZE_MAX;
  for (int i = 0; i < entry.prompt_tokens; ++i) {
    const size_t block = entry.hash_block_tokens > 0 ? static_cast<size_t>(i / entry.hash_block_tokens) : 0;
    const bool shared = entry.hash_block_tokens > 0 && block < entry.prefix_hashes.size();
    const size_t source = shared ? block : entry.prefix_hashes.size();
    if (i % 4 == 0 || source != drawn_for) {
      const RngKey key = shared ? RngKey{seed ^ entry.prefix_hashes[block], 1} : RngKey{seed + index, 2};
      words = philox(key, static_cast<uint64_t>(i / 4), 0);
      drawn_for = source;
    }
    request.prompt.push_back(static_cast<TokenId>(low + words[static_cast<size_t>(i % 4)] % span));
  }
  request.max_tokens = entry.output_tokens;
  request.ignore_eos = true;
  request.priority = entry.priority;
  request.client = entry.client;
  request.sampling.temperature = 0;
  request.sampling.seed = seed + index;
  return request;
}

}  // namespace sluice
