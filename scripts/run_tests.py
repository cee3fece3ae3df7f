#!/usr/bin/env python3
"""Runs every test suite of loopc and adds up what they say.

Suites: IR and tool tests (lit), unit tests (GoogleTest), conformance vectors (loopc conform), real weights
(SmolLM2-135M), sanitizer builds of frontend and runtime, short fuzzing. A suite that cannot run counts as a failure,
never as nothing. `run_tests.py NAME…` runs only the named suites; `--list` names them.
"""
import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
JOBS = str(os.cpu_count() or 2)
ENV = dict(os.environ, CCACHE_SLOPPINESS="pch_defines,time_macros,include_file_mtime,include_file_ctime",
           CCACHE_BASEDIR=str(ROOT))
SANITIZERS = {"asan": "address,undefined", "tsan": "thread"}
FUZZ_SECONDS = int(os.environ.get("LOOPC_FUZZ_SECONDS", "20"))

suites = {}


def suite(function):
    suites[function.__name__] = function
    return function


def run(command, log, **kwargs):
    """Runs a command, output into logs/LOG; returns (exit status, output)."""
    path = BUILD / "logs" / f"{log}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    result = subprocess.run([str(part) for part in command], cwd=ROOT, env={**ENV, **kwargs.pop("env", {})},
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", **kwargs)
    path.write_text(result.stdout)
    return result.returncode, result.stdout


def configure(directory, *options):
    cache = directory / "CMakeCache.txt"
    known = cache.read_text(errors="replace") if (directory / "build.ninja").exists() else ""
    if known and all(option.split("=")[0][2:] in known for option in options):
        return
    command = ["cmake", "-S", ROOT, "-B", directory, "-G", "Ninja", "-DCMAKE_C_COMPILER=clang-22",
               "-DCMAKE_CXX_COMPILER=clang++-22", "-DCMAKE_EXE_LINKER_FLAGS=-fuse-ld=lld", *options]
    status, text = run(command, f"configure-{directory.name}")
    if status:
        raise RuntimeError(f"configuring {directory.name} failed:\n{text[-3000:]}")


def build(directory, *targets):
    print(f"  building {' '.join(targets)} in {directory.name}", flush=True)
    status, text = run(["ninja", "-C", directory, *targets], f"build-{directory.name}")
    if status:
        raise RuntimeError(f"building {' '.join(targets)} failed:\n{text[-6000:]}")


def add_up(function, items):
    """Calls function(item) for all items, one on each core; each gives (passed, failed) and what is to be shown."""
    passed = failed = 0
    with concurrent.futures.ThreadPoolExecutor(int(JOBS)) as pool:
        for (ok, bad), shown in pool.map(function, items):
            if shown:
                print(shown, flush=True)
            passed, failed = passed + ok, failed + bad
    return passed, failed


def gtest_programs(directory):
    return sorted(path for path in (directory / "bin").iterdir() if "test" in path.name.lower() and os.access(path, os.X_OK))


def run_gtests(directory, label, without=""):
    def one(program):
        status, text = run([program, "--gtest_brief=1", f"--gtest_filter=*:-{without}"], f"{label}-{program.name}")
        ok = sum(int(n) for n in re.findall(r"\[  PASSED  \] (\d+) tests?", text))
        bad = max(sum(int(n) for n in re.findall(r"\[  FAILED  \] (\d+) tests?", text)), 0)
        if status and not bad:
            bad = 1  # a crash or a sanitizer report
        return (ok, bad), text[-4000:] if bad else ""

    return add_up(one, gtest_programs(directory))


@suite
def lit():
    """FileCheck tests of IR, passes, code generation and the command line."""
    build(BUILD, "all")
    status, text = run([sys.executable, "/usr/lib/llvm-22/bin/lit" if pathlib.Path("/usr/lib/llvm-22/bin/lit").exists()
                        else "/usr/lib/llvm-22/build/utils/lit/lit.py", "-v", "--no-progress-bar", BUILD / "test"], "lit")
    count = lambda word: sum(int(n) for n in re.findall(rf"^\s*{word}\s*:\s*(\d+)", text, re.M))
    passed, failed = count("Passed"), count("Failed") + count("Unresolved") + count("Timed Out")
    if status and not failed:
        failed = 1
    if failed:
        print(text[-6000:])
    return passed, failed


@suite
def unit():
    """GoogleTest programs."""
    build(BUILD, "unittests")
    return run_gtests(BUILD, "unit")


@suite
def conformance():
    """Published vectors, interpreter and compiled code."""
    build(BUILD, "loopc")

    def one(row):
        case, target = row
        status, text = run([BUILD / "bin/loopc", "conform", ROOT / "models" / case["spec"],
                            ROOT / "test/conformance" / case["folder"], "--kind", case["kinds"], "--target", target,
                            *case.get("options", [])],
                           f"conform-{case['folder'].replace('/', '-')}-{case['kinds'].replace(',', '-')}-{target}")
        match = re.search(r"(\d+) passed, (\d+) failed", text)
        ok, bad = (int(match[1]), int(match[2])) if match else (0, 1)
        if status and not bad:
            bad = 1
        lines = [line for line in text.splitlines() if "FAIL" in line or "error" in line or "unsupported" in line]
        return (ok, bad), "\n".join([f"{case['spec']} {case['folder']} {target}", *lines])[-3000:] if bad else ""

    rows = json.loads((ROOT / "test/conformance/suites.json").read_text())
    return add_up(one, [(case, target) for case in rows for target in case["targets"]])


@suite
def verify():
    """Every page with the sizes of its vectors: compiled code and interpreter, schedules to the bit."""
    build(BUILD, "loopc")

    def one(case):
        sizes = case.get("sizes", ["--config", ROOT / "test/conformance" / case["folder"]])
        status, text = run([BUILD / "bin/loopc", "verify", ROOT / "models" / case["spec"], *sizes, "--requests", "3"],
                           f"verify-{case['folder'].replace('/', '-')}")
        shown = f"{case['spec']} {' '.join(str(part) for part in sizes)}\n{text[-3000:]}" if status else ""
        return (int(status == 0), int(status != 0)), shown

    return add_up(one, json.loads((ROOT / "test/conformance/suites.json").read_text()))


@suite
def random():
    """Random programs over all constructs: compiled code, interpreter and schedules agree (fresh seed, printed)."""
    build(BUILD, "loopc")
    status, text = run([sys.executable, ROOT / "scripts/random_models.py", "--programs", "40", "--loopc", BUILD / "bin/loopc"], "random")
    match = re.search(r"(\d+) programs passed, (\d+) failed", text)
    print(text[-6000:] if status else "\n".join(text.strip().splitlines()[:1]))
    return (int(match[1]), int(match[2])) if match else (0, 1)


@suite
def models():
    """Real weights: SmolLM2-135M-Instruct and the small trained looped model."""
    build(BUILD, "loopc")
    status, text = run([sys.executable, ROOT / "test/models/run.py", BUILD / "bin/loopc"], "models")
    match = re.findall(r"(\d+) passed, (\d+) failed", text)
    if not match:
        print(text[-3000:])
        return 0, 1
    if int(match[-1][1]) or status:
        print(text[-3000:])
    return int(match[-1][0]), max(int(match[-1][1]), 1 if status else 0)


def sanitized(name):
    directory = ROOT / f"build-{name}"
    kind = SANITIZERS[name].split(",")[0]
    build(BUILD, f"test-artefacts-{kind}")
    configure(directory, f"-DLOOPC_SANITIZE={SANITIZERS[name]}", "-DCMAKE_BUILD_TYPE=RelWithDebInfo",
              "-DCMAKE_CXX_FLAGS_RELWITHDEBINFO=-O1 -g1", f"-DLOOPC_TEST_ARTEFACTS={BUILD}/test-artefacts-{kind}")
    build(directory, "unittests")
    # Mistakes made on purpose are no findings, and a sanitizer keeps freed memory.
    return run_gtests(directory, name, without="*Mistakes*:Leaks.*")


@suite
def asan():
    """Frontend and runtime tests under AddressSanitizer and UndefinedBehaviorSanitizer."""
    return sanitized("asan")


@suite
def tsan():
    """Frontend and runtime tests under ThreadSanitizer."""
    return sanitized("tsan")


@suite
def fuzz():
    """libFuzzer targets, each for a short bounded time."""
    directory = ROOT / "build-fuzz"
    configure(directory, "-DLOOPC_FUZZ=ON", "-DLOOPC_BUILD_TESTS=ON", "-DLOOPC_SANITIZE=address,undefined",
              "-DCMAKE_BUILD_TYPE=RelWithDebInfo", "-DCMAKE_CXX_FLAGS_RELWITHDEBINFO=-O1 -g1")
    build(directory, "fuzzers")
    passed = failed = 0
    for program in sorted((directory / "bin").glob("fuzz-*")):
        status, text = run([program, f"-max_total_time={FUZZ_SECONDS}", "-rss_limit_mb=3000", "-timeout=20",
                            f"-artifact_prefix={directory}/"], program.name, timeout=FUZZ_SECONDS + 300)
        if status:
            print(text[-3000:])
        passed, failed = passed + (status == 0), failed + (status != 0)
    return (passed, failed) if passed + failed else (0, 1)


def main(arguments):
    if "--list" in arguments:
        for name, function in suites.items():
            print(f"{name:12} {function.__doc__.splitlines()[0]}")
        return 0
    chosen = arguments or list(suites)
    for name in chosen:
        if name not in suites:
            print(f"run_tests: expected one of {', '.join(suites)}, but got {name}", file=sys.stderr)
            return 2
    total = [0, 0]
    started = time.monotonic()
    try:
        configure(BUILD, "-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_CXX_FLAGS_RELEASE=-O2")
    except RuntimeError as error:
        print(error)
        print("0 passed, 1 failed")
        return 1
    for index, name in enumerate(chosen):
        print(f"[{index + 1}/{len(chosen)}] {name}: {suites[name].__doc__.splitlines()[0]}", flush=True)
        begin = time.monotonic()
        try:
            passed, failed = suites[name]()
        except (RuntimeError, OSError, ValueError, subprocess.SubprocessError) as error:
            print(error)
            passed, failed = 0, 1
        if passed + failed == 0:
            print(f"  {name}: expected tests, but none ran")
            failed = 1
        total = [total[0] + passed, total[1] + failed]
        print(f"  {name}: {passed} passed, {failed} failed ({time.monotonic() - begin:.0f} s)", flush=True)
    print(f"all suites took {time.monotonic() - started:.0f} s")
    print(f"{total[0]} passed, {total[1]} failed")
    return 1 if total[1] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
