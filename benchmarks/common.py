"""What the benchmarks share: calls of loopc, rounds that alternate, tables, plots, options."""
import argparse
import html
import json
import pathlib
import statistics
import subprocess
import sys

import cases
from peers import PEERS, Case, Worker


def parser(text, types=cases.TYPES):
    result = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("--model", action="append", help=f"{', '.join(cases.MODELS)}, or KIND:CONFIG.json with KIND a spec of models/")
    result.add_argument("--dtype", action="append", choices=types)
    result.add_argument("--threads", type=int, default=2)
    result.add_argument("--peers", help=f"a list separated by commas, or `none` (known: {', '.join(PEERS)})")
    result.add_argument("--python", default=sys.executable, help="interpreter that has the peers' packages")
    result.add_argument("--loopc", default=str(cases.ROOT / "build/bin/loopc"), help="the loopc to time")
    result.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the figures here")
    result.add_argument("--plot", type=pathlib.Path, metavar="FILE", help="write a figure here (.svg or .html)")
    return result


def chosen_peers(options):
    names = list(PEERS) if options.peers is None else [] if options.peers == "none" else options.peers.split(",")
    for name in names:
        if name not in PEERS:
            raise SystemExit(f"--peers: expected some of {', '.join(PEERS)}, but got {name}")
    return names


def run_loopc(loopc, *arguments):
    command = [str(part) for part in (loopc, *arguments)]
    try:
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    except OSError as error:
        raise SystemExit(f"--loopc: expected a program to run, but got {error}")
    if result.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {result.returncode}: {result.stderr.strip()}")
    return result.stdout


class Unavailable(Exception):
    pass


def quantised_file(case, python):
    """Path of the GGUF file, which the interpreter of the peers writes."""
    script = pathlib.Path(__file__).resolve().parent / "llama_file.py"
    result = subprocess.run([python, script, case.model, case.dtype], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if result.returncode:
        reason = result.stderr.strip().splitlines()[-1]
        raise Unavailable(f"{case.model} {case.dtype}: no GGUF file ({reason}): pip install numpy gguf")
    return result.stdout.strip()


def loopc_bench(loopc, case, python=sys.executable):
    """The JSON of `loopc bench`. Quantised weights come from the file that llama.cpp reads."""
    spec, _ = cases.spec_of(case.model)
    source = (["--weights", quantised_file(case, python)] if case.dtype in cases.QUANTISED else
              ["--config", cases.config_path(case.model), "--random-weights", 1, "--dtype", case.dtype])
    loops = ["--loops", case.loops] if case.loops else []
    return json.loads(run_loopc(loopc, "bench", spec, *source, *loops, "--what", case.what, "--batch", case.batch, "--context", case.context,
                                "--threads", case.threads, "--steps", case.steps, "--json"))


def compare(case, peers, rounds, loopc, python):
    """Times loopc and the peers in alternating rounds; gives a row with medians, and ratios that are medians over the rounds."""
    if case.dtype in cases.QUANTISED:
        quantised_file(case, python)
    workers = [Worker(name, case, python) for name in peers]
    ours, theirs = [], {worker.name: [] for worker in workers}
    for index in range(rounds):
        turn = workers[index % len(workers):] + workers[:index % len(workers)] if workers else []
        for worker in turn:
            theirs[worker.name].append(worker.run())
        ours.append(loopc_bench(loopc, case, python))
    own = [result["ms_per_step"] for result in ours]
    row = dict(case._asdict(), loopc_ms=statistics.median(own), peers={})
    for key in ("bandwidth_fraction", "roofline_fraction", "roofline_ms", "read_bandwidth"):
        if key in ours[0]:
            row[key] = statistics.median(result[key] for result in ours)
    for worker in workers:
        times = theirs[worker.name]
        if worker.note:
            row["peers"][worker.name] = {"note": worker.note}
        else:
            row["peers"][worker.name] = {"ms": statistics.median(times), "version": worker.version, "compile_ms": worker.compile_ms,
                                         "ratio": statistics.median(t / o for t, o in zip(times, own))}
        worker.close()
    timed = [peer["ratio"] for peer in row["peers"].values() if "ratio" in peer]
    row["best_peer_ratio"] = min(timed) if timed else None
    return row


def header(*columns):
    print("| " + " | ".join(columns) + " |\n" + "| --- " * len(columns) + "|")


def line(*cells):
    print("| " + " | ".join(str(part) for part in cells) + " |", flush=True)


def cell(peer):
    return f"{peer['ms']:.4g} ({peer['ratio']:.2f})" if "ms" in peer else "-"


def notes(rows):
    """Why figures are missing, each reason once."""
    seen = []
    for row in rows:
        for name, peer in row["peers"].items():
            if "note" in peer:
                where = "" if peer["note"].startswith("not installed") else f" ({row['model']} {row['dtype']})"
                text = f"{name}{where}: {peer['note']}"
                if text not in seen:
                    seen.append(text)
    return seen


COLOURS = ["#1f6fb2", "#c8641b", "#3c8a3c", "#8a4fa3", "#b03a48", "#6b6b6b", "#0f8f8f"]
STYLE = """<style>text{font:12px sans-serif;fill:#222}.axis{stroke:#888;fill:none}.title{font-weight:bold;font-size:13px}
@media(prefers-color-scheme:dark){text{fill:#ddd}.paper{fill:#1a1a1a}}</style>"""


def write_figure(path, width, height, body):
    """Writes an SVG, alone or in a page, that needs nothing else."""
    svg = (f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' width='{width}' height='{height}'>{STYLE}"
           f"<rect class='paper' width='{width}' height='{height}' fill='#fff'/>\n{body}</svg>\n")
    if path.suffix == ".html":
        svg = f"<!doctype html><meta charset='utf-8'><title>{html.escape(path.stem)}</title><body style='margin:0'>\n{svg}"
    path.write_text(svg)


def text(x, y, value, anchor="start", kind=""):
    return f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' class='{kind}'>{html.escape(str(value))}</text>\n"


def bar_plot(path, title, groups, unit):
    """groups: (label, [(series, value or None)]). Horizontal bars, each group with a scale of its own."""
    left, span, line = 150, 430, 18
    y, body = 24, text(8, 18, title, kind="title")
    names = list(dict.fromkeys(series for _, bars in groups for series, _ in bars))
    for label, bars in groups:
        y += 16
        body += text(8, y + 10, label, kind="title")
        y += 18
        known = [value for _, value in bars if value is not None]
        for series, value in bars:
            body += text(left - 8, y + 12, series, "end")
            if value is None:
                body += text(left, y + 12, "none")
            else:
                width = span * value / max(known)
                body += (f"<rect x='{left}' y='{y}' width='{width:.1f}' height='{line - 4}' fill='{COLOURS[names.index(series) % len(COLOURS)]}'>"
                         f"<title>{html.escape(series)}: {value:.4g} {unit}</title></rect>\n" + text(left + width + 6, y + 12, f"{value:.4g} {unit}"))
            y += line
    write_figure(path, left + span + 110, y + 12, body)


def line_plot(path, panels):
    """panels: (title, x label, unit, {series: [(x, y)]}), side by side, from zero."""
    width, height, left, top, bottom = 380, 250, 52, 30, 60
    body = ""
    for number, (title, label, unit, series) in enumerate(panels):
        x0 = number * width
        points = [point for line in series.values() for point in line]
        most_x, most_y = max(p[0] for p in points), max(p[1] for p in points) * 1.1 or 1
        px = lambda x: x0 + left + (width - left - 24) * x / most_x
        py = lambda y: top + (height - top - bottom) * (1 - y / most_y)
        body += text(x0 + left, 18, f"{title} ({unit})", kind="title")
        body += f"<path class='axis' d='M{px(0):.1f} {py(most_y):.1f}V{py(0):.1f}H{px(most_x):.1f}'/>\n"
        for i in range(5):
            body += text(px(0) - 6, py(most_y * i / 4) + 4, f"{most_y * i / 4:.3g}", "end")
        for x in sorted({p[0] for p in points}):
            body += text(px(x), py(0) + 16, f"{x:g}", "middle")
        body += text((px(0) + px(most_x)) / 2, py(0) + 32, label, "middle")
        at = px(0)
        for index, (name, line) in enumerate(series.items()):
            colour = COLOURS[index % len(COLOURS)]
            body += f"<polyline fill='none' stroke='{colour}' stroke-width='2' points='{' '.join(f'{px(x):.1f},{py(y):.1f}' for x, y in line)}'/>\n"
            for x, y in line:
                body += f"<circle cx='{px(x):.1f}' cy='{py(y):.1f}' r='3.5' fill='{colour}'><title>{html.escape(name)}: {x:g}, {y:.4g} {unit}</title></circle>\n"
            body += f"<rect x='{at:.1f}' y='{height - 20}' width='10' height='10' fill='{colour}'/>" + text(at + 14, height - 11, name)
            at += 24 + 7 * len(name)
    write_figure(path, width * len(panels), height, body)
