#!/usr/bin/env python3
"""Runs the commands of a documentation page, in order, in an empty folder.

usage: doc_commands.py PAGE.md ROOT. Blocks ```loop FILE hold files, ```loop FILE head and body what takes the place of all before its
first and behind its last function, ```sh commands that must succeed
(```sh fails: must fail), a ```text block behind them what they print, both streams, in order; `…` matches any text.
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile


def pattern(text):
    parts = [re.escape(part.strip("\n")) for part in text.strip().split("…")]
    return r"\s*" + r"(?s:.*)".join(parts) + r"\s*\Z"


def main():
    page, root = sys.argv[1:]
    blocks = re.findall(r"^```(\w+)([^\n]*)\n(.*?)^```$", pathlib.Path(page).read_text(encoding="utf-8"), re.S | re.M)
    ran = failed = 0
    printed = ""
    with tempfile.TemporaryDirectory() as folder:
        env = dict(os.environ, LOOPC=root, XDG_CACHE_HOME=folder)
        for kind, rest, text in blocks:
            rest = rest.strip()
            if kind == "loop":
                name, *part = rest.split()
                path = pathlib.Path(folder, name)
                if part:
                    before, functions, after = re.match(r"(.*?)(^fn .*^fn .*?^}\n|^fn .*?^}\n)(.*)", path.read_text(encoding="utf-8"), re.S | re.M).groups()
                    text = text + functions + after if part == ["head"] else before + functions + text
                path.write_text(text, encoding="utf-8")
            elif kind == "sh":
                printed = ""
                for line in text.splitlines():
                    result = subprocess.run(line, shell=True, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
                    printed += result.stdout
                    ran += 1
                    if (result.returncode != 0) != (rest == "fails"):
                        failed += 1
                        print(f"{page}: `{line}`: expected {'failure' if rest else 'success'}, but got status {result.returncode}\n{result.stdout}")
            elif kind == "text" and not re.match(pattern(text), printed):
                failed += 1
                print(f"{page}: expected\n{text}but got\n{printed}")
    print(f"{ran} commands, {failed} failed")
    return 1 if failed or not ran else 0


sys.exit(main())
