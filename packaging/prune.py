"""Remove from installed Python packages what the service never loads; for the Debian package.

    python packaging/prune.py FOLDER

The runtime's accelerators and compilers for chips that this software does not use, programs,
headers and test suites: a third of all the space.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

_UNUSED = (
    "bin",
    "include",
    "lib",
    "lib64",
    "ai_edge_litert/aot",
    "ai_edge_litert/libLiteRtWebGpuAccelerator.so",
    "ai_edge_litert/tools",
    "ai_edge_litert/vendors",
    "numpy/_core/include",
    "numpy/_core/lib",
    "numpy/_core/_*_tests.*",
    "numpy/distutils",
    "numpy/f2py/src",
    "**/tests",
    "**/*.pyi",
    "**/*.pyx",
    "**/*.pxd",
    "tqdm/completion.sh",
    "**/*.a",
)


def prune(folder: Path) -> None:
    """Remove it; what a version of a package does not have is not missed."""
    for pattern in _UNUSED:
        for path in list(folder.glob(pattern)):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


if __name__ == "__main__":
    prune(Path(sys.argv[1]))
