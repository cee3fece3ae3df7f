#!/usr/bin/env python3
"""Bad input from the command line: a located message, exit status 1 or 2, never a signal, nothing half-written.

usage: bad_input.py LOOPC SOURCE_DIR. Each case breaks one thing of a working checkpoint folder (the tiny Ouro of the conformance
vectors) and says what the message must name.
"""
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile

LOOPC, SOURCE = sys.argv[1], pathlib.Path(sys.argv[2])
MODEL = SOURCE / "models/ouro.loop"
GOOD = SOURCE / "test/conformance/ouro"
WORK = pathlib.Path(tempfile.mkdtemp(prefix="loopc-bad-input-"))
failures = 0
count = 0


def run(*arguments):
    env = dict(os.environ, LOOPC_CACHE=str(WORK / "cache"))
    return subprocess.run([LOOPC, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
                          stdin=subprocess.DEVNULL, env=env, timeout=240)


def expect(name, result, *words):
    """The message holds every word (a tuple: one of them); the program ended by itself with a failure."""
    global failures, count
    count += 1
    text = result.stderr
    missing = [word for word in words if not any(w.lower() in text.lower() for w in (word if isinstance(word, tuple) else (word,)))]
    if result.returncode not in (1, 2) or missing:
        failures += 1
        print(f"FAIL {name}: exit status {result.returncode}, missing {missing} in: {text.strip()[-600:]}")


def read(path):
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8:8 + size]), data[8 + size:]


def write(path, header, body):
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


def folder(name, config=None, header=None, raw=None):
    """A copy of the good folder with its config, its tensor header or the whole weight file changed."""
    place = WORK / name
    place.mkdir()
    settings = json.loads((GOOD / "config.json").read_text())
    if config:
        config(settings)
    (place / "config.json").write_text(json.dumps(settings))
    tensors, body = read(GOOD / "weights.safetensors")
    if raw is not None:
        (place / "weights.safetensors").write_bytes(raw((GOOD / "weights.safetensors").read_bytes()))
    else:
        if header:
            body = header(tensors, body) or body
        write(place / "weights.safetensors", tensors, body)
    return place


def generate(place, *options):
    return run("run", MODEL, "--weights", place, "--tokens", "5,6,7", "-n", "2", *options)


def spec(name, data):
    path = WORK / name
    path.write_bytes(data)
    return path


GATE = "model.early_exit_gate.weight"


def misshapen(tensors, body):
    tensors["model.norm.weight"]["shape"] = [4, 8]


def renamed(tensors, body):
    tensors["model.nrom.weight"] = tensors.pop("model.norm.weight")


def extra(tensors, body):
    tensors["model.bonus.weight"] = {"dtype": "F32", "shape": [1], "data_offsets": [len(body), len(body) + 4]}
    return body + b"\0\0\0\0"


def nan(tensors, body):
    begin = tensors[GATE]["data_offsets"][0]
    return body[:begin] + struct.pack("<f", float("nan")) + body[begin + 4:]


def overlapping(tensors, body):
    tensors[GATE]["data_offsets"] = tensors["model.norm.weight"]["data_offsets"]


def huge(tensors, body):
    tensors[GATE]["shape"] = [2 ** 63 - 1, 2]


def negative(tensors, body):
    tensors[GATE]["data_offsets"] = [-4, 124]


def past_end(tensors, body):
    begin, end = tensors[GATE]["data_offsets"]
    tensors[GATE]["data_offsets"] = [begin + len(body), end + len(body)]


result = generate(folder("good"))
if result.returncode:
    print(f"FAIL the good folder itself: {result.stderr}")
    sys.exit(1)

# specs
expect("bytes as a spec", run("check", spec("bytes.loop", bytes(range(256)) * 8)), "error[L0", "bytes.loop:1")
expect("an empty spec", run("check", spec("empty.loop", b"")), "error[L0")
expect("a spec that is not there", run("check", WORK / "none.loop"), "none.loop")
expect("a misspelt name", run("check", spec("name.loop", MODEL.read_bytes().replace(b"linear@lm_head(h)", b"linear@lm_head(hh)"))), "error[L", "hh")
broken = run("check", spec("two.loop", MODEL.read_bytes().replace(b"[heads, hd]", b"[heads hd]")), "--diagnostics=json")
expect("several errors as JSON", subprocess.CompletedProcess([], broken.returncode, "", broken.stdout + broken.stderr), '"code"')

# configuration
expect("unknown config key", generate(folder("key", lambda c: c.update(hiden_size=3))), "hiden_size", "hidden_size")
expect("config value of the wrong kind", generate(folder("kind", lambda c: c.update(hidden_size="wide"))), "hidden_size")
expect("a size that does not fit the tensors", generate(folder("size", lambda c: c.update(intermediate_size=96))), "expected", "96")
expect("loop count out of range", generate(WORK / "good", "--loops", "1000"), "1000", "64")
expect("unknown --set name", generate(WORK / "good", "--set", "depht=3"), "depht")

# tensors
expect("missing tensor", generate(folder("renamed", header=renamed)), "model.norm.weight")
expect("extra tensor", generate(folder("extra", header=extra)), "model.bonus.weight")
expect("misshapen tensor", generate(folder("misshapen", header=misshapen)), "model.norm.weight", "expected", "got")
expect("NaN in a tensor", generate(folder("nan", header=nan)), GATE, "NaN")
expect("overlapping tensors", generate(folder("overlap", header=overlapping)), "weights.safetensors", "expected")
expect("a shape of 2^63 elements", generate(folder("huge", header=huge)), "weights.safetensors", "expected")
expect("negative offsets", generate(folder("negative", header=negative)), "weights.safetensors", "expected")
expect("offsets past the end", generate(folder("past", header=past_end)), "weights.safetensors", "expected")
expect("truncated file", generate(folder("truncated", raw=lambda d: d[:len(d) // 2])), "weights.safetensors", "expected")
expect("a header length that lies", generate(folder("length", raw=lambda d: struct.pack("<Q", 2 ** 62) + d[8:])), "weights.safetensors", "expected")
expect("an empty weight file", generate(folder("void", raw=lambda d: b"")), "weights.safetensors")
expect("no weights at all", generate(WORK), str(WORK))

# requests
expect("token out of range", run("run", MODEL, "--weights", WORK / "good", "--tokens", "5,97", "-n", "1"), "97")
expect("text without a tokenizer", run("run", MODEL, "--weights", WORK / "good", "-p", "hello", "-n", "1"), "tokenizer")
expect("prompt longer than the context", run("run", MODEL, "--weights", WORK / "good", "--tokens", ",".join(["5"] * 300), "-n", "1"), "256")
expect("exit that leaves holes", generate(WORK / "good", "--exit", "0.5", "--exit-mode", "leave", "--kv", "depth_indexed"), ("L0603", "holes"))
expect("shared planes without an order", generate(WORK / "good", "--kv", "single"), ("L0602", "order"))
expect("unknown policy", generate(WORK / "good", "--kv", "circle"), "circle")
expect("unknown target", generate(WORK / "good", "--target", "abacus"), "abacus")
expect("more memory than there is", run("bench", MODEL, "--random-weights", "1", "--set", "d=65536", "--set", "ff=1048576", "--set", "layers=64", "--what", "decode", "--steps", "1"),
       ("memory", "bytes", "GiB"))

# outputs
target = WORK / "no such folder" / "out.loopc"
expect("output folder that is not there", run("compile", MODEL, "--weights", WORK / "good", "-o", target), "out.loopc")
expect("unknown CPU", run("compile", MODEL, "--weights", WORK / "good", "-o", WORK / "cpu.loopc", "--cpu", "z80"), "z80")
if (WORK / "cpu.loopc").exists():
    failures += 1
    print("FAIL a refused compilation left a file behind")
before = sorted(p.name for p in WORK.iterdir())
expect("conformance folder that is not one", run("conform", MODEL, WORK / "void"), str(WORK / "void"))
expect("unknown command", run("frobnicate"), "frobnicate")
if before != sorted(p.name for p in WORK.iterdir()):
    failures += 1
    print("FAIL a refused command left files behind")

shutil.rmtree(WORK)
print(f"{count} cases, {failures} failed")
sys.exit(1 if failures else 0)
