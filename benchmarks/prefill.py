#!/usr/bin/env python3
"""Speed of reading a prompt: loopc beside its peers in alternating rounds, medians and ratios.

    python3 benchmarks/prefill.py [--model parcae-140m] [--dtype bf16] [--tokens 512] [--peers torch-eager,llama.cpp] [--json FILE] [--plot FILE]

Every side computes the same shapes with random weights and gives the logits of the last position. A line gives tokens per second of loopc
and of each peer and, in parentheses, the ratio of times (above 1: loopc is faster). docs/benchmarks.md says how each is run.
"""
import json
import sys

import common

DEFAULT_MODELS = ["parcae-140m", "ouro-1.4b"]


def main():
    parser = common.parser(__doc__)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--steps", type=int, default=2, help="prompts of a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--loops", type=int, help="default: as published")
    options = parser.parse_args()
    peers = [name for name in common.chosen_peers(options) if options.peers or name in ("torch-eager", "torch-compiled", "llama.cpp")]
    print(f"{options.threads} threads, prompts of {options.tokens} tokens, tokens/s; in parentheses: loopc / peer, above 1 loopc is faster")
    common.header("model", "type", "loopc", *peers)
    rows = []
    for model in options.model or DEFAULT_MODELS:
        for dtype in options.dtype or (["f32", "bf16"] if model != "ouro-1.4b" else ["bf16"]):
            case = common.Case(model, "prefill", dtype, options.batch, options.tokens, options.steps, options.threads, options.loops)
            row = common.compare(case, peers, options.rounds, options.loopc, options.python)
            rate = lambda ms: 1e3 * options.batch * options.tokens / ms
            row["tokens_per_second"] = rate(row["loopc_ms"])
            for peer in row["peers"].values():
                if "ms" in peer:
                    peer["tokens_per_second"] = rate(peer["ms"])
            rows.append(row)
            cells = [f"{p['tokens_per_second']:.4g} ({p['ratio']:.2f})" if "ms" in p else "-" for p in row["peers"].values()]
            common.line(model, dtype, f"{row['tokens_per_second']:.4g}", *cells)
    for note in common.notes(rows):
        print("left out: " + note)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    if options.plot:
        groups = [(f"{row['model']} {row['dtype']}", [("loopc", row["tokens_per_second"])] +
                   [(name, peer.get("tokens_per_second")) for name, peer in row["peers"].items()]) for row in rows]
        common.bar_plot(options.plot, f"Prefill of {options.tokens} tokens", groups, "tokens/s")


if __name__ == "__main__":
    sys.exit(main())
