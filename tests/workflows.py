"""The steps of workflows and actions in .github, run as GitHub runs them.

jobs = workflow("ci")["jobs"]
commands(jobs)[("dist", "Build")] -> the step -> run_step(step, folder, ...)
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Dict, Mapping, Tuple

from repos import ROOT, run
from ruamel.yaml import YAML

GITHUB = ROOT / ".github"
WORKFLOWS = sorted(path.stem for path in (GITHUB / "workflows").glob("*.yml"))


def load(path: Path) -> Any:
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))


def workflow(name: str) -> Any:
    return load(GITHUB / "workflows" / f"{name}.yml")


def commands(jobs: Mapping[str, Any]) -> Dict[Tuple[str, str], Any]:
    """(job, step) -> the step, for every step that is a command."""
    return {
        (job, step["name"]): step
        for job, body in jobs.items()
        for step in body.get("steps", ())
        if "run" in step
    }


def run_step(step, folder, programs, values=(), instead=(), **env):
    """Run the script with bash, with the step's own variables; returns the process.

    `programs`: a folder that comes first on PATH, before this Python; `values`: what GitHub puts in
    for each ${{ }}; `instead`: replacements in the script.
    """
    script = step["run"]
    for old, new in dict(instead).items():
        script = script.replace(old, new)
    assert "${{" not in script, "a value of GitHub's inside of a script can be anybody's words"
    own = {name: dict(values)[value] for name, value in step.get("env", {}).items()}
    pipefail = ["-o", "pipefail"] if step.get("shell") == "bash" else []
    folders = [str(programs), str(Path(sys.executable).parent), os.environ["PATH"]]
    env = {"PATH": os.pathsep.join(folders), **own, **env}
    command = ["bash", "--noprofile", "--norc", "-e", *pipefail, "-c", script]
    return run(*command, cwd=folder, **env)
