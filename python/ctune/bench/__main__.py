"""`python -m ctune.bench schedulers`."""

from __future__ import annotations

import argparse
import sys

from ctune.bench._schedulers import NAMES, measure


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m ctune.bench", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    schedulers = commands.add_parser(
        "schedulers", help="decisions per second of each scheduler, through its Python class"
    )
    schedulers.add_argument(
        "--sizes",
        default="100,1000,10000,100000",
        help="numbers of trials, with commas between them (default: %(default)s)",
    )
    schedulers.add_argument(
        "--only", default="", help=f"names, with commas between them, of {', '.join(NAMES)}"
    )
    schedulers.add_argument(
        "--rounds", type=int, default=3, help="medians of so many rounds (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    try:
        sizes = [int(size) for size in options.sizes.split(",")]
    except ValueError:
        parser.error(f"--sizes: must be numbers with commas between them, got {options.sizes!r}")
    names = options.only.split(",") if options.only else list(NAMES)
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        parser.error(f"--only: {unknown[0]!r} is none of {', '.join(NAMES)}")
    if min(sizes) < 1 or options.rounds < 1:
        parser.error("--sizes and --rounds must be at least 1")

    print("Decisions per second (on_trial_result of the Python class), medians of", end=" ")
    print(f"{options.rounds} rounds; choices: calls of choose_trial_to_run per second.\n")
    width = max(map(len, names))
    heads = "".join(f"{f'{size:,} trials':>18}" for size in sizes)
    print(f"{'scheduler':{width}}  {'':9}{heads}")
    for name in names:
        rows = [measure(name, size, options.rounds) for size in sizes]
        for label, at in (("decisions", 0), ("choices", 1)):
            cells = "".join(f"{row[at]:18,.0f}" for row in rows)
            print(f"{name if at == 0 else '':{width}}  {label:9}{cells}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
