#!/usr/bin/env python3
"""Runs the commands of docs/plan-errors.md: the first of an entry fails with the entry's code, the second succeeds.

usage: plan_errors.py PAGE.md PlanErrors.def. A block behind a line that begins with the name of a file is a model that the commands name. Every code
of the list has an entry with its title, and no other code has one.
"""
import os
import re
import shlex
import subprocess
import sys
import tempfile


def run(command, folder):
    done = subprocess.run(shlex.split(command), cwd=folder, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stderr


def main(page, listed):
    text = open(page, encoding="utf-8").read()
    codes = dict(re.findall(r'LOOPC_PLAN_ERROR\((L\d{4}), "([^"]*)"\)', open(listed, encoding="utf-8").read()))
    failures = []
    with tempfile.TemporaryDirectory() as folder:
        for name, model in re.findall(r"^`(\w+\.\w+)`.*?\n\n```\w+\n(.*?)```", text, re.S | re.M):
            with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                file.write(model)
        entries = re.split(r"^## ", text, flags=re.M)[1:]
        for entry in entries:
            code, title = entry.split("\n", 1)[0].split(": ", 1)
            if codes.pop(code, None) != title:
                failures.append(f"{code}: the list does not have it under the title `{title}`")
            commands = re.findall(r"```sh\n(.*?)\n```", entry, re.S)
            if len(commands) != 2:
                failures.append(f"{code}: expected two commands, but got {len(commands)}")
                continue
            status, messages = run(commands[0], folder)
            if status == 0 or re.findall(r"\[(L\d{4})\]", messages) != [code]:
                failures.append(f"{code}: `{commands[0]}` gave status {status}\n{messages}")
            status, messages = run(commands[1], folder)
            if status != 0:
                failures.append(f"{code}: `{commands[1]}` gave status {status}\n{messages}")
    failures += [f"{code} has no entry" for code in codes]
    print("\n".join(failures) or f"{len(entries)} entries")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
