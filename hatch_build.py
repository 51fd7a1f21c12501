"""Puts compiled kernels into a wheel for x86-64 Linux, so that its users need no compiler."""

from __future__ import annotations

import atexit
import os
import platform
import runpy
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class KernelsHook(BuildHookInterface):  # type: ignore[type-arg]
    """Compiles every variant of ablate/model/variants.py; without a compiler the wheel is one for any platform."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before it builds; an editable install compiles at its first use."""
        if version == "editable" or (sys.platform, platform.machine()) != ("linux", "x86_64"):
            return
        folder = tempfile.mkdtemp(prefix="ablate-kernels-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        variants = runpy.run_path(str(Path(self.root) / "ablate" / "model" / "variants.py"))
        try:
            made = variants["compile_all"](shlex.split(os.environ.get("CC") or "cc"), Path(folder))
        except (OSError, subprocess.SubprocessError) as error:
            self.app.display_warning(f"no kernels in this wheel, they are compiled at first use: {error}")
            return
        build_data["force_include"].update({str(file): f"ablate/model/native/{file.name}" for file in made})
        build_data.update(pure_python=False, tag="py3-none-linux_x86_64")
