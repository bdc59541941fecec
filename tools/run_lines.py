"""Prints the numbered behaviours of run() and run_experiments() that no test cites.

    python tools/run_lines.py

They are numbered R1 to R188, R92 in parts a to k. A test cites one in its name or in a
comment: `test_r92_...`, `# R57`, `R63 to R66`.
"""

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1] / "tests"
LAST = 188
PARTS = {92: "abcdefghijk"}
_RANGE = re.compile(r"\b[Rr](\d+)(?:[-–]|_to_| to )[Rr]?(\d+)\b|_r(\d+)_to_r(\d+)_")
_ONE = re.compile(r"(?<![A-Za-z0-9])[Rr](\d{1,3}[a-k]?)(?![0-9A-Za-z])")


def cited(text: str) -> set[str]:
    """Returns the numbers that a test file cites."""
    found = {match[1].lower() for match in _ONE.finditer(text.replace("_", " "))}
    for match in _RANGE.finditer(text):
        first, last = (int(number) for number in match.groups() if number)
        found.update(str(number) for number in range(first, last + 1))
    return found


def lines() -> list[str]:
    """Returns all numbers, in order."""
    out = []
    for number in range(1, LAST + 1):
        out += [f"{number}{part}" for part in PARTS.get(number, [""])]
    return out


def main() -> None:
    """Prints one number per line; nothing if all are cited."""
    found: set[str] = set()
    for path in sorted(TESTS.rglob("test_*.py")):
        found |= cited(path.read_text(encoding="utf-8"))
    for line in lines():
        if line not in found:
            print(f"R{line}")


if __name__ == "__main__":
    main()
