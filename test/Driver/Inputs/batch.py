"""batch.py LOOPC ROOT WORK: run --batch beside one run for each line; bad lines are refused with file and line."""
import json
import os
import pathlib
import subprocess
import sys

loopc, root, work = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
MODEL = [loopc, "run", root / "models/ouro.loop", "--config", root / "test/conformance/ouro", "--random-weights", "7", "--kv",
         "depth_indexed, holes last_exited"]


def run(*arguments):
    return subprocess.run([str(part) for part in (*MODEL, *arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env=dict(os.environ, LOOPC_CACHE=str(work / "cache")))


requests = [{"tokens": [3, 5, 8]}, {"tokens": [1], "loops": 2, "max_tokens": 3}, {"tokens": [9, 9], "temperature": 0.9, "seed": 4},
            {"tokens": [7] * 20, "exit": 0.6, "exit_mode": "leave"}, {"tokens": [2, 4], "exit": {"threshold": 0.5}, "min_loops": 2},
            {"tokens": [96], "exit": "off", "top_k": 3, "temperature": 1.5}, {"tokens": [11, 12], "max_tokens": 0},
            {"tokens": [5], "temperature": 1, "top_p": 0.7, "min_p": 0.1, "repeat_penalty": 1.3, "seed": 9}, {"tokens": [1, 2, 3], "loops": 7}]
NAMES = {"loops": "--loops", "max_tokens": "-n", "temperature": "--temperature", "seed": "--seed", "exit_mode": "--exit-mode",
         "min_loops": "--min-loops", "top_k": "--top-k", "top_p": "--top-p", "min_p": "--min-p", "repeat_penalty": "--repeat-penalty"}


def alone(request):
    arguments = ["--tokens", ",".join(map(str, request["tokens"])), "--json"]
    for key, value in request.items():
        if key in NAMES:
            arguments += [NAMES[key], value]
        elif key == "exit":
            arguments += ["--exit", f"threshold={value['threshold']}" if isinstance(value, dict) else value]
    result = run("-n", 6, *arguments) if "max_tokens" not in request else run(*arguments)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


path = work / "requests.jsonl"
path.write_text("\n\n".join(map(json.dumps, requests)) + "\n")
expected = [alone(request) for request in requests]
evictions = 0
for options in (["--slots", 1], ["--slots", 4], [], ["--kv-memory", 0.2, "--slots", 9, "--threads", 3]):
    result = run("--batch", path, "-n", 6, "--stats", *options)
    assert result.returncode == 0, result.stderr
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["index"] for line in lines] == list(range(len(requests))), lines
    for line, one in zip(lines, expected):
        for key in ("token_ids", "loops_per_token", "loops_run_per_token", "finish"):
            assert line[key] == one[key], (options, key, line, one)
    evictions += json.loads(result.stderr[result.stderr.index("\n{") + 1:])["evictions"]

BAD = [("{", "expected a JSON object"), ("[1]", "expected a JSON object, but got array"), ('{"tokens": [1], "lops": 3}', "expected one of prompt, tokens"),
       ('{"tokens": [1], "loops": 65}', "loops: expected 1 to 64 iterations, but got 65"), ('{"tokens": [97]}', "tokens: expected ids from 0 to 96, but got 97"),
       ('{"tokens": []}', 'expected a list of token ids for "tokens"'), ('{"tokens": [1.5]}', "expected an integer"), ('{}', "but got neither"),
       ('{"prompt": "a", "tokens": [1]}', "but got both"), ('{"tokens": [1], "temperature": "hot"}', 'expected a number for "temperature"'),
       ('{"tokens": [1], "temperature": -1}', "temperature"), ('{"tokens": [1], "seed": -1}', "expected an integer from 0"),
       ('{"tokens": [1], "exit": {"depth": 1}}', "exit: expected a run-time option of ouro (threshold), but got `depth`"),
       ('{"tokens": [1], "exit_mode": "stay"}', "expected"), ('{"prompt": "a"}', "a tokenizer"), ('{"tokens": [1], "max_tokens": 1e99}', "expected an integer"),
       ("[" * 100000, "expected a JSON object")]
for line, message in BAD:
    bad = work / "bad.jsonl"
    bad.write_text('{"tokens": [1]}\n' + line + "\n")
    result = run("--batch", bad)
    place = f"{bad}:2: "
    assert result.returncode == 1 and place in result.stderr and message in result.stderr and not result.stdout, (line[:60], result.stderr[-500:])
(work / "bad.jsonl").write_text("\n")
result = run("--batch", work / "bad.jsonl")
assert result.returncode == 1 and "expected at least one request, but got none" in result.stderr, result.stderr
print(f"{len(requests)} requests: the same tokens alone, together and with little memory; evictions {'happened' if evictions else 'did not happen'}")
