"""killed.py DIR TIMES COMMAND...: a training run that is killed (SIGKILL) TIMES times at random moments and begun again gives the same metrics
and the same bytes of weights as one that is left alone. COMMAND is without --out; the seed of the moments is printed."""
import json
import os
import random
import signal
import subprocess
import sys
import time

directory, times, command = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
seed = int(time.time() * 1000)
random.seed(seed)


def start(out):
    return subprocess.Popen(command + ["--out", out], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def metrics(out):
    with open(os.path.join(out, "metrics.jsonl")) as file:
        return [{key: entry[key] for key in ("step", "loss", "gradient_norm")} for entry in map(json.loads, file)]


def checkpoints(out):
    return sorted(name for name in os.listdir(out) if name.startswith("step-"))


whole, killed = os.path.join(directory, "whole"), os.path.join(directory, "killed")
begin = time.time()
if start(whole).wait() != 0:
    sys.exit("the run that is left alone failed")
lasts = time.time() - begin
kills = 0
for _ in range(times):
    run = start(killed)
    try:
        run.wait(random.uniform(0, lasts))
    except subprocess.TimeoutExpired:
        run.send_signal(signal.SIGKILL)
        run.wait()
        kills += 1
last = start(killed)
error = last.communicate()[1].decode()
if last.returncode != 0:
    sys.exit(f"seed {seed}: the last run failed: {error}")
if metrics(whole) != metrics(killed):
    sys.exit(f"seed {seed}: the metrics differ")
if checkpoints(whole) != checkpoints(killed):
    sys.exit(f"seed {seed}: the checkpoints differ: {checkpoints(whole)}, {checkpoints(killed)}")
for name in checkpoints(whole):
    for file in sorted(os.listdir(os.path.join(whole, name))):
        with open(os.path.join(whole, name, file), "rb") as a, open(os.path.join(killed, name, file), "rb") as b:
            if a.read() != b.read():
                sys.exit(f"seed {seed}: {name}/{file} differs")
print(f"seed {seed}: killed {kills} of {times} times, {len(metrics(whole))} updates and {len(checkpoints(whole))} checkpoints are the same")
