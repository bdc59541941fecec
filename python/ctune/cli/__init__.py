"""The command line: `ctune`, or `python -m ctune`."""
