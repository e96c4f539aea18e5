#include "lab/gain_plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "sim/svg_plot.h"

namespace sluice::lab {
namespace {

constexpr int kLabel = 250, kBars = 520, kRow = 22, kTop = 54, kNote = 130;
constexpr const char* kColors[] = {"#3b6ea5", "#b5652b", "#4d8a57", "#8a5a9e", "#a8893b", "#5f7d8c", "#a34c5c"};

}  // namespace

std::string gain_plot(const std::vector<Entry>& entries) {
  std::vector<const Entry*> shown;
  double least = 1, most = 10;
  for (const Entry& entry : entries) {
    const double gain = entry.finding.effect.gain();
    if (!entry.error.empty() || entry.finding.effect.none() || !std::isfinite(gain) || gain <= 0) continue;
    shown.push_back(&entry);
    least = std::min(least, gain);
    most = std::max(most, gain);
  }
  const int low = static_cast<int>(std::floor(std::log10(least))), high = static_cast<int>(std::ceil(std::log10(most)));
  const auto x_of = [&](double gain) { return kLabel + kBars * (std::log10(gain) - low) / (high - low); };
  const int height = kTop + kRow * static_cast<int>(shown.size()) + 16, width = kLabel + kBars + kNote;
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" height=\"{1}\" font-family=\"sans-serif\" font-size=\"12\">\n"
      "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
      "<text x=\"12\" y=\"20\" font-size=\"14\" font-weight=\"bold\">How many times better than its baseline</text>\n"
      "<text x=\"12\" y=\"37\" fill=\"#666\">logarithmic; pale: a time of this machine, full: counted or simulated, the same on every machine</text>\n",
      width, height);
  for (int power = low; power <= high; ++power) {
    const double x = x_of(std::pow(10.0, power));
    svg += fmt::format("<line x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1}\" y2=\"{2}\" stroke=\"{3}\"/>\n"
                       "<text x=\"{0:.1f}\" y=\"{2}\" dy=\"12\" text-anchor=\"middle\" fill=\"#666\">{4:g}x</text>\n",
                       x, kTop - 4, height - 18, power == 0 ? "#333" : "#ddd", std::pow(10.0, power));
  }
  std::map<std::string_view, const char*> colors;
  int y = kTop;
  for (const Entry* entry : shown) {
    const Effect& e = entry->finding.effect;
    const auto color = colors.emplace(entry->experiment->group, kColors[colors.size() % std::size(kColors)]).first->second;
    const double from = std::min(x_of(1), x_of(e.gain())), to = std::max(x_of(1), x_of(e.gain()));
    svg += fmt::format("<g><title>{}</title>"
                       "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>"
                       "<rect x=\"{:.1f}\" y=\"{}\" width=\"{:.1f}\" height=\"14\" fill=\"{}\" fill-opacity=\"{}\"/>"
                       "<text x=\"{:.1f}\" y=\"{}\" fill=\"#333\">{}x</text></g>\n",
                       svg_text(effect_text(e)), kLabel - 8, y + 12, svg_text(fmt::format("{} ({})", entry->experiment->name, entry->experiment->group)),
                       from, y, std::max(1.0, to - from), color, e.timed ? 0.45 : 1.0, to + 6, y + 12, number(e.gain()));
    y += kRow;
  }
  return svg + "</svg>\n";
}

}  // namespace sluice::lab
