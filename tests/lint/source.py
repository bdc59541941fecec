"""What the lint tests share: the tree, C text without comments, the table of rooms."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ENGINE = ROOT / "csrc" / "engine"
BINDING = ROOT / "csrc" / "binding"
PACKAGE = ROOT / "python" / "ctune"

_TOKEN = re.compile(
    r"""//[^\n]* | /\*.*?\*/ | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*'""",
    re.DOTALL | re.VERBOSE,
)


def c_files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.suffix in (".c", ".h"))


def bare(text: str, keep_strings: bool = False) -> str:
    """C text with comments blanked, and strings too; lines keep their numbers."""

    def blank(match: re.Match[str]) -> str:
        token = match.group()
        if token[0] == "/":
            return re.sub(r"[^\n]", " ", token)
        return token if keep_strings else token[0] + " " * (len(token) - 2) + token[-1]

    return _TOKEN.sub(blank, text)


def includes(text: str) -> list[tuple[int, str, bool]]:
    """(line, name, whether it is in quotes) of each #include."""
    found = []
    for number, line in enumerate(bare(text, keep_strings=True).splitlines(), 1):
        match = re.match(r'\s*#\s*include\s*([<"])([^">]+)[">]', line)
        if match:
            found.append((number, match.group(2), match.group(1) == '"'))
    return found


def read_rooms(text: str) -> dict[str, set[str]]:
    """Room -> rooms that it may include, from the table of docs/architecture.md."""
    rooms: dict[str, set[str]] = {}
    for line in text.splitlines():
        cells = [c.strip() for c in line.strip().strip("|").split("|")]
        match = re.fullmatch(r"`([a-z]+)/`", cells[0])
        if line.startswith("|") and match:
            rooms[match.group(1)] = set(re.findall(r"[a-z]+", cells[-1]))
    return rooms


def where(path: Path, line: int) -> str:
    try:
        path = path.relative_to(ROOT)
    except ValueError:
        pass
    return f"{path}:{line}"
