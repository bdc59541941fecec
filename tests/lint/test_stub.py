"""python/ctune/_ctune.pyi says exactly what the extension has."""

import ast
import inspect

import pytest
from source import PACKAGE, where

STUB = PACKAGE / "_ctune.pyi"
# What every type has without saying so, and what types get by themselves.
NOT_IN_STUB = {"__doc__", "__module__", "__repr__", "__weakref__", "__dict__"}

Members = dict[str, ast.FunctionDef | ast.AnnAssign]


def members_of(body: list[ast.stmt]) -> Members:
    """Name -> definition of the functions and annotated names of a stub's body."""
    found: Members = {}
    for node in body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = node
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = node
    return found


def read_stub(text: str) -> tuple[dict[str, ast.ClassDef], Members]:
    body = ast.parse(text).body
    return {n.name: n for n in body if isinstance(n, ast.ClassDef)}, members_of(body)


CLASSES, FUNCTIONS = read_stub(STUB.read_text(encoding="utf-8"))


def decorators(node: ast.ClassDef | ast.FunctionDef) -> set[str]:
    return {ast.unparse(d) for d in node.decorator_list}


def is_data(node: ast.FunctionDef | ast.AnnAssign) -> bool:
    return isinstance(node, ast.AnnAssign) or "property" in decorators(node)


def parameters(node: ast.FunctionDef) -> list[str]:
    """Names of a stub function's parameters, without self."""
    a = node.args
    names = [p.arg for p in (*a.posonlyargs, *a.args)]
    names += [p.arg for p in (a.vararg, *a.kwonlyargs, a.kwarg) if p is not None]
    return [n for n in names if n not in ("self", "cls")]


def real_parameters(function: object) -> list[str] | None:
    """Names from the C function's text signature; None if it has none."""
    if not getattr(function, "__text_signature__", None):
        return None
    return [n for n in inspect.signature(function).parameters if n not in ("self", "cls")]


def problems_of_class(node: ast.ClassDef, real: type) -> list[str]:
    at = f"{where(STUB, node.lineno)}: {node.name}"
    problems = []
    bases = [b.__name__ for b in real.__bases__ if b is not object]
    if [ast.unparse(b) for b in node.bases] != bases:
        problems.append(f"{at}: its bases are {bases}")
    if ("final" in decorators(node)) == bool(real.__flags__ & 1 << 10):  # BASETYPE
        problems.append(f"{at}: @final stands exactly where subclassing is refused")
    stubbed = members_of(node.body)
    actual = {k: v for k, v in vars(real).items() if k not in NOT_IN_STUB}
    for name in sorted(set(stubbed) - set(actual)):
        problems.append(f"{at}.{name}: the extension has no such member")
    for name in sorted(set(actual) - set(stubbed)):
        problems.append(f"{at}.{name}: the stub lacks it")
    for name in sorted(set(actual) & set(stubbed)):
        problems += [f"{at}.{name}: {p}" for p in member_problems(stubbed[name], actual[name])]
    return problems


def member_problems(node: ast.FunctionDef | ast.AnnAssign, real: object) -> list[str]:
    if is_data(node) == callable(real):
        return ["method in one, attribute in the other"]
    if not isinstance(node, ast.FunctionDef) or is_data(node) or node.name.startswith("__"):
        return []
    names = real_parameters(real)
    if names is not None and names != parameters(node):
        return [f"its parameters are {names}"]
    return []


@pytest.fixture(scope="module")
def extension():
    from ctune import _ctune

    return _ctune


def test_stub_names_what_the_extension_has(extension):
    types = {n for n, o in vars(extension).items() if isinstance(o, type)}
    rest = {n for n in vars(extension) if not n.startswith("__")} - types
    assert sorted(CLASSES) == sorted(types)
    assert sorted(FUNCTIONS) == sorted(rest)


def test_every_type_has_the_members_that_the_stub_gives_it(extension):
    problems = [
        problem
        for name, node in CLASSES.items()
        if hasattr(extension, name)
        for problem in problems_of_class(node, getattr(extension, name))
    ]
    assert problems == []


def test_functions_take_the_parameters_that_the_stub_gives_them(extension):
    wrong = [
        f"{name}: {problem}"
        for name, node in FUNCTIONS.items()
        if hasattr(extension, name)
        for problem in member_problems(node, getattr(extension, name))
    ]
    assert wrong == []


def test_package_uses_only_names_of_the_stub():
    known = set(CLASSES) | set(FUNCTIONS)
    unknown = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "_ctune":
                names = [node.attr]
            elif isinstance(node, ast.ImportFrom) and node.module == "ctune._ctune":
                names = [alias.name for alias in node.names]
            unknown += [f"{where(path, node.lineno)}: {n}" for n in names if n not in known]
    assert unknown == []


# --- the checks themselves find what they are for ----------------------------------------


class Base:
    pass


class Real(Base):
    def move(self, x, y):
        pass

    @property
    def width(self):
        return 1

    move.__text_signature__ = "($self, x, y, /)"


RIGHT = """
class Real(Base):
    def move(self, x, y, /): ...
    @property
    def width(self): ...
"""


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("(Base)", "", "its bases are ['Base']"),
        ("class Real", "@final\nclass Real", "@final"),
        ("def move(self, x, y, /)", "def shift(self, x, y, /)", "move: the stub lacks it"),
        ("def width", "def height", "height: the extension has no such member"),
        ("    @property\n", "", "width: method in one, attribute in the other"),
        ("x, y, /", "x, z, /", "move: its parameters are ['x', 'y']"),
    ],
)
def test_each_difference_is_found(old, new, expected):
    (node,) = read_stub(RIGHT)[0].values()
    assert problems_of_class(node, Real) == []
    assert old in RIGHT
    (node,) = read_stub(RIGHT.replace(old, new))[0].values()
    assert any(expected in p for p in problems_of_class(node, Real))
