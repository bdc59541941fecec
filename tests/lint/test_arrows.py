"""Includes and imports follow the plan of the house: docs/architecture.md, section Rooms."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from source import BINDING, ENGINE, PACKAGE, ROOT, bare, c_files, includes, read_rooms, where

ROOMS = read_rooms((ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"))

SYSTEM_HEADER = re.compile(
    r"(sys|netinet|arpa|net|linux|mach)/.*"
    r"|(unistd|fcntl|poll|pthread|signal|spawn|dirent|sched|termios|netdb|pwd|grp|dlfcn|threads)\.h"
)
# Reading a clock, sleeping, memory beside the hook: calls that a plain C header declares.
CLOCK_CALL = re.compile(r"(?<![\w>.])(clock|clock_gettime|gettimeofday|time|nanosleep)\s*\(")
MEMORY_CALL = re.compile(
    r"(?<![\w>.])(malloc|calloc|realloc|free|aligned_alloc|strdup|strndup|asprintf)\s*\("
)
FILE_CALL = re.compile(r"(?<![\w>.])(fopen|freopen|tmpfile|remove|rename|system|popen|getenv)\s*\(")

# Only the front doors start a run.
MAY_IMPORT_RUN = re.compile(r"ctune|ctune\.tune|ctune\._simulate|ctune\.tuner(\..*)?")


def engine_problems(rooms: dict[str, set[str]], engine: Path) -> Iterator[str]:
    for path in c_files(engine):
        room = path.relative_to(engine).parts[0]
        if room not in rooms:
            yield f"{where(path, 1)}: room {room} is not in the table of docs/architecture.md"
            continue
        text = path.read_text(encoding="utf-8")
        for line, name, quoted in includes(text):
            at = where(path, line)
            target = name.split("/")[0]
            if quoted:
                if "/" not in name or target not in rooms:
                    yield f'{at}: "{name}" is not written as "room/file.h"'
                elif target != room and target not in rooms[room]:
                    yield f"{at}: {room}/ may not include {target}/ ({name})"
            elif name.endswith("cJSON.h") and path.relative_to(engine).as_posix() != "base/json.c":
                yield f"{at}: only base/json.c includes cJSON"
            elif name == "Python.h" or target == "numpy":
                yield f"{at}: the engine knows no Python ({name})"
            elif SYSTEM_HEADER.fullmatch(name) and room != "os":
                yield f"{at}: system calls belong into os/ ({name})"


def call_problems(engine: Path) -> Iterator[str]:
    for path in c_files(engine):
        relative = path.relative_to(engine).as_posix()
        for number, line in enumerate(bare(path.read_text(encoding="utf-8")).splitlines(), 1):
            if not relative.startswith("os/"):
                for call in (*CLOCK_CALL.finditer(line), *FILE_CALL.finditer(line)):
                    yield f"{where(path, number)}: {call.group(1)}() belongs into os/"
            if relative != "base/mem.c":
                for call in MEMORY_CALL.finditer(line):
                    yield f"{where(path, number)}: {call.group(1)}() goes around base/mem.h"


def static_problems(engine: Path) -> Iterator[str]:
    """Mutable data with static life, at file level or in a function."""
    for path in c_files(engine):
        if path.relative_to(engine).as_posix() == "base/mem.c":
            continue  # the counters of its hook, in test builds only
        text = bare(path.read_text(encoding="utf-8"))
        for match in re.finditer(r"^[ \t]*static\b([^;={]*?)(\[[^;={]*\])*\s*[;=]", text, re.M):
            declaration = match.group(1)
            if "(" not in declaration and not re.search(r"\b(const|_Static_assert)\b", declaration):
                line = text.count("\n", 0, match.start()) + 1
                yield f"{where(path, line)}: mutable static data:{declaration}"


def test_table_names_every_room_and_has_no_cycle():
    folders = {p.name for p in ENGINE.iterdir() if p.is_dir()}
    assert folders <= set(ROOMS)
    assert {"base", "os", "control", "drive"} <= set(ROOMS)
    done: set[str] = set()
    while len(done) < len(ROOMS):
        ready = {r for r in ROOMS if r not in done and ROOMS[r] <= done}
        assert ready, f"a cycle among {sorted(set(ROOMS) - done)}"
        done |= ready


def test_engine_includes_only_what_its_room_may():
    assert list(engine_problems(ROOMS, ENGINE)) == []


def test_engine_calls_the_system_only_in_os_and_takes_memory_only_through_mem():
    assert list(call_problems(ENGINE)) == []


def test_engine_has_no_mutable_static_data():
    assert list(static_problems(ENGINE)) == []


def test_binding_meets_numpy_in_one_header_and_the_system_never():
    problems = []
    for path in c_files(BINDING):
        for line, name, quoted in includes(path.read_text(encoding="utf-8")):
            at = where(path, line)
            target = name.split("/")[0]
            if quoted and "/" in name and target not in ROOMS:
                problems.append(f"{at}: no such room: {name}")
            elif name.startswith("numpy/") and not (
                path.name == "np.h" or name.startswith("numpy/random/")
            ):
                problems.append(f"{at}: NumPy's header comes through np.h")
            elif name.endswith("cJSON.h"):
                problems.append(f"{at}: only base/json.c includes cJSON")
    assert problems == []


# --- the checks themselves find what they are for ----------------------------------------


@pytest.mark.parametrize(
    ("room", "text", "expected"),
    [
        ("state", '#include "control/control.h"\n', "state/ may not include control/"),
        ("state", '#include "metrics.h"\n', 'not written as "room/file.h"'),
        ("control", "#include <unistd.h>\n", "system calls belong into os/"),
        ("control", "#include <sys/stat.h>\n", "system calls belong into os/"),
        ("flow", "#include <cJSON.h>\n", "only base/json.c includes cJSON"),
        ("query", "#include <Python.h>\n", "the engine knows no Python"),
        ("attic", "int x;\n", "room attic is not in the table"),
    ],
)
def test_wrong_include_is_found(tmp_path, room, text, expected):
    (tmp_path / room).mkdir()
    (tmp_path / room / "file.c").write_text(text)
    (problem,) = engine_problems(ROOMS, tmp_path)
    assert expected in problem


def test_include_in_a_comment_counts_for_nothing(tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "file.c").write_text('/*\n#include "control/control.h"\n*/\n')
    assert list(engine_problems(ROOMS, tmp_path)) == []


def test_wrong_call_is_found_and_a_method_of_that_name_is_not(tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "file.c").write_text(
        'x = malloc(4);\ns->ops->free(s);\nct_free(p);\ny = time(NULL); /* free(x) */ "free(x)";\n'
    )
    problems = list(call_problems(tmp_path))
    assert [p.split(": ")[1] for p in problems] == [
        "malloc() goes around base/mem.h",
        "time() belongs into os/",
    ]


def test_mutable_static_data_is_found_and_constants_are_not(tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "file.c").write_text(
        "static int counter;\nstatic const int table[2] = {1, 2};\nstatic int f(int x);\n"
        "static inline int\ng(void)\n{\n    static char buffer[8];\n    return 0;\n}\n"
    )
    lines = [p.split(":")[1] for p in static_problems(tmp_path)]
    assert lines == ["1", "7"]


# --- Python ------------------------------------------------------------------------------


def module_files(package: Path) -> dict[str, Path]:
    """Dotted name -> file, of every module below the package's folder."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


class Imports(ast.NodeVisitor):
    """Imports of our own modules, those inside functions included. Imports for the type
    checker only are left out: they make no arrow when the program runs."""

    def __init__(self, module: str, is_package: bool, modules: set[str]) -> None:
        self.package = module if is_package else module.rpartition(".")[0]
        self.modules = modules
        self.found: list[tuple[int, str]] = []

    def visit_If(self, node: ast.If) -> None:
        if "TYPE_CHECKING" in ast.dump(node.test):
            for child in node.orelse:
                self.visit(child)
        else:
            self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            if alias.name in self.modules:
                self.found.append((node.lineno, alias.name))

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        base = node.module or ""
        if node.level:
            parts = self.package.split(".")
            parts = parts[: len(parts) - node.level + 1]
            base = ".".join([*parts, base] if base else parts)
        for alias in node.names:
            name = f"{base}.{alias.name}"
            target = name if name in self.modules else base
            if target in self.modules:
                self.found.append((node.lineno, target))


def import_graph(package: Path) -> dict[str, list[tuple[int, str]]]:
    files = module_files(package)
    modules = set(files) | {f"{package.name}._ctune"}
    graph: dict[str, list[tuple[int, str]]] = {f"{package.name}._ctune": []}
    for module, path in files.items():
        visitor = Imports(module, path.name == "__init__.py", modules)
        visitor.visit(ast.parse(path.read_text(encoding="utf-8")))
        graph[module] = [(line, t) for line, t in visitor.found if t != module]
    return graph


def find_cycle(graph: dict[str, list[tuple[int, str]]]) -> list[str]:
    """The modules of one cycle, the first one repeated at the end; empty if there is none."""
    done: set[str] = set()
    path: list[str] = []

    def walk(module: str) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return []
        path.append(module)
        for _, target in graph[module]:
            cycle = walk(target)
            if cycle:
                return cycle
        path.pop()
        done.add(module)
        return []

    for module in sorted(graph):
        cycle = walk(module)
        if cycle:
            return cycle
    return []


def test_python_imports_make_no_cycle_even_inside_functions():
    assert find_cycle(import_graph(PACKAGE)) == []


def test_only_the_front_doors_import_the_runner():
    wrong = [
        f"{module}:{line}"
        for module, imports in import_graph(PACKAGE).items()
        for line, target in imports
        if target == "ctune._run" and not MAY_IMPORT_RUN.fullmatch(module)
    ]
    assert wrong == []


def write_package(folder: Path, **files: str) -> Path:
    package = folder / "pack"
    (package / "sub").mkdir(parents=True)
    for name in ("__init__", "sub/__init__"):
        (package / f"{name}.py").write_text("")
    for name, text in files.items():
        (package / f"{name.replace('__', '/')}.py").write_text(text)
    return package


def test_cycle_through_an_import_in_a_function_is_found(tmp_path):
    package = write_package(
        tmp_path,
        a="from pack.sub import b\n",
        sub__b="def f():\n    from .. import a\n",
    )
    assert find_cycle(import_graph(package)) == ["pack.a", "pack.sub.b", "pack.a"]


def test_imports_for_the_type_checker_make_no_arrow(tmp_path):
    package = write_package(
        tmp_path,
        a="from pack.sub import b\n",
        sub__b="from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pack import a\n",
    )
    assert find_cycle(import_graph(package)) == []
