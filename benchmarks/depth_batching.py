#!/usr/bin/env python3
"""What adaptive exit saves when lanes of different depths share calls: the small trained Ouro, many requests at once.

For each threshold: iterations per token made (a prompt is read in one pass, so its tokens hold nobody up), the saving that
this mean promises (1 - mean / loops), and what came of it: core iterations of the whole batch, time inside core calls, time
of the whole run, each beside the run of fixed depth. Runs of fixed and adaptive depth alternate; times are medians. The goal
is 90 % of the promise in core iterations and core time. Towards the end fewer requests than slots are left, which costs up to
the length of one request: few long requests keep less of the promise.
"""
import argparse
import html
import json
import pathlib
import statistics
import struct
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
WEIGHTS = ROOT / "test/models/ouro-mini"
COLOURS = ["#dbe9f6", "#9ecae1", "#4292c6", "#08519c", "#08306b", "#67000d", "#a50f15", "#fb6a4a"]


def tokens_of(path):
    """The integers of the first tensor of a safetensors file."""
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + length])
    name, tensor = next((n, t) for n, t in header.items() if n != "__metadata__")
    begin, end = (8 + length + offset for offset in tensor["data_offsets"])
    kind = {"I32": "i", "I64": "q", "U16": "H", "I16": "h"}[tensor["dtype"]]
    return list(struct.unpack(f"<{(end - begin) // struct.calcsize(kind)}{kind}", data[begin:end]))


def run(options, requests, *arguments):
    """One run of all requests: results in order, what the scheduler did."""
    command = [options.loopc, "run", ROOT / "models/ouro.loop", "--weights", WEIGHTS, "--kv", "depth_indexed, holes last_exited",
               "--batch", requests, "-n", options.count, "--slots", options.slots, "--threads", options.threads, "--dtype",
               options.dtype, "--ignore-eos", "--stats", *arguments]
    result = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if result.returncode:
        raise SystemExit(f"loopc run --batch ended with {result.returncode}: {result.stderr.strip()[-2000:]}")
    stats = json.loads(result.stderr[result.stderr.index("\n{") + 1:])
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    # The clock of the last request runs from the start of the batch: compilation and loading are not in it.
    return lines, dict(stats, wall=max(line["seconds"] for line in lines))


def mean_loops(lines):
    return statistics.mean(depth for line in lines for depth in line["loops_run_per_token"])


def figures(options, requests):
    fixed_runs, runs = [], {threshold: [] for threshold in options.threshold}
    strips = {}
    for _ in range(options.rounds):
        fixed_lines, stats = run(options, requests, "--exit", "off")
        fixed_runs.append(stats)
        for threshold in options.threshold:
            lines, stats = run(options, requests, "--exit", threshold, "--exit-mode", "leave")
            runs[threshold].append(stats)
            strips[threshold] = lines
    median = lambda of, key: statistics.median(key(stats) for stats in of)
    core = lambda stats: stats["seconds"]["core"]
    fixed = fixed_runs[0]
    loops = mean_loops(fixed_lines)
    rows = []
    for threshold, of in runs.items():
        mean = mean_loops(strips[threshold])
        promise = 1 - mean / loops
        share = lambda saved: saved / promise if promise > 0 else float("nan")
        rounds = 1 - of[0]["rounds"] / fixed["rounds"]
        time = 1 - median(of, core) / median(fixed_runs, core)
        whole = 1 - median(of, lambda s: s["wall"]) / median(fixed_runs, lambda s: s["wall"])
        rows.append({"threshold": threshold, "mean_loops": mean, "promised": promise, "rounds_saved": rounds,
                     "rounds_share": share(rounds), "core_seconds_saved": time, "core_seconds_share": share(time),
                     "seconds_saved": whole, "lanes_per_round": of[0]["lane_iterations"] / of[0]["rounds"],
                     "tokens_per_second": of[0]["tokens"] / median(of, lambda s: s["wall"])})
    return {"loops": loops, "fixed_rounds": fixed["rounds"], "fixed_core_seconds": median(fixed_runs, core),
            "fixed_tokens_per_second": fixed["tokens"] / median(fixed_runs, lambda s: s["wall"]), "rows": rows}, strips


def picture(result, strips, requests):
    """Each threshold: a text with the iterations of every token as its colour, and how often each depth occurred."""
    loops = round(result["loops"])
    cell, gap, left, top = 9, 58, 250, 60
    most = max(len(lines[0]["loops_per_token"]) for lines in strips.values())
    width, height = left + most * cell + 20, top + gap * len(strips) + 20
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
           'font-family="sans-serif" font-size="12">', '<rect width="100%" height="100%" fill="white"/>',
           f'<text x="10" y="20" font-size="14">Iterations of each token ({html.escape(requests)})</text>']
    for depth in range(1, loops + 1):
        x = left + (depth - 1) * 60
        out += [f'<rect x="{x}" y="30" width="{cell}" height="{cell + 4}" fill="{COLOURS[(depth - 1) % len(COLOURS)]}"/>',
                f'<text x="{x + 14}" y="41">{depth}</text>']
    for index, row in enumerate(result["rows"]):
        y = top + gap * index
        lines = strips[row["threshold"]]
        out += [f'<text x="10" y="{y + 12}">threshold {row["threshold"]}: {row["mean_loops"]:.2f} per token</text>',
                f'<text x="10" y="{y + 28}" fill="#555">promised {row["promised"]:.0%}, core {row["rounds_saved"]:.0%} saved</text>']
        for i, depth in enumerate(lines[0]["loops_per_token"]):
            out.append(f'<rect x="{left + i * cell}" y="{y}" width="{cell - 1}" height="14" '
                       f'fill="{COLOURS[(depth - 1) % len(COLOURS)]}"><title>token {i}: {depth}</title></rect>')
        counts = [sum(line["loops_per_token"].count(depth) for line in lines) for depth in range(1, loops + 1)]
        x = left
        for depth, count in enumerate(counts):
            w = count / max(sum(counts), 1) * most * cell
            out.append(f'<rect x="{x:.1f}" y="{y + 20}" width="{w:.1f}" height="12" fill="{COLOURS[depth % len(COLOURS)]}">'
                       f'<title>{depth + 1} iterations: {count} tokens</title></rect>')
            x += w
    return "\n".join(out + ["</svg>"]) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threshold", type=float, action="append", help="of the exit probability (default: 0.3 0.5 0.7)")
    parser.add_argument("--requests", type=int, default=256)
    parser.add_argument("--prompt", type=int, default=16, help="tokens of a prompt")
    parser.add_argument("--count", type=int, default=48, help="tokens made for each")
    parser.add_argument("--slots", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", default="f32", choices=["f32", "bf16"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--loopc", default=str(ROOT / "build/bin/loopc"))
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE")
    parser.add_argument("--plot", type=pathlib.Path, metavar="FILE", help="write the picture here (.svg)")
    options = parser.parse_args()
    options.threshold = options.threshold or [0.3, 0.5, 0.7]
    text = tokens_of(WEIGHTS / "validation.safetensors")
    with tempfile.TemporaryDirectory() as directory:
        requests = pathlib.Path(directory) / "requests.jsonl"
        requests.write_text("".join(json.dumps({"tokens": text[i * 97:i * 97 + options.prompt]}) + "\n" for i in range(options.requests)))
        result, strips = figures(options, requests)
    print(f"{options.requests} requests of {options.prompt} + {options.count} tokens, {options.slots} at a time; fixed depth: "
          f"{result['loops']:.0f} iterations, {result['fixed_rounds']} core iterations of the batch, "
          f"{result['fixed_tokens_per_second']:.0f} tokens/s")
    print("| threshold | iterations per token | promised | core iterations saved | of the promise | core time saved | of the promise | "
          "whole run | tokens/s |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for row in result["rows"]:
        print(f"| {row['threshold']} | {row['mean_loops']:.2f} | {row['promised']:.1%} | {row['rounds_saved']:.1%} | {row['rounds_share']:.0%} | "
              f"{row['core_seconds_saved']:.1%} | {row['core_seconds_share']:.0%} | {row['seconds_saved']:.1%} | {row['tokens_per_second']:.0f} |")
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    if options.plot:
        options.plot.write_text(picture(result, strips, f"{options.requests} requests, {options.slots} at a time"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
