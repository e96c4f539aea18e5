#include "sim/servegen.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <queue>

#include "base/mapped_file.h"
#include "sim/arrivals.h"
#include "sim/number.h"

namespace sluice {
namespace {

constexpr double kDay = 86'400;

struct Window {
  double start_s = 0, rate = 0;  // requests per second
  bool weibull = false;
  double shape = 1;
};

/// Lengths with how often they were seen, as a running sum.
struct Histogram {
  std::vector<int> tokens;
  std::vector<double> sum;

  int draw(Rng& rng) const {
    const double at = rng.next_double() * sum.back();
    const auto it = std::ranges::upper_bound(sum, at);
    return tokens[std::min(static_cast<size_t>(it - sum.begin()), tokens.size() - 1)];
  }
};

struct Client {
  std::vector<Window> windows;                  // ascending, from 0; each ends where the next begins
  std::map<double, Histogram> inputs, outputs;  // by start of their window; none is empty

  static const Histogram& at(const std::map<double, Histogram>& lengths, double second) {
    const auto after = lengths.upper_bound(second);
    return after == lengths.begin() ? after->second : std::prev(after)->second;
  }
};

std::vector<std::string_view> split(std::string_view text, char by) {
  std::vector<std::string_view> parts;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find(by, at), text.size());
    parts.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return parts;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '{')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '}' || text.back() == '\r')) text.remove_suffix(1);
  return text;
}

Result<std::vector<Window>> read_windows(const std::string& path) {
  SLUICE_TRY(const std::string text, read_file(path));
  std::vector<Window> windows;
  size_t number = 0;
  for (const std::string_view line : split(text, '\n')) {
    ++number;
    if (trimmed(line).empty()) continue;
    const auto fields = split(trimmed(line), ',');
    Window w;
    double cv = 0;
    if (fields.size() < 3 || !read_number(fields[0], w.start_s) || !read_number(fields[1], w.rate) || !read_number(fields[2], cv) ||
        w.rate < 0 || (windows.empty() ? w.start_s != 0 : w.start_s <= windows.back().start_s) || w.start_s >= kDay)
      return corrupt_data(fmt::format("{}:{}: '{}' is not a window of a day (start, rate, coefficient of variation, distribution, shape, scale)", path, number, line));
    w.weibull = fields.size() > 4 && fields[3] == "Weibull";
    if (w.weibull && (!read_number(fields[4], w.shape) || !(w.shape > 0.01)))
      return corrupt_data(fmt::format("{}:{}: the Weibull shape is '{}'; it must be above 0.01", path, number, fields[4]));
    if (!w.weibull && cv > 0) w.shape = std::max(1e-3, 1 / (cv * cv));
    windows.push_back(w);
  }
  if (windows.empty()) return corrupt_data(path + ": no windows in it");
  return windows;
}

/// "{45: 0.0097, 46: 0.0117}", as Python prints a dictionary.
Result<Histogram> read_histogram(const std::string& text, const std::string& where) {
  Histogram h;
  double sum = 0;
  if (trimmed(text).empty()) return h;
  for (const std::string_view entry : split(trimmed(text), ',')) {
    const size_t colon = std::min(entry.find(':'), entry.size());
    double tokens = 0, share = 0;
    if (colon == entry.size() || !read_number(trimmed(entry.substr(0, colon)), tokens) || !read_number(trimmed(entry.substr(colon + 1)), share) ||
        !(tokens >= 0 && tokens <= 1e8) || !(share >= 0))
      return corrupt_data(fmt::format("{}: '{}' is not a length and its share", where, entry));
    if (share == 0) continue;
    h.tokens.push_back(std::max(1, static_cast<int>(tokens)));
    h.sum.push_back(sum += share);
  }
  return h;
}

Status read_lengths(const std::string& path, Client& client) {
  SLUICE_TRY(const std::string text, read_file(path));
  const auto j = nlohmann::json::parse(text, nullptr, false);
  if (!j.is_object()) return corrupt_data(path + ": an object of windows is wanted");
  for (const auto& [start, window] : j.items()) {
    double second = 0;
    if (!read_number(start, second) || !window.is_object()) return corrupt_data(fmt::format("{}: '{}' is not the start of a window in seconds", path, start));
    for (const auto& [key, into] : {std::pair{"input_tokens", &client.inputs}, std::pair{"output_tokens", &client.outputs}}) {
      if (!window.contains(key) || !window[key].is_string()) return corrupt_data(fmt::format("{}: window {} has no {}", path, start, key));
      SLUICE_TRY(Histogram h, read_histogram(window[key].get<std::string>(), fmt::format("{}: {} of window {}", path, key, start)));
      if (!h.tokens.empty()) (*into)[second] = std::move(h);
    }
  }
  return {};
}

class ServeGen final : public TraceStream {
 public:
  ServeGen(std::vector<Client> clients, const TraceScale& scale, uint64_t seed)
      : clients_(std::move(clients)), at_once_(std::isinf(scale.request_rate)), limit_(scale.limit), seed_(seed) {
    double a_day = 0;  // requests
    for (const Client& c : clients_)
      for (size_t i = 0; i < c.windows.size(); ++i) a_day += c.windows[i].rate * (end_of(c, i) - c.windows[i].start_s);
    speed_ = scale.request_rate > 0 && !at_once_ ? scale.request_rate * kDay / a_day : 1;
    rewind();
  }

  void rewind() override {
    states_.clear();
    order_ = {};
    made_ = 0;
    first_ns_ = -1;
    for (size_t i = 0; i < clients_.size(); ++i) {
      states_.push_back({Rng(seed_ * 1000003 + i), 0, 0});
      advance(i);
    }
  }

  bool next(TraceRequest& entry) override {
    if (order_.empty() || (limit_ > 0 && made_ == limit_) || (limit_ == 0 && order_.top().first >= kDay)) return false;
    const auto [at_s, i] = order_.top();
    order_.pop();
    ++made_;
    const Nanos at_ns = static_cast<Nanos>(at_s * 1e9);
    if (first_ns_ < 0) first_ns_ = at_ns;
    entry = {};
    entry.arrival = at_once_ ? 0 : at_ns - first_ns_;
    const double second = std::fmod(at_s, kDay);
    entry.prompt_tokens = Client::at(clients_[i].inputs, second).draw(states_[i].rng);
    entry.output_tokens = Client::at(clients_[i].outputs, second).draw(states_[i].rng);
    advance(i);
    return true;
  }

 private:
  struct State {
    Rng rng;
    double at_s = 0;     // of its last request, over all days
    size_t window = 0;   // that it is in
  };
  static double end_of(const Client& c, size_t window) { return window + 1 < c.windows.size() ? c.windows[window + 1].start_s : kDay; }

  /// To the client's next request. A gap is drawn at rate 1 and shape of the window in which it begins, and then passes at each
  /// window's rate: a client that falls silent keeps its place in its burst.
  void advance(size_t i) {
    const Client& c = clients_[i];
    State& s = states_[i];
    size_t silent = 0;
    while (c.windows[s.window].rate == 0) {
      if (++silent > c.windows.size()) return;  // never speaks
      const double day = std::floor(s.at_s / kDay) * kDay;
      s.at_s = day + end_of(c, s.window);
      s.window = (s.window + 1) % c.windows.size();
    }
    const Window& begins = c.windows[s.window];
    double left = begins.weibull ? weibull_gap(s.rng, 1, begins.shape) : gamma_gap(s.rng, 1, begins.shape);
    for (;;) {
      const double rate = c.windows[s.window].rate * speed_;
      const double until_end = std::floor(s.at_s / kDay) * kDay + end_of(c, s.window) - s.at_s;
      if (left <= rate * until_end && rate > 0) {
        s.at_s += left / rate;
        break;
      }
      left -= rate * until_end;
      const double day = std::floor(s.at_s / kDay) * kDay;
      s.at_s = day + end_of(c, s.window);
      s.window = (s.window + 1) % c.windows.size();
    }
    order_.push({s.at_s, i});
  }

  std::vector<Client> clients_;
  bool at_once_;
  int limit_;
  uint64_t seed_;
  double speed_ = 1;
  std::vector<State> states_;
  std::priority_queue<std::pair<double, size_t>, std::vector<std::pair<double, size_t>>, std::greater<>> order_;
  int made_ = 0;
  Nanos first_ns_ = -1;
};

/// The numbers N of chunk-N-trace.csv, ascending.
std::vector<int> chunks_in(const std::string& directory) {
  std::vector<int> numbers;
  std::error_code ignored;
  for (const auto& file : std::filesystem::directory_iterator(directory, ignored)) {
    int number = 0, end = 0;
    const std::string name = file.path().filename();
    if (std::sscanf(name.c_str(), "chunk-%d-trace.csv%n", &number, &end) == 1 && end == static_cast<int>(name.size())) numbers.push_back(number);
  }
  std::ranges::sort(numbers);
  return numbers;
}

}  // namespace

bool is_servegen(const std::string& path) { return is_directory(path); }

Result<std::unique_ptr<TraceStream>> open_servegen(const std::string& directory, const TraceScale& scale, uint64_t seed) {
  std::vector<Client> clients;
  double a_day = 0;
  for (const int number : chunks_in(directory)) {
    const std::string stem = fmt::format("{}/chunk-{}", directory, number);
    Client client;
    SLUICE_TRY(client.windows, read_windows(stem + "-trace.csv"));
    double rates = 0;
    for (const Window& w : client.windows) rates += w.rate;
    if (rates == 0) continue;
    a_day += rates;
    SLUICE_TRY_STATUS(read_lengths(stem + "-dataset.json", client));
    if (client.inputs.empty() || client.outputs.empty()) return corrupt_data(stem + "-dataset.json: no lengths in it, and the client sends requests");
    clients.push_back(std::move(client));
  }
  if (a_day == 0)
    return corrupt_data(fmt::format("{}: a directory of ServeGen's clients is wanted (chunk-N-trace.csv and chunk-N-dataset.json), and none there sends requests", directory));
  return std::unique_ptr<TraceStream>(new ServeGen(std::move(clients), scale, seed));
}

}  // namespace sluice
