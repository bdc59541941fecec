"""Installs ctune.compat and gives way to the `ray` that it shows."""

import importlib
import sys

import ctune.compat

del sys.modules["ray"]
ctune.compat.install()
importlib.import_module("ray")
