// Figures as SVG text.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Svg.h"
#include <algorithm>
#include <cstdio>

namespace loopc::driver {
namespace {

constexpr double width = 360, height = 240, left = 52, bottom = 36, top = 28, right = 14;

std::string escaped(const std::string &text) {
  std::string result;
  for (char c : text) {
    if (c == '<')
      result += "&lt;";
    else if (c == '&')
      result += "&amp;";
    else
      result += c;
  }
  return result;
}

/// One panel at a horizontal offset: a title, a frame, and what `x` and `y` map into it.
class Panel {
public:
  Panel(double offset, const std::string &title, double low, double high, size_t columns)
      : offset(offset), low(low), high(high), columns(columns) {
    label(left, top - 10, title, "start", "bold");
    add("<rect x='%.1f' y='%.1f' width='%.1f' height='%.1f' fill='none' stroke='#888'/>\n", offset + left, top,
        width - left - right, height - top - bottom);
    for (int i = 0; i <= 4; ++i) {
      double value = low + (high - low) * i / 4;
      char text[32];
      std::snprintf(text, sizeof text, "%.3g", value);
      label(left - 6, y(value) + 4, text, "end", "normal");
    }
  }

  double x(size_t column) const {
    double span = width - left - right;
    return left + span * (double(column) + 0.5) / double(columns);
  }
  double y(double value) const {
    double span = height - top - bottom;
    return height - bottom - span * (value - low) / (high - low);
  }
  void columnLabel(size_t column, const std::string &text) {
    label(x(column), height - bottom + 16, text, "middle", "normal");
  }
  void line(const std::vector<double> &values, const char *colour) {
    std::string points;
    for (size_t i = 0; i < values.size(); ++i) {
      char text[64];
      std::snprintf(text, sizeof text, "%.1f,%.1f ", offset + x(i), y(values[i]));
      points += text;
    }
    out += "<polyline points='" + points + "' fill='none' stroke='" + colour + "' stroke-width='2'/>\n";
    for (size_t i = 0; i < values.size(); ++i)
      add("<circle cx='%.1f' cy='%.1f' r='3' fill='%s'/>\n", offset + x(i), y(values[i]), colour);
  }
  void bars(const std::vector<double> &values, const char *colour) {
    double w = (width - left - right) / double(columns) * 0.6;
    for (size_t i = 0; i < values.size(); ++i)
      add("<rect x='%.1f' y='%.1f' width='%.1f' height='%.1f' fill='%s'/>\n", offset + x(i) - w / 2, y(values[i]), w,
          std::max(0.0, y(low) - y(values[i])), colour);
  }
  std::string text() const { return out; }

private:
  template <typename... Args> void add(const char *format, Args... args) {
    char text[256];
    std::snprintf(text, sizeof text, format, args...);
    out += text;
  }
  void label(double atX, double atY, const std::string &text, const char *anchor, const char *weight) {
    add("<text x='%.1f' y='%.1f' font-size='12' text-anchor='%s' font-weight='%s'>", offset + atX, atY, anchor, weight);
    out += escaped(text) + "</text>\n";
  }

  double offset, low, high;
  size_t columns;
  std::string out;
};

} // namespace

std::string evalFigure(const std::string &title, const std::vector<int> &counts, const std::vector<double> &loss,
                       const std::vector<double> &agreement, const std::vector<double> &exits) {
  double low = *std::min_element(loss.begin(), loss.end()), high = *std::max_element(loss.begin(), loss.end());
  double margin = std::max(0.01, (high - low) * 0.1);
  Panel first(0, title + ": loss (nats) by loops", low - margin, high + margin, counts.size());
  Panel second(width, "agreement with the default count", 0, 1, counts.size());
  for (size_t i = 0; i < counts.size(); ++i) {
    first.columnLabel(i, std::to_string(counts[i]));
    second.columnLabel(i, std::to_string(counts[i]));
  }
  first.line(loss, "#1f5fa8");
  second.line(agreement, "#a8521f");
  std::string body = first.text() + second.text();
  double total = 2 * width;
  if (!exits.empty()) {
    Panel third(total, "exit distribution", 0, std::max(0.01, *std::max_element(exits.begin(), exits.end()) * 1.1),
                exits.size());
    for (size_t i = 0; i < exits.size(); ++i)
      third.columnLabel(i, std::to_string(i + 1));
    third.bars(exits, "#3f7f3f");
    body += third.text();
    total += width;
  }
  char head[256];
  std::snprintf(head, sizeof head,
                "<svg xmlns='http://www.w3.org/2000/svg' width='%.0f' height='%.0f' font-family='sans-serif'>\n"
                "<rect width='100%%' height='100%%' fill='white'/>\n",
                total, height);
  return head + body + "</svg>\n";
}

} // namespace loopc::driver
