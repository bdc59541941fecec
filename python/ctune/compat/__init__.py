"""Runs scripts that import `ray`, without Ray.

    python -m ctune.compat script.py --its --arguments

or, before the first import of `ray`:

    import ctune.compat
    ctune.compat.install()

Then `ray`, `ray.tune`, `ray.train` and `ray.air` are ctune's. See docs/compat.md.
"""

from __future__ import annotations

import os
import sys

from ctune.compat._modules import Finder

__all__ = ["install", "uninstall"]

# Worker processes look for it.
VARIABLE = "CTUNE_COMPAT"

_finder = Finder()
# Processes that multiprocessing starts take over sys.path, but not the finder.
_PATH = os.path.join(os.path.dirname(__file__), "_path")


def install() -> None:
    """Lets `import ray` find ctune. A second call does nothing.

    Raises:
        RuntimeError: The real Ray was imported before.
    """
    if _finder in sys.meta_path:
        return
    loaded = sys.modules.get("ray")
    if loaded is not None:
        raise RuntimeError(
            "ctune.compat.install(): Ray itself has been imported already, from "
            f"{getattr(loaded, '__file__', None)!r}. Call install() before the first import of ray."
        )
    sys.meta_path.insert(0, _finder)
    if _PATH not in sys.path:
        sys.path.insert(1, _PATH)  # the first is the script's own folder
    os.environ[VARIABLE] = "1"


def uninstall() -> None:
    """Takes back install(): `import ray` finds Ray again, if there is one."""
    if _finder not in sys.meta_path:
        return
    sys.meta_path.remove(_finder)
    if _PATH in sys.path:
        sys.path.remove(_PATH)
    os.environ.pop(VARIABLE, None)
    for name in [name for name in sys.modules if name == "ray" or name.startswith("ray.")]:
        del sys.modules[name]
