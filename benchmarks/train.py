#!/usr/bin/env python3
"""Speed of a training step, loss and gradients of every weight without an optimizer: loopc beside PyTorch eager in alternating rounds.

    python3 benchmarks/train.py [--model parcae-140m] [--batch 1] [--tokens 512] [--loops 8] [--window 4] [--json FILE]

Both compute the same shapes in f32 with random weights: the last `window` of `loops` iterations are reversed, the loss is the mean over all
positions. A line gives tokens per second and, in parentheses, the ratio of times (above 1: loopc is faster).
"""
import json
import statistics
import time

import cases
import common


def torch_step(options, config):
    """A function that runs one step in PyTorch."""
    import torch
    import torch.nn.functional as F
    from torch_models import MODELS, rms
    torch.set_num_threads(options.threads)
    kind = options.model[0].split("-")[0]
    if kind != "parcae":
        raise SystemExit(f"--model: expected a Parcae, whose training PyTorch runs here, but got {options.model[0]}")
    model = MODELS[kind](config, torch.float32, options.loops).requires_grad_(True)
    ids = torch.randint(model.vocab, (options.batch, options.tokens + 1), generator=model.generator)
    tokens, labels = ids[:, :-1], ids[:, 1:]
    cos, sin = model.angles(options.tokens)
    attend = lambda plane: lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True)

    def step():
        model.zero_grad(set_to_none=True)
        rest = tokens, cos, sin, attend
        e = rms(model.block(model.prelude, 0, F.embedding(tokens, model.embed), *rest), model.ln_prelude, model.eps)
        s = model.start.expand(*tokens.shape, -1)
        for iteration in range(model.loops):
            with torch.set_grad_enabled(options.window is None or iteration >= model.loops - options.window):
                dt = F.softplus(model.dt_bias)
                s = model.block(model.core, 0, torch.exp(-dt * torch.exp(model.a_log)) * s + dt * F.linear(e, model.b), *rest)
        y = rms(model.block(model.coda, 0, F.linear(s, model.c), *rest), model.ln_f, model.eps)
        F.cross_entropy(F.linear(y, model.embed).flatten(0, 1), labels.flatten()).backward()
    return step


def loopc_step(options):
    spec, _ = cases.spec_of(options.model[0])
    window = [] if options.window is None else ["--window", options.window]
    return json.loads(common.run_loopc(options.loopc, "bench", spec, "--config", cases.config_path(options.model[0]), "--random-weights", 1,
                                       "--what", "train", "--batch", options.batch, "--context", options.tokens, "--loops", options.loops, *window,
                                       "--threads", options.threads, "--steps", options.steps, "--json"))


def main():
    parser = common.parser(__doc__, ["f32"])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--loops", type=int, default=8)
    parser.add_argument("--window", type=int, help="iterations that are reversed (default: all)")
    parser.add_argument("--steps", type=int, default=2, help="steps of a round")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    options.model = options.model or ["parcae-140m"]
    eager = torch_step(options, json.loads(cases.config_path(options.model[0]).read_text()))
    eager()  # touches fresh memory
    ours, theirs = [], []
    for _ in range(options.rounds):
        for _ in range(options.steps):
            begin = time.perf_counter()
            eager()
            theirs.append(time.perf_counter() - begin)
        ours.append(loopc_step(options)["ms_per_step"] / 1e3)
    count = options.batch * options.tokens
    own, other = statistics.median(ours), statistics.median(theirs)
    common.header("model", "tokens", "iterations", "reversed", "loopc", "torch-eager")
    common.line(options.model[0], f"{options.batch} x {options.tokens}", options.loops, options.window or "all",
                f"{count / own:.0f}", f"{count / other:.0f} ({other / own:.2f})")
    if options.json:
        options.json.write_text(json.dumps({"loopc_s": own, "torch_eager_s": other, "tokens": count, "loops": options.loops,
                                            "window": options.window}) + "\n")


if __name__ == "__main__":
    main()
