"""Build hook of hatchling: the wheel contains a copy of twat_fs.py with its version.

The tree is not changed. An editable install is the tree itself and says 0+unknown.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import version as twat_fs_version


class TwatFsBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """The only hook of this file; hatchling finds it by its base class."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        source = Path(self.root, "twat_fs.py").read_bytes().decode()
        handle, self.copy = tempfile.mkstemp(suffix=".py")
        with open(handle, "wb") as file:
            file.write(twat_fs_version.inject(source, self.metadata.version).encode())
        build_data["force_include"][self.copy] = "twat_fs.py"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if version != "editable":
            os.unlink(self.copy)
