"""The command line: `python -m ctune`."""

import sys

from ctune.cli.scripts import cli

if __name__ == "__main__":
    sys.exit(cli())
