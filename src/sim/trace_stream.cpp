#include "sim/trace_stream.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>

#include "base/mapped_file.h"
#include "sim/arrivals.h"
#include "sim/servegen.h"

namespace sluice {
namespace {

/// A file that open() has read through once, so that reading it again has no errors.
class FileTrace final : public TraceStream {
 public:
  static Result<std::unique_ptr<FileTrace>> open(const std::string& path) {
    if (!file_exists(path)) return not_found(fmt::format("{}: there is no such trace", path));
    std::unique_ptr<FileTrace> trace(new FileTrace(path));
    Nanos last = std::numeric_limits<Nanos>::min();
    std::string line;
    for (size_t number = 1; std::getline(trace->file_, line); ++number) {
      SLUICE_TRY(const auto entry, trace->parser_.parse(line, fmt::format("{}:{}", path, number)));
      if (!entry) continue;
      if (trace->requests == 0) trace->first_ = entry->arrival;
      trace->sorted_ = trace->sorted_ && entry->arrival >= last;
      last = entry->arrival;
      trace->without_output += entry->output_tokens == 0;
      ++trace->requests;
    }
    if (trace->requests == 0) return corrupt_data(fmt::format("{}: no requests in it", path));
    trace->span = last - trace->first_;
    trace->rewind();
    if (!trace->sorted_) {
      std::vector<TraceRequest> entries;
      for (TraceRequest entry; trace->read(entry);) entries.push_back(entry);
      std::ranges::stable_sort(entries, {}, &TraceRequest::arrival);
      trace->first_ = entries.front().arrival;
      trace->span = entries.back().arrival - trace->first_;
      trace->entries_ = std::move(entries);
    }
    return trace;
  }

  /// An output length that the file does not have is 0.
  bool next(TraceRequest& entry) override {
    if (!sorted_) {
      if (at_ == entries_.size()) return false;
      entry = entries_[at_++];
    } else if (!read(entry)) {
      return false;
    }
    entry.arrival -= first_;
    return true;
  }

  void rewind() override {
    file_.clear();
    file_.seekg(0);
    parser_ = {};
    at_ = 0;
  }

  size_t requests = 0;
  Nanos span = 0;            // from the first arrival to the last
  size_t without_output = 0;  // requests

 private:
  explicit FileTrace(const std::string& path) : path_(path), file_(path) {}

  bool read(TraceRequest& entry) {
    std::string line;
    while (std::getline(file_, line)) {
      auto parsed = parser_.parse(line, path_);
      CHECK(parsed.ok(), "the trace has changed since it was opened: {}", parsed.error().message);
      if (!*parsed) continue;
      entry = std::move(**parsed);
      entry.prompt_tokens = std::max(1, entry.prompt_tokens);
      return true;
    }
    return false;
  }

  std::string path_;
  std::ifstream file_;
  TraceParser parser_;
  Nanos first_ = 0;
  bool sorted_ = true;
  std::vector<TraceRequest> entries_;  // sorted, where the file is not
  size_t at_ = 0;
};

/// Output lengths from options.output_lengths, by the seed; the same after each rewind().
class DrawnOutputs {
 public:
  explicit DrawnOutputs(const StreamOptions& options) : lengths_(options.output_lengths), seed_(options.seed ^ 0x0d157), rng_(seed_) {}
  bool given() const { return lengths_.has_value(); }
  int draw() { return lengths_->draw(rng_); }
  void rewind() { rng_ = Rng(seed_); }

 private:
  std::optional<LengthDistribution> lengths_;
  uint64_t seed_;
  Rng rng_;
};

/// scale_trace() as a stream, of a trace that is played `repeat` times.
class ScaledTrace final : public TraceStream {
 public:
  ScaledTrace(std::unique_ptr<FileTrace> file, const StreamOptions& options)
      : file_(std::move(file)), scale_(options.scale), outputs_(options) {
    all_ = file_->requests * static_cast<size_t>(options.repeat);
    kept_ = kept_of(all_, scale_);
    // Each repetition begins a mean gap after the last request of the one before.
    period_ = file_->requests > 1 ? file_->span + file_->span / static_cast<Nanos>(file_->requests - 1) : 1;
    if (scale_.request_rate > 0 && kept_ > 0) {
      TraceRequest entry;
      bool first = true;
      while (take(entry)) {
        if (first) first_kept_ = entry.arrival;
        first = false;
        last_kept_ = entry.arrival;
      }
      rewind();
    }
  }

  bool next(TraceRequest& entry) override {
    if (!take(entry)) return false;
    if (taken_ == 1) first_kept_ = entry.arrival;
    entry.arrival -= first_kept_;
    if (entry.output_tokens == 0) entry.output_tokens = outputs_.draw();
    scale_lengths(entry, scale_);
    if (scale_.request_rate > 0) {
      const double wanted_ns = std::isinf(scale_.request_rate) ? 0 : static_cast<double>(kept_ - 1) / scale_.request_rate * 1e9;
      const auto span = static_cast<double>(last_kept_ - first_kept_);
      entry.arrival = span > 0 ? static_cast<Nanos>(static_cast<double>(entry.arrival) / span * wanted_ns) : 0;
    }
    return true;
  }

  void rewind() override {
    file_->rewind();
    outputs_.rewind();
    read_ = taken_ = 0;
  }

 private:
  /// The next that is kept, with its own lengths, and its time from the start of the first repetition.
  bool take(TraceRequest& entry) {
    if (taken_ == kept_) return false;
    const size_t wanted = kept_index(taken_, all_, kept_);
    for (; read_ <= wanted; ++read_) {
      if (read_ > 0 && read_ % file_->requests == 0) file_->rewind();
      CHECK(file_->next(entry), "the trace has become shorter since it was opened");
    }
    entry.arrival += static_cast<Nanos>(wanted / file_->requests) * period_;
    ++taken_;
    return true;
  }

  std::unique_ptr<FileTrace> file_;
  TraceScale scale_;
  DrawnOutputs outputs_;
  size_t all_ = 0, kept_ = 0, read_ = 0, taken_ = 0;
  Nanos period_ = 0, first_kept_ = 0, last_kept_ = 0;
};

class RandomTrace final : public TraceStream {
 public:
  RandomTrace(const RandomRequests& shape, const StreamOptions& options)
      : shape_(shape), seed_(options.seed), rng_(seed_ ^ 0x5eed), outputs_(options), most_prompt_(options.scale.max_prompt_tokens), most_output_(options.scale.max_output_tokens) {}

  bool next(TraceRequest& entry) override {
    if (made_ == shape_.requests) return false;
    ++made_;
    entry = {};
    entry.arrival = static_cast<Nanos>(at_s_ * 1e9);
    entry.prompt_tokens = shape_.prefix_tokens + length(shape_.input_tokens);
    entry.output_tokens = length(shape_.output_tokens);
    if (outputs_.given()) entry.output_tokens = outputs_.draw();
    if (most_prompt_ > 0) entry.prompt_tokens = std::min(entry.prompt_tokens, most_prompt_);
    if (most_output_ > 0) entry.output_tokens = std::min(entry.output_tokens, most_output_);
    if (shape_.prefix_tokens > 0) {
      entry.prefix_hashes = {seed_ + 1};
      entry.hash_block_tokens = shape_.prefix_tokens;
    }
    if (std::isfinite(shape_.rate)) at_s_ += gamma_gap(rng_, shape_.rate, shape_.burstiness);
    return true;
  }

  void rewind() override {
    rng_ = Rng(seed_ ^ 0x5eed);
    outputs_.rewind();
    made_ = 0;
    at_s_ = 0;
  }

 private:
  int length(int around) {
    const auto low = static_cast<int64_t>(std::ceil(around * (1 - shape_.range_ratio))),
               high = static_cast<int64_t>(around * (1 + shape_.range_ratio));
    return std::max(1, static_cast<int>(rng_.between(low, std::max(low, high))));
  }

  RandomRequests shape_;
  uint64_t seed_;
  Rng rng_;
  DrawnOutputs outputs_;
  int most_prompt_, most_output_;  // 0: unlimited
  int64_t made_ = 0;
  double at_s_ = 0;
};

class ScaledLengths final : public TraceStream {
 public:
  ScaledLengths(std::unique_ptr<TraceStream> inner, const TraceScale& scale) : inner_(std::move(inner)), scale_(scale) {}
  bool next(TraceRequest& entry) override {
    if (!inner_->next(entry)) return false;
    scale_lengths(entry, scale_);
    return true;
  }
  void rewind() override { inner_->rewind(); }

 private:
  std::unique_ptr<TraceStream> inner_;
  TraceScale scale_;
};

}  // namespace

Result<std::unique_ptr<TraceStream>> open_trace(const std::string& path, const StreamOptions& options) {
  const auto nothing_to_draw = [&] {
    return invalid_argument(fmt::format("--output-lengths has no use with {}: it says how long every output was", path), "--output-lengths");
  };
  if (is_servegen(path)) {
    if (options.output_lengths) return nothing_to_draw();
    if (options.repeat != 1)
      return invalid_argument(fmt::format("{} is a mix of clients, which is drawn and not played again: give --num-prompts and another --seed", path), "--trace-repeat");
    SLUICE_TRY(auto clients, open_servegen(path, options.scale, options.seed));
    return std::unique_ptr<TraceStream>(new ScaledLengths(std::move(clients), options.scale));
  }
  SLUICE_TRY(auto file, FileTrace::open(path));
  if (file->without_output > 0 && !options.output_lengths)
    return invalid_argument(fmt::format("{} does not say how long the outputs of {} of its {} requests were: give --output-lengths, such as exponential:128",
                                        path, file->without_output, file->requests), "--output-lengths");
  if (file->without_output == 0 && options.output_lengths) return nothing_to_draw();
  return std::unique_ptr<TraceStream>(new ScaledTrace(std::move(file), options));
}

std::unique_ptr<TraceStream> random_trace(const RandomRequests& shape, const StreamOptions& options) {
  return std::make_unique<RandomTrace>(shape, options);
}

}  // namespace sluice
