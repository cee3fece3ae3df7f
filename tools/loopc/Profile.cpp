// The profile of a benchmark as table, JSON and page.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Profile.h"
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <numeric>

namespace loopc::driver {
namespace {

template <typename... Args> std::string format(const char *pattern, Args... args) {
  char text[256];
  std::snprintf(text, sizeof text, pattern, args...);
  return text;
}

double mean(const std::vector<double> &values) {
  return values.empty() ? 0 : std::accumulate(values.begin(), values.end(), 0.0) / double(values.size());
}

std::string si(double value) {
  static const char *const units[] = {"", " K", " M", " G", " T"};
  size_t unit = 0;
  for (; value >= 1000 && unit < 4; ++unit)
    value /= 1000;
  return format(unit ? "%.3g%s" : "%.0f%s", value, units[unit]);
}

/// What a phase's time is counted as, and its colour in the page.
enum Kind { Linear, Attention, Rows, Waiting, Outside, kinds };
constexpr std::array<const char *, kinds> kindNames = {"linears", "attention", "rows", "waiting", "outside of stages"};
constexpr std::array<const char *, kinds> kindClasses = {"linear", "attention", "rows", "waiting", "outside"};

Kind kindOf(const codegen::PhaseCost &cost) {
  return cost.historyFlops > 0 ? Attention : cost.flops > 0 ? Linear : Rows;
}

/// Seconds of a step by kind: means over the workers, so that they add up to the step.
std::array<double, kinds> byKind(const Profile &profile) {
  std::array<double, kinds> sums = {};
  double inside = 0;
  for (const ProfileRow &row : profile.rows) {
    sums[kindOf(*row.cost)] += mean(row.busy);
    sums[Waiting] += mean(row.waited);
    inside += mean(row.busy) + mean(row.waited);
  }
  sums[Outside] = std::max(0.0, profile.step - inside);
  return sums;
}

std::string eachWorker(const std::vector<double> &seconds) {
  if (seconds.size() > 4) {
    auto [least, most] = std::minmax_element(seconds.begin(), seconds.end());
    return format("%.3f to %.3f", *least * 1e3, *most * 1e3);
  }
  std::string text;
  for (double one : seconds)
    text += (text.empty() ? "" : " ") + format("%.3f", one * 1e3);
  return text;
}

std::string fraction(double floor, double seconds) {
  return seconds > 0 ? format("%.0f %%", 100 * floor / seconds) : "-";
}

double floorSeconds(const Profile &profile) {
  double sum = 0;
  for (const ProfileRow &row : profile.rows)
    sum += row.work.seconds;
  return sum;
}

/// The cells of a row, in the order of `columns`.
constexpr std::array<const char *, 11> columns = {
    "stage",      "phase", "times", "ms",          "of step",    "ms of each worker",
    "waiting ms", "bytes", "FLOPs", "roofline ms", "of roofline"};
std::array<std::string, columns.size()> cells(const Profile &profile, const ProfileRow &row) {
  double busy = mean(row.busy);
  return {row.cost->stage,
          row.cost->what,
          format("%g", row.work.times),
          format("%.3f", busy * 1e3),
          fraction(busy, profile.step),
          eachWorker(row.busy),
          format("%.3f", mean(row.waited) * 1e3),
          bytesText(row.work.bytes),
          si(row.work.flops),
          format("%.3f", row.work.seconds * 1e3),
          fraction(row.work.seconds, busy)};
}

std::array<std::string, columns.size()> totals(const Profile &profile) {
  std::array<double, kinds> sums = byKind(profile);
  double bytes = 0, flops = 0, busy = sums[Linear] + sums[Attention] + sums[Rows];
  for (const ProfileRow &row : profile.rows) {
    bytes += row.work.bytes;
    flops += row.work.flops;
  }
  return {"all",
          "",
          "",
          format("%.3f", busy * 1e3),
          fraction(busy, profile.step),
          "",
          format("%.3f", sums[Waiting] * 1e3),
          bytesText(bytes),
          si(flops),
          format("%.3f", floorSeconds(profile) * 1e3),
          fraction(floorSeconds(profile), profile.step)};
}

std::string machineText(const Machine &machine) {
  return format("roofline: %.1f GB/s from memory, %.1f GB/s for weights of an iteration again, %.1f GB/s in caches, "
                "%.1f GFLOP/s",
                machine.memory / 1e9, machine.core / 1e9, machine.cache / 1e9, machine.peak / 1e9);
}

std::string escaped(const std::string &text) {
  std::string result;
  for (char c : text)
    result += c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '&' ? "&amp;" : c == '"' ? "&quot;" : std::string(1, c);
  return result;
}

constexpr double barLeft = 76, barWidth = 1000, barHeight = 30, barGap = 14, barTop = 30;

/// A part of a bar with its hover title.
std::string part(double &x, double y, double seconds, double step, const char *kind, const std::string &title) {
  double width = barWidth * seconds / step;
  if (width < 0.02)
    return "";
  std::string text =
      format("<rect class='%s' x='%.2f' y='%.1f' width='%.2f' height='%.1f'><title>", kind, x, y, width, barHeight) +
      escaped(title) + "</title></rect>\n";
  x += width;
  return text;
}

/// 1, 2 or 5 times a power of ten: at most ten steps reach `length`.
double roundStep(double length) {
  double step = std::pow(10, std::floor(std::log10(length / 10)));
  for (double factor : {1.0, 2.0, 5.0})
    if (length <= 10 * factor * step)
      return factor * step;
  return 10 * step;
}

/// One bar for each worker: phases in program order, each after the waiting before it.
std::string bars(const Profile &profile) {
  size_t workers = profile.rows.empty() ? 0 : profile.rows.front().busy.size();
  double height = barTop + double(workers) * (barHeight + barGap) + 24;
  std::string svg = format("<svg viewBox='0 0 %.0f %.0f' role='img' aria-label='time of a step by worker and phase'>\n",
                           barLeft + barWidth + 20, height);
  double bottom = barTop + double(workers) * (barHeight + barGap) - barGap;
  double step = roundStep(profile.step * 1e3);
  for (double tick = 0; tick <= profile.step * 1e3; tick += step) {
    double x = barLeft + barWidth * tick / (profile.step * 1e3);
    svg += format("<path class='grid' d='M%.1f %.1fV%.1f'/><text x='%.1f' y='%.1f' text-anchor='middle'>%g%s</text>\n",
                  x, barTop - 6, bottom + 6, x, bottom + 22, tick, tick == 0 ? " ms" : "");
  }
  for (size_t worker = 0; worker < workers; ++worker) {
    double x = barLeft, y = barTop + double(worker) * (barHeight + barGap);
    svg += format("<text x='%.1f' y='%.1f' text-anchor='end'>worker %zu</text>\n", barLeft - 8, y + barHeight / 2 + 4,
                  worker);
    std::string stage;
    for (const ProfileRow &row : profile.rows) {
      if (row.cost->stage != stage) {
        stage = row.cost->stage;
        svg += format("<path class='edge' d='M%.2f %.1fV%.1f'/>\n", x, y - 4, y + barHeight + 4);
        if (worker == 0)
          svg += format("<text x='%.1f' y='%.1f'>", x + 2, barTop - 10) + stage + "</text>\n";
      }
      std::string name = stage + ": " + row.cost->what;
      svg += part(x, y, row.waited[worker], profile.step, kindClasses[Waiting],
                  name + format(": waiting before it %.3f ms", row.waited[worker] * 1e3));
      svg += part(x, y, row.busy[worker], profile.step, kindClasses[kindOf(*row.cost)],
                  name + format(", %g times: %.3f ms, %s, %s FLOPs, roofline %.3f ms (%s)", row.work.times,
                                row.busy[worker] * 1e3, bytesText(row.work.bytes).c_str(), si(row.work.flops).c_str(),
                                row.work.seconds * 1e3, fraction(row.work.seconds, row.busy[worker]).c_str()));
    }
    double rest = profile.step - (x - barLeft) / barWidth * profile.step;
    svg += part(x, y, std::max(0.0, rest), profile.step, kindClasses[Outside],
                format("outside of stages: %.3f ms", rest * 1e3));
  }
  return svg + "</svg>\n";
}

std::string legend(const Profile &profile) {
  std::array<double, kinds> sums = byKind(profile);
  std::string text = "<p class='legend'>";
  for (int kind = 0; kind < kinds; ++kind)
    text +=
        format("<span><i class='%s'></i>%s %.3g ms (%s)</span> ", kindClasses[size_t(kind)], kindNames[size_t(kind)],
               sums[size_t(kind)] * 1e3, fraction(sums[size_t(kind)], profile.step).c_str());
  return text + "</p>\n";
}

constexpr const char *style = R"(
:root{color-scheme:light dark;--paper:#fff;--ink:#1d1f21;--soft:#62686e;--line:#d9dde1;--linear:#2d6cb0;--attention:#cf7a1c;--rows:#3f9454;--waiting:#c3c8ce;--outside:#8f969d}
@media(prefers-color-scheme:dark){:root{--paper:#16181a;--ink:#e4e6e8;--soft:#9aa1a8;--line:#33383d;--linear:#5b9be0;--attention:#e59b45;--rows:#62b878;--waiting:#4d545b;--outside:#747b83}}
body{margin:24px auto;max-width:1160px;padding:0 16px;background:var(--paper);color:var(--ink);font:14px/1.45 system-ui,sans-serif}
h1{font-size:18px;margin:0 0 4px}h2{font-size:15px;margin:24px 0 8px}p{margin:4px 0;color:var(--soft)}
svg{width:100%;height:auto;display:block}svg text{font-size:12px;fill:var(--soft)}
.grid{stroke:var(--line)}.edge{stroke:var(--ink);stroke-width:1}
rect.linear{fill:var(--linear)}rect.attention{fill:var(--attention)}rect.rows{fill:var(--rows)}rect.waiting{fill:var(--waiting)}rect.outside{fill:var(--outside)}
rect{stroke:var(--paper);stroke-width:.4}rect:hover{opacity:.7}
.legend span{margin-right:16px;white-space:nowrap}.legend i{display:inline-block;width:11px;height:11px;margin-right:5px}
i.linear{background:var(--linear)}i.attention{background:var(--attention)}i.rows{background:var(--rows)}i.waiting{background:var(--waiting)}i.outside{background:var(--outside)}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:13px;font-variant-numeric:tabular-nums}
th,td{padding:3px 8px;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}th{color:var(--soft);font-weight:600}
th:nth-child(-n+2),td:nth-child(-n+3){text-align:left}tr:last-child td{font-weight:600;border:0}
.shares{min-width:120px}.share{display:inline-block;height:9px}.share.linear{background:var(--linear)}.share.attention{background:var(--attention)}.share.rows{background:var(--rows)}
)";

} // namespace

std::string profileText(const Profile &profile) {
  std::string text = "phases of a step, means over the workers\n|", line = "\n|";
  for (const char *column : columns) {
    text += std::string(" ") + column + " |";
    line += " --- |";
  }
  text += line + "\n";
  auto add = [&](const std::array<std::string, columns.size()> &row) {
    text += "|";
    for (const std::string &cell : row)
      text += " " + cell + " |";
    text += "\n";
  };
  for (const ProfileRow &row : profile.rows)
    add(cells(profile, row));
  add(totals(profile));
  std::array<double, kinds> sums = byKind(profile);
  text += format("a step takes %.3f ms:", profile.step * 1e3);
  for (int kind = 0; kind < kinds; ++kind)
    text += format("%s %s %.3f ms (%s)", kind ? "," : "", kindNames[size_t(kind)], sums[size_t(kind)] * 1e3,
                   fraction(sums[size_t(kind)], profile.step).c_str());
  return text + "\n" + machineText(profile.machine);
}

Json profileJson(const Profile &profile) {
  Json phases = Json::array();
  auto milliseconds = [](std::vector<double> seconds) {
    for (double &one : seconds)
      one *= 1e3;
    return seconds;
  };
  for (const ProfileRow &row : profile.rows)
    phases.push_back({{"stage", row.cost->stage},
                      {"name", row.cost->name},
                      {"what", row.cost->what},
                      {"times", row.work.times},
                      {"ms", milliseconds(row.busy)},
                      {"waiting_ms", milliseconds(row.waited)},
                      {"bytes", row.work.bytes},
                      {"flops", row.work.flops},
                      {"roofline_ms", row.work.seconds * 1e3},
                      {"roofline_fraction", mean(row.busy) > 0 ? row.work.seconds / mean(row.busy) : 0}});
  return {{"ms_per_step", profile.step * 1e3}, {"outside_ms", byKind(profile)[Outside] * 1e3}, {"phases", phases}};
}

std::string profilePage(const Profile &profile) {
  std::string page =
      "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
      "<meta name='viewport' content='width=device-width,initial-scale=1'><title>loopc profile</title>\n<style>";
  page += style;
  page += "</style></head><body>\n<h1>Where a step goes</h1>\n<p>" + escaped(profile.title) + "</p>\n<p>" +
          machineText(profile.machine) + "</p>\n<h2>Workers</h2>\n" + legend(profile) + bars(profile);
  page += "<h2>Phases</h2>\n<div class='scroll'><table><thead><tr>";
  for (const char *column : columns)
    page += std::string("<th>") + column + (column == columns[1] ? "</th><th></th>" : "</th>");
  page += "</tr></thead><tbody>\n";
  double most = 1e-12;
  for (const ProfileRow &row : profile.rows)
    most = std::max(most, mean(row.busy));
  for (const ProfileRow &row : profile.rows) {
    page += "<tr>";
    size_t number = 0;
    for (const std::string &cell : cells(profile, row)) {
      page += "<td>" + escaped(cell) + "</td>";
      if (number++ == 1)
        page += format("<td class='shares'><span class='share %s' style='width:%.0fpx'></span></td>",
                       kindClasses[kindOf(*row.cost)], 120 * mean(row.busy) / most);
    }
    page += "</tr>\n";
  }
  page += "<tr>";
  size_t number = 0;
  for (const std::string &cell : totals(profile))
    page += "<td>" + escaped(cell) + (number++ == 1 ? "</td><td></td>" : "</td>");
  return page + "</tr>\n</tbody></table></div>\n</body></html>\n";
}

} // namespace loopc::driver
