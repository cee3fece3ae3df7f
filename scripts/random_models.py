#!/usr/bin/env python3
"""Random programs over all constructs that are executed: compiled code against the interpreter, schedules against each other.

    scripts/random_models.py [--programs 40] [--seed S] [--loopc PATH] [--keep DIR]
    scripts/random_models.py --reduce SPEC       # shrink a page for which `loopc verify` fails

Every program is checked, compiled and given to `loopc verify`. A program that the compiler refuses with a code (L....) does not count;
one that fails is shrunk to a small page, printed with the seed that makes it again. The last line says what ran; status 1 if any failed.
Where a program itself moves more than the tolerance when the last bits of its weights change (a chaotic map, a comparison on the edge),
`loopc verify` compares less strictly and says so; such programs are counted.
"""
import argparse
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent


class Program:
    """One random page. `text()` is canonical enough for the checker; every choice comes from `random`."""

    def __init__(self, seed):
        self.r = random.Random(seed)
        self.labels = 0
        self.names = 0
        self.functions = []
        self.indices = []        # of the stacks around
        self.loop = None         # index of the counted loop around
        self.carries = False     # the loop has a carry
        self.planes = False      # the loop keeps a plane for each iteration
        self.whole = self.chance(0.12)  # tokens see later ones
        policy = self.policy()
        shares = policy not in ("depth_indexed", "recompute")
        self.kept = policy, self.pick("token", "token", "by_call", "pass") if shares else None
        self.ordered = policy == "depth_indexed" or self.kept[1] == "token"  # tokens may carry states
        self.config()

    # Small helpers.
    def chance(self, p):
        return self.r.random() < p

    def pick(self, *options):
        return self.r.choice(options)

    def name(self, prefix="v"):
        self.names += 1
        return f"{prefix}{self.names}"

    def label(self):
        self.labels += 1
        indices = list(self.indices)
        if self.loop and self.chance(0.15):
            indices.append(self.loop)
        return f"@u{self.labels}" + (f"[{', '.join(indices)}]" if indices else "")

    def config(self):
        kv = self.pick(1, 2, 3)
        heads = kv * self.pick(1, 2, 3)
        hd = self.pick(4, 6, 8, 10, 32, 34)
        d = heads * hd if self.chance(0.4) else self.pick(8, 12, 20, 33, 48)
        self.size = {"vocab": self.pick(11, 32, 65), "d": d, "heads": heads, "kv": kv, "hd": hd, "ff": self.pick(8, 17, 40), "n": self.pick(2, 3, 4)}
        self.half = d % 2 == 0

    # Functions: each is made once and called at several places.
    def attention(self):
        name = self.name("attention")
        lines = []
        rotates = self.chance(0.7)
        pairs = self.pick("", ", pairs = adjacent", ", pairs = halves, sign = -1")
        theta = self.pick("1e4", "50000.0", "100.0")
        turn = (lambda v: f"rope({v}, {theta}{pairs})") if rotates else (lambda v: v)
        bias = self.pick("", ", bias")
        if self.chance(0.3):
            lines.append(f"q, k, v = linear@qkv(x{bias}) -> [heads, hd], [kv, hd], [kv, hd]")
            if rotates:
                lines.append(f"q = {turn('q')};  k = {turn('k')}")
        else:
            lines += [f"q = {turn(f'linear@q(x{bias}) -> [heads, hd]')}", f"k = {turn('linear@k(x) -> [kv, hd]')}", f"v = linear@v(x{bias}) -> [kv, hd]"]
        if self.chance(0.2):
            lines.append("q = rms_norm@q_norm(q, eps);  k = rms_norm@k_norm(k, eps)")
        extra = self.pick("", "", "", ", softcap = 5.0", ", scale = 0.2")
        mask = self.pick("whole", "prefix(prompt)") if self.whole else self.pick("causal", "causal", "causal", "window(3)", "window(70)")
        if self.chance(0.1):
            lines.append("bound = linear@bound(x) -> [heads]")
            extra += ", keep = dot >= " + self.pick("bound", "-0.3", "bound - norm(q, hd)")
        read = f"attend(q, k, v, {mask}{extra})"
        if self.chance(0.15) and "keep" not in extra:
            lines.append("weight ks: [n, kv, hd];  weight vs: [n, kv, hd]")
            read = f"attend(q, k, v, {mask}{extra}, also = (ks, vs))"
        if self.chance(0.1) and not self.whole:
            lines.append("near = attend(q, k, v, window(2))")
            read = f"0.5 * {read} + 0.5 * near"
        if self.chance(0.2):
            lines.append("gate = sigmoid(linear@gate(x) -> [heads])")
            read = f"gate * {read}"
        lines.append(f"linear@o({read}) -> [d]")
        self.functions.append((f"fn {name}(x: [d]) -> [d]", lines))
        return name

    def mlp(self):
        name = self.name("mlp")
        act = self.pick("silu", "gelu", "gelu_tanh", "relu", "tanh", "softplus", "sigmoid")
        kind = self.r.randrange(4)
        if kind == 0:
            lines = [f"linear@down({act}(linear@gate(x) -> [ff]) * (linear@up(x) -> [ff])) -> [d]"]
        elif kind == 1:
            lines = [f"linear@down({act}(linear@up(x, bias) -> [ff]), bias) -> [d]"]
        elif kind == 2:
            lines = [f"a, g = linear@both(x) -> [ff], [ff]", f"linear@down({act}(a) * g) -> [d]"]
        else:  # experts, all of them, weighted
            lines = ["w = softmax(linear@router(x) -> [n])", "state y = zeros([d])",
                     "stack e < n { mine = sum over n { if iota([n]) == f32(e) then w else 0 };  "
                     f"y = y + mine * (linear@down[e]({act}(linear@up[e](x) -> [ff])) -> [d]) }}", "y"]
        self.functions.append((f"fn {name}(x: [d]) -> [d]", lines))
        return name

    def mixer(self):
        """A function with a state along the tokens."""
        name = self.name("mixer")
        kind = self.r.randrange(3)
        if kind == 0:
            lines = ["a = sigmoid(linear@a(x) -> [d])", "carry s: [d] = 0", "s = a * s + (1 - a) * x", "s"]
        elif kind == 1:
            lines = ["k = normalize(linear@k(x) -> [heads, hd], eps);  v = linear@v(x) -> [heads, hd]", "b = sigmoid(linear@b(x) -> [heads])",
                     "carry S: [heads, hd, hd2] = 0", "S = 0.9 * S + outer(k, b * (reshape(v) -> [heads, hd2])) / sqrt(hd)",
                     "y = sum over hd { S * k }", "linear@o(y) -> [d]"]
        else:
            lines = ["weight w: [d] init uniform(0.1, 0.9)", "carry before: [d] = 0", "y = w * x + (1 - w) * before", "before = x", "y"]
        self.functions.append((f"fn {name}(x: [d]) -> [d]", lines))
        return name

    def norm(self, x):
        kind = self.r.randrange(4)
        return [f"rms_norm{self.label()}({x}, eps)", f"layer_norm{self.label()}({x}, 1e-5)", f"normalize({x}, eps)", x][kind]

    # Expressions of [d] and of one number, of moderate size.
    def scalar(self, x):
        return self.pick(f"(mean over d {{ {x} }})", f"sigmoid(linear{self.label()}({x}) -> [])", f"tanh(linear{self.label()}({x}, bias) -> [])",
                         f"(norm({x}) / (1 + norm({x})))", "(1 / (1 + f32(position)))", f"(max({x}) / (1 + max(abs({x}))))",
                         f"(sum over d {{ softmax({x}) * {x} }})")

    def vector(self, x, depth=2):
        if depth == 0:
            return x
        a = self.vector(x, depth - 1)
        options = [f"tanh({a})", f"silu({a})", f"gelu({a})", f"({a} + {self.scalar(x)})", f"({a} * sigmoid({x}))", f"({a} / (1 + abs({x})))",
                   f"({a} * {self.scalar(x)})", f"sin({a})", f"exp(-abs({a}))", f"log(1 + abs({a}))", f"sqrt(abs({a}) + 0.1)", f"clamp({a}, -1, 2)",
                   f"max({a}, {x} * 0.5)", f"softmax({a})", f"erf({a})", f"(0.5 * ({a}) ^ 2)", f"(if position mod 2 == 0 then {a} else -{x})",
                   f"(if iota([d]) < {self.r.randrange(1, 6)} then {a} else {x})", f"({a} as f32)", f"min({a}, 1)", f"rsqrt({x} ^ 2 + 1)"]
        if self.half:
            options.append(f"(reshape(concat(slice({a}, d div 2, d div 2), slice({x}, 0, d div 2))) -> [d])")
        if self.loop:
            options += [f"({a} * (1 / (1 + f32({self.loop}))))", f"({a} + sin(f32({self.loop}) * iota([d])))", f"(if {self.loop} == 0 then {a} else {x})"]
        return self.pick(*options)

    def statements(self, x, count, inner=True):
        """Lines that change state `x` of [d]. A block is a pair (head, lines)."""
        lines = []
        for _ in range(count):
            kinds = ["attention", "attention", "mlp", "mlp", "vector", "where", "inject", "lanes", "shift", "mixer", "if", "noise"]
            if self.whole:
                kinds += ["crowd", "crowd"]
            if inner:
                kinds += ["stack", "stack"]
                if self.loop:
                    kinds += ["loop"]
            kind = self.pick(*kinds)
            if kind == "attention":
                call = f"{self.function('attention')}{self.label()}({self.norm(x)})"
                lines.append(self.pick(f"{x} = {x} + {call}", f"{x} = normalize({x} + {call}, eps)"))
            elif kind == "mlp":
                lines.append(f"{x} = {x} + {self.function('mlp')}{self.label()}({self.norm(x)})")
            elif kind == "vector":
                v = self.name()
                lines.append(f"{v} = {self.vector(x)}")
                lines.append(f"{x} = {x} + 0.5 * {self.norm(v)}")
            elif kind == "where":
                condition = self.pick("token mod 3 == 1", "position mod 2 == 1", f"{self.scalar(x)} > 0.1234")
                body = self.statements(x, 1, False) if self.chance(0.5) else [f"{x} = {self.norm(self.vector(x, 1))}"]
                lines.append((f"where {condition} {{", body))
            elif kind == "inject":
                if self.loop:
                    lines.append(self.pick(f"{x} = {x} + e", f"{x} = linear{self.label()}({x}, e) -> [d]", f"{x} = linear{self.label()}(e, {x}, bias) -> [d]",
                                           f"g{self.names + 1} = sigmoid(linear{self.label()}({x}, e) -> [d]);  {x} = g{self.names + 1} * {x} + (1 - g{self.names + 1}) * e"))
                    self.names += 1
                else:
                    w = self.name("w")
                    weight = f"{w}[{', '.join(self.indices)}].a" if self.indices else f"{w}.a"
                    lines.append(f"weight {weight}: [d] init uniform(-1, 1)")
                    lines.append(f"{x} = {x} * (1 + 0.3 * a)")
            elif kind == "lanes":
                h = self.name("h")
                lines.append(f"{h} = linear{self.label()}({x}) -> [n, d]")
                lines.append(f"{x} = {x} + sum over n {{ softmax(linear{self.label()}({x}) -> [n]) * {h} }}")
            elif kind == "shift" and not self.whole:
                lines.append(f"{x} = 0.7 * {x} + 0.5 * " + self.pick(f"shift({x})", f"shift({x}, 2)"))
            elif kind == "mixer" and not self.whole and self.ordered:
                self.carries = True
                lines.append(f"{x} = {x} + {self.function('mixer')}{self.label()}({self.norm(x)})")
            elif kind == "if":
                lines.append((f"if {self.pick('d > 4', 'heads == kv', 'n mod 2 == 0')} {{", [f"{x} = {x} + 0.1 * {self.vector(x, 1)}"]))
            elif kind == "noise" and not self.indices:
                z = self.name("z")
                law = self.pick("normal(std = 0.1)", "uniform()", "truncated_normal(std = 0.5, clip = 2)")
                scope = self.pick("", " per sequence", " per run")
                lines.append(f"{z} ~ {law} -> [d]{scope}")
                lines.append(f"{x} = {x} + 0.3 * {z}")
            elif kind == "crowd":
                lines.append(f"{x} = {x} + 0.5 * " + self.pick(f"(mean over sequence {{ {x} }})", f"tanh(sum over sequence {{ 0.1 * {x} }})", f"(max over sequence {{ {x} }})",
                                                                f"(first over sequence {{ {x} }})", f"(last over sequence {{ {x} }})"))
            elif kind == "stack":
                i = self.name("i")
                unrolled = self.chance(0.2)
                self.indices.append(i)
                body = self.statements(x, self.r.randrange(1, 3), False)
                self.indices.pop()
                lines.append((f"stack {i} < {self.r.randrange(1, 4)}{', unrolled' if unrolled else ''} {{", body))
            elif kind == "loop":
                k = self.name("k")
                lines.append((f"loop {k} < {self.r.randrange(1, 4)} {{", self.statements(x, self.r.randrange(1, 3), False)))
        return lines or [f"{x} = {self.norm(self.vector(x))}"]

    def function(self, kind):
        known = [head.split("(")[0][3:] for head, _ in self.functions if head.startswith(f"fn {kind}")]
        return self.pick(*known) if known and self.chance(0.6) else getattr(self, kind)()

    def policy(self):
        if self.whole:
            return self.pick("recompute", "recompute", "depth_indexed")
        return self.pick("depth_indexed", "depth_indexed", "depth_indexed", "depth_indexed", "single", "single(keep = first)", "single(keep = mean)", "ring(2)", "ring(3)", "stride(2)",
                         "first_then_shared(2)", "anchor(1, 2)", "last(2)", "boundaries", "recompute")

    def counted_loop(self):
        policy, order = self.kept
        shares = order is not None
        solver = policy == "recompute" and self.chance(0.4)
        self.loop, self.carries = "t", False
        self.planes = policy == "depth_indexed"  # each iteration has rows of its own
        before = []
        if self.chance(0.3):
            before.append("state s = 0.5 * x")
        body = self.statements("x", self.r.randrange(1, 5))
        if before:
            body += [f"s = 0.6 * s + 0.4 * {self.norm('x')}", "x = x + 0.3 * s"]
        if self.planes and not self.whole and not self.carries and self.chance(0.3):  # keys of the first or of all iterations
            where = self.pick("t = 0", "..=t")
            q = self.label()
            body += [f"q = linear{q}.q(x) -> [heads, hd]", f"k = linear{q}.k(x) -> [kv, hd];  v = linear{q}.v(x) -> [kv, hd]",
                     f"x = x + (linear{q}.o(attend(q, k[{where}], v[{where}], causal)) -> [d])"]
        body.append(self.pick("x = normalize(x, eps)", f"x = {self.norm('x')}", "x = 0.8 * x"))
        clauses = [f"kv {policy}"]
        if solver:
            before, body = [], [line for line in body if "s = 0.6" not in line and "0.3 * s" not in line]
            clauses.append(self.pick("by picard", "by anderson(3)", "by anderson(2, mixing = 0.7)"))
        if not solver and self.chance(0.35):
            body.append(f"p = sigmoid(linear{self.label()}(x, bias) -> [])")
            body.append(self.pick("exit when p > 0.61803", "exit when p > 0.5772 and t > 0", "exit per sequence when (mean over sequence { p }) > 0.5772",
                                  "exit when token mod 4 == t", "exit when abs(p - prev(p, 0)) < 0.0271828"))
            if self.chance(0.7):
                clauses.append("holes " + self.pick("latest", "last_exited", "always_last", "skip", "zero", "last_if_hole", "refuse"))
        if self.carries:  # it goes with the planes
            clauses[0] = "kv " + self.pick("depth_indexed", "depth_indexed", "single")
            shares = clauses[0] == "kv single"
            clauses.append(f"carry {clauses[0][3:]}")
        if shares:
            clauses.append("order token" if self.carries else f"order {order}")
        self.loop = None
        return before + [(f"loop t < loops, {', '.join(clauses)} {{", body)]

    def text(self):
        s = self.size
        out = ["model random_model", "", "config {"]
        out += [f"  {key} = {value}" for key, value in s.items()]
        out += ["  hd2 = hd", "  eps = 1e-6", "}", f"options {{ loops = {self.r.randrange(1, 5)} in 1..8 }}", ""]
        body = ["state x = embed@embed(token, vocab) -> [d]"]
        if self.chance(0.2):
            body.append("input place: [] = position")
            body.append("x = x + 0.1 * sin(place * iota([d]))")
        body += self.statements("x", self.r.randrange(0, 3))
        body.append("e = x")
        body += self.counted_loop()
        if self.chance(0.5):
            body += self.statements("x", self.r.randrange(0, 3))
        head = self.pick("linear@head(rms_norm@norm(x, eps)) -> [vocab]", "linear(rms_norm@norm(x, eps), tied = embed) -> [vocab]",
                         "softcap(linear@head(x, bias) -> [vocab], 15.0)")
        for header, lines in self.functions:
            out += render([(header + " {", lines)], 0) + [""]
        return "\n".join(out + render(body, 0) + [f"logits = {head}", ""])


def render(lines, depth):
    out = []
    for line in lines:
        if isinstance(line, tuple):
            out += ["  " * depth + line[0]] + render(line[1], depth + 1) + ["  " * depth + "}"]
        else:
            out.append("  " * depth + line)
    return out


# Running.

def verify(loopc, path, seed=1, dtype="f32", timeout=180):
    """One of ok, refused, fail and what was said."""
    command = [loopc, "verify", path, "--seed", str(seed), "--requests", "3", "--dtype", dtype, "--no-cache"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        return "fail", f"no answer within {timeout} s"
    said = (done.stdout + done.stderr).strip()
    if done.returncode == 0:
        return "ok", said
    if done.returncode in (1, 2) and re.search(r"\bL0\d\d\d\b", said):
        return "refused", said
    return "fail", said


def kind_of(said):
    """What went wrong, without its figures: a shrunk page has to fail in the same way."""
    lines = [line for line in said.splitlines() if "FAIL" in line or "error" in line or "no answer" in line]
    return re.sub(r"[\d.e+-]+|\"[^\"]*\"|'[^']*'|`[^`]*`", "", lines[0] if lines else said.splitlines()[-1] if said else "died")[:70]


def blocks(lines):
    """Ranges of lines that can go together: single lines and whole blocks, the largest first."""
    found, open_ = [], []
    for i, line in enumerate(lines):
        opens, closes = line.count("{"), line.count("}")
        if opens > closes:
            open_.append(i)
        elif closes > opens and open_:
            found.append((open_.pop(), i + 1))
        elif line.strip():
            found.append((i, i + 1))
    return sorted(found, key=lambda r: r[0] - r[1])


def reduce(loopc, text, seed, dtype, directory):
    """A page as small as single deletions make it that still fails in the same way."""
    path = str(pathlib.Path(directory) / "reduced.loop")

    def outcome(candidate):
        pathlib.Path(path).write_text(candidate)
        status, said = verify(loopc, path, seed, dtype)
        return kind_of(said) if status == "fail" else None

    want = outcome(text)
    if want is None:
        return text
    changed = True
    while changed:
        changed = False
        for begin, end in blocks(text.splitlines()):
            lines = text.splitlines()
            candidates = [lines[:begin] + lines[end:]]
            if end - begin > 2:
                candidates.append(lines[:begin] + lines[begin + 1:end - 1] + lines[end:])  # the body without its block
            for candidate in candidates:
                joined = "\n".join(candidate) + "\n"
                if joined != text and outcome(joined) == want:
                    text, changed = joined, True
                    break
            if changed:
                break
    pathlib.Path(path).write_text(text)
    return text


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--programs", type=int, default=40, help="programs that count")
    parser.add_argument("--seed", type=int, default=None, help="of the first program (default: from the clock)")
    parser.add_argument("--loopc", default=str(ROOT / "build" / "bin" / "loopc"))
    parser.add_argument("--keep", help="directory for pages that failed")
    parser.add_argument("--reduce", metavar="SPEC", help="shrink a page that fails")
    parser.add_argument("--print", action="store_true", dest="show", help="print the page of --seed and stop")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else int(time.time()) * 1000
    if options.show:
        print(Program(seed).text())
        return 0
    directory = tempfile.mkdtemp(prefix="loopc-random-")
    os.environ.setdefault("LOOPC_CACHE", directory)
    if options.reduce:
        print(reduce(options.loopc, pathlib.Path(options.reduce).read_text(), 1, "f32", directory))
        return 0
    print(f"random programs from seed {seed} on", flush=True)
    counts = {"ok": 0, "refused": 0, "fail": 0}
    sensitive = 0
    begin = time.time()
    while counts["ok"] + counts["fail"] < options.programs:
        dtype = "bf16" if seed % 8 == 7 else "f32"
        path = pathlib.Path(directory) / f"seed-{seed}.loop"
        path.write_text(Program(seed).text())
        status, said = verify(options.loopc, str(path), 1, dtype)
        counts[status] += 1
        sensitive += "note sensitive" in said
        if status == "fail":
            small = reduce(options.loopc, path.read_text(), 1, dtype, directory)
            print(f"seed {seed}, {dtype}: {said}\nshrunk:\n{small}", flush=True)
            if options.keep:
                keep = pathlib.Path(options.keep)
                keep.mkdir(parents=True, exist_ok=True)
                (keep / path.name).write_text(path.read_text())
                (keep / f"seed-{seed}.small.loop").write_text(small)
        elif status == "refused" and os.environ.get("LOOPC_SHOW_REFUSED"):
            print(f"seed {seed}: " + next((line for line in said.splitlines() if "L0" in line), said)[:160], flush=True)
        path.unlink()
        done = counts["ok"] + counts["fail"]
        if done % 20 == 0 and sys.stderr.isatty():
            left = (time.time() - begin) / max(done, 1) * (options.programs - done)
            print(f"\r{done} of {options.programs}, {left:.0f} s left ", end="", file=sys.stderr, flush=True)
        seed += 1
    print(f"{counts['ok']} programs passed, {counts['fail']} failed; {counts['refused']} were refused, {sensitive} were sensitive; next seed {seed}")
    return 1 if counts["fail"] else 0


if __name__ == "__main__":
    sys.exit(main())
