"""The step of .github/actions/upload: $INPUT_PATH and its options -> the outputs url and json.

    lines of INPUT_PATH -> files -> twat_fs.py --json FILES -> $GITHUB_OUTPUT, and URLs in the log

The exit code is that of twat_fs.py. The runner executes lines of the log like `::set-output ...` or
`##[set-output ...]`, and a message can quote a host: such commands are stopped around the upload.
"""

from __future__ import annotations

import glob
import json
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).resolve().parent.parent / "twat_fs.py"
OPTIONS = ("provider", "expire", "keep")


def files_of(text: str) -> list[str]:
    """The paths in these lines; patterns are expanded, unless a file has that name."""
    paths: list[str] = []
    for line in text.split("\n"):
        if line.strip():
            paths += matches(line.strip())
    return paths


def matches(line: str) -> list[str]:
    """The sorted matches of a pattern, or the line itself, which twat_fs.py then reports."""
    if os.path.exists(line):
        return [line]
    return sorted(glob.glob(line, recursive=True)) or [line]


def output(name: str, value: str) -> str:
    """An entry of $GITHUB_OUTPUT, of any number of lines; the delimiter cannot be guessed."""
    delimiter = secrets.token_hex(16)
    return f"{name}<<{delimiter}\n{value}\n{delimiter}\n"


def upload(files: list[str], options: list[str]) -> tuple[int, list[dict[str, Any]]]:
    """The exit code, and the object of each file; messages go to stdout, before the URLs."""
    command = [sys.executable, str(PROGRAM), "--json", *options, "--", *files]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=sys.stdout,
        check=False,
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def main() -> int:
    files = files_of(os.environ["INPUT_PATH"])
    if not files:
        sys.exit("action.py: input path: no file given")
    values = {name: os.environ.get(f"INPUT_{name.upper()}", "") for name in OPTIONS}
    options = [f"--{name}={value}" for name, value in values.items() if value]
    resume = secrets.token_hex(16)
    print(f"::stop-commands::{resume}", flush=True)
    code, results = upload(files, options)
    urls = "\n".join(result["url"] for result in results if result.get("url"))
    print(urls)
    print(f"::{resume}::", flush=True)
    with open(os.environ["GITHUB_OUTPUT"], "a", encoding="utf-8") as file:
        file.write(output("url", urls) + output("json", json.dumps(results)))
    return code


if __name__ == "__main__":
    sys.exit(main())
