"""python -m ctune.compat script.py …: runs a script that imports ray, on ctune."""

from __future__ import annotations

import os
import runpy
import sys

from ctune.compat import install

_USAGE = "usage: python -m ctune.compat (script.py | -m module) [arguments]"


def main() -> None:
    """Runs the script or module of the command line as `__main__`."""
    arguments = sys.argv[1:]
    as_module = arguments[:1] == ["-m"]
    if as_module:
        arguments = arguments[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_USAGE, file=sys.stderr)
        raise SystemExit(0 if arguments else 2)
    target = arguments[0]
    install()
    sys.argv = arguments
    if as_module:
        sys.path[0] = os.getcwd()
        runpy.run_module(target, run_name="__main__", alter_sys=True)
        return
    if not os.path.exists(target):
        print(f"{_USAGE}\nThere is no file {target!r}.", file=sys.stderr)
        raise SystemExit(2)
    sys.path[0] = os.path.dirname(os.path.abspath(target))
    runpy.run_path(target, run_name="__main__")


main()
