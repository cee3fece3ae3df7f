#!/usr/bin/env python3
"""Parses, verifies and round-trips every ```mlir example of a generated dialect page.

usage: doc_examples.py LOOPC_OPT PAGE.md. An example is either a whole module or ops of one place: symbols (counts, weights, sites …) are
put into a model, the rest into its forward program, ops of `task` into a program. `// with %x : T, %y : U` names values that stand before the example. An op
without an example is an error: the page is the dialect's documentation.
"""
import re
import subprocess
import sys

SYMBOLS = ("loop.count ", "loop.knob ", "loop.weight ", "loop.site ", "loop.bank ", "loop.schedule ", "loop.draw ", "loop.forward ")


def split_types(text):
    """`%x : tensor<4xf32>, %y : i1` as pairs; commas inside <> or () do not separate."""
    parts, depth, current = [], 0, ""
    for char in text:
        depth += char in "<(" and 1 or char in ">)" and -1 or 0
        if char == "," and depth == 0:
            parts.append(current)
            current = ""
        else:
            current += char
    return [tuple(piece.strip() for piece in part.split(" : ", 1)) for part in [*parts, current]]


def module(example):
    if "loop.model" in example or "task.program" in example:
        return example
    symbols, body = [], []
    lines = example.splitlines()
    values = [split_types(line.split("with", 1)[1].strip()) for line in lines if line.startswith("// with")]
    if re.search(r"\btask\.", example):
        defs = [f'{name} = "example.value"() : () -> {kind}' for group in values for name, kind in group]
        return "\n".join(["task.program @example pool 0 {", *defs, *lines, "}"])
    place = symbols if example.lstrip().startswith("loop.forward") else None
    for line in lines:
        if line.startswith("// with"):
            continue
        (symbols if place is symbols or line.startswith(SYMBOLS) else body).append(line)
    defs = [f'{name} = "example.value"() : () -> {kind}' for group in values for name, kind in group]
    if body and body[-1].startswith("loop.return"):
        defs.append('%z = "example.value"() : () -> ' + body[-1].split(" : ")[1])
    elif body:
        body.append("loop.return")
    forward = ["loop.forward @example {", *defs, *body, "}"] if body else []
    return "\n".join(["loop.model @example phase(source) {", *symbols, *forward, "}"])


def main():
    opt, page = sys.argv[1:]
    failed = checked = 0
    text = open(page, encoding="utf-8").read()
    for section in re.split(r"^### `", text, flags=re.M)[1:]:
        name = section.split("`", 1)[0]
        if not re.match(r"(loop|task)\.", name):
            continue
        examples = re.findall(r"```mlir\n(.*?)```", section, re.S)
        if not examples:
            print(f"{page}: {name}: expected an example, but there is none")
            failed += 1
        for example in examples:
            checked += 1
            for arguments in ([], ["-mlir-print-op-generic"]):
                first = subprocess.run([opt, "-allow-unregistered-dialect", *arguments], input=module(example), stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE, text=True)
                again = subprocess.run([opt, "-allow-unregistered-dialect"], input=first.stdout, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                if first.returncode or again.returncode:
                    failed += 1
                    print(f"{page}: {name}: {first.stderr or again.stderr}\n{module(example)}")
                    break
    print(f"{checked} examples, {failed} failed")
    return 1 if failed or not checked else 0


sys.exit(main())
