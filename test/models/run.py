#!/usr/bin/env python3
"""Real weights through the command line: greedy ids, losses by loop count and exits must be those on record.

usage: run.py LOOPC. Expected values: test/conformance/smollm2 (SmolLM2-135M-Instruct, computed by the published
implementation in fp32) and test/models/ouro-mini (a small looped model with its figures). Last line: `N passed, N failed`.
"""
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
LOOPC = sys.argv[1]
OURO = ROOT / "test/models/ouro-mini"
SMOL = ROOT / "test/conformance/smollm2"
passed = failed = 0


def check(name, ok, detail=""):
    global passed, failed
    passed, failed = passed + bool(ok), failed + (not ok)
    print(f"{'pass' if ok else 'FAIL'} {name}{'' if ok else ': ' + detail}", flush=True)


def loopc(*arguments):
    result = subprocess.run([LOOPC, *map(str, arguments)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if result.returncode:
        raise RuntimeError(f"loopc {' '.join(map(str, arguments))} ended with {result.returncode}: {result.stderr.strip()[-800:]}")
    return result.stdout


def guarded(name, function):
    try:
        function()
    except (RuntimeError, KeyError, ValueError, OSError) as error:
        check(name, False, str(error))


def greedy(spec, weights, ids, count, *options):
    out = json.loads(loopc("run", ROOT / "models" / spec, "--weights", weights, "--tokens", ",".join(map(str, ids)), "-n", count,
                           "--ignore-eos", "--json", *options))
    return out["token_ids"]


def smollm2():
    weights = subprocess.run([str(ROOT / "scripts/models.sh")], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    weights = ROOT / weights
    for spec, file in (("smollm2.loop", "expected.json"), ("smollm2_looped.loop", "expected_looped.json")):
        plain = json.loads((SMOL / "expected.json").read_text())["prompts"]
        for index, prompt in enumerate(json.loads((SMOL / file).read_text())["prompts"]):
            for target in ("cpu", "interp"):
                name = f"{spec} prompt {index} on {target}: greedy ids"

                def one():
                    ids = greedy(spec, weights, prompt["token_ids"], len(prompt["greedy_token_ids"]), "--target", target)
                    check(name, ids == prompt["greedy_token_ids"], f"expected {prompt['greedy_token_ids']}, but got {ids}")
                guarded(name, one)
            if "text" in plain[index] and file == "expected.json":
                name = f"{spec} prompt {index}: tokenizer"

                def text():
                    out = json.loads(loopc("run", ROOT / "models" / spec, "--weights", weights, "-p", plain[index]["text"], "-n", 1, "--json"))
                    check(name, out["prompt_token_ids"] == plain[index]["token_ids"], str(out["prompt_token_ids"]))
                guarded(name, text)


def ouro_mini():
    result = json.loads((OURO / "result.json").read_text())
    for target in ("cpu", "interp"):
        for item in result["greedy_fp32_4_loops"]:
            name = f"ouro-mini on {target}: {item['prompt']!r}"

            def one():
                ids = greedy("ouro.loop", OURO, item["token_ids"], 48, "--loops", 4, "--target", target)
                check(name, ids == item["greedy_token_ids"], f"expected {item['greedy_token_ids']}, but got {ids}")
            guarded(name, one)

    def table():
        out = json.loads(loopc("eval", ROOT / "models/ouro.loop", "--weights", OURO, "--data", OURO / "validation.safetensors", "--seq", 256,
                               "--loops", "1..8", "--json"))
        for key, field in (("val_loss_by_loops_1_to_8", "loss"), ("agreement_with_loop4_by_loop_1_to_8", "agreement")):
            worst = max(abs(a - b) for a, b in zip(result[key], out[field]))
            check(f"ouro-mini eval: {field} by loops 1..8", len(out[field]) == 8 and worst <= 1e-3, f"largest difference {worst}: {out[field]}")
        worst = max(abs(a - b) for a, b in zip(result["mean_exit_pdf"], out["exit_distribution"]))
        check("ouro-mini eval: mean exit distribution", worst <= 1e-3, str(out["exit_distribution"]))
    guarded("ouro-mini eval", table)

    def exits():
        depth = []
        for threshold in (0.3, 0.6, 0.95):
            out = json.loads(loopc("run", ROOT / "models/ouro.loop", "--weights", OURO, "-p", "And God said", "-n", 24, "--kv", "depth_indexed, holes last_exited",
                                   "--exit", threshold, "--exit-mode", "leave", "--json"))
            depth.append(sum(out["loops_per_token"]) / len(out["loops_per_token"]))
        check("ouro-mini run --exit: a higher threshold runs more loops", depth[0] < depth[2] and depth == sorted(depth), str(depth))
        out = json.loads(loopc("run", ROOT / "models/ouro.loop", "--weights", OURO, "-p", "And God said", "-n", 4, "--loops", 32, "--exit", "off", "--json"))
        check("ouro-mini run --exit off: every token is of the last loop", set(out["loops_per_token"]) == {32}, str(out["loops_per_token"]))
    guarded("ouro-mini run --exit", exits)


smollm2()
ouro_mini()
print(f"{passed} passed, {failed} failed")
sys.exit(1 if failed else 0)
