"""Slips that C compilers accept and that cost a leak, a crash or a sub-interpreter."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from source import BINDING, bare, c_files, where

# (pattern, why it is wrong); matched against text without comments and strings.
RULES = [
    (
        re.compile(r"^[ \t]*static\s+(?:const\s+)?Py\w*Object\s*\*\s*\w+\s*[=;\[]", re.M),
        "objects live in pyct_state, not in static variables",
    ),
    (
        re.compile(r"\bstatic\s+PyTypeObject\s+\w+\s*[=;]"),
        "types are heap types made from specs",
    ),
    (
        re.compile(r"\bPyModule_AddObject\s*\("),
        "it steals a reference on success only: PyModule_AddObjectRef or PyModule_AddType",
    ),
    (re.compile(r"\bMETH_VARARGS\b"), "methods take METH_FASTCALL, METH_O or METH_NOARGS"),
    (re.compile(r"(?<!\w)(?:printf|puts|putchar|perror)\s*\("), "the extension prints nothing"),
    (re.compile(r"\bfprintf\s*\(\s*std(?:err|out)\b"), "the extension prints nothing"),
    (re.compile(r"\bPyErr_Print(?:Ex)?\s*\("), "it may end the process: PyErr_WriteUnraisable"),
    (
        re.compile(r"\bPy(?:List|Tuple)_SET_ITEM\s*\([^;]*\)\s*(?:==|!=|\?)"),
        "it has no result to look at",
    ),
    (
        re.compile(r"\bPyDict_GetItem(?:String)?\s*\("),
        "it hides errors: PyDict_GetItemWithError",
    ),
    (
        re.compile(r"\bPyObject_HasAttr(?:String)?\s*\("),
        "it hides errors: PyObject_GetOptionalAttr's way, or look the attribute up",
    ),
    (
        re.compile(r"\bPyGILState_(?:Ensure|Check)\s*\("),
        "code that the engine may call without the GIL uses pyct_enter",
    ),
    (re.compile(r"(?<![\w>.])(?:malloc|calloc|realloc|free|strdup)\s*\("), "memory: mem.h"),
]
# File -> what it may do, and why that is right there.
EXCEPTIONS = {
    "guard.c": ("PyGILState_", "the one way into Python from code that works without the GIL"),
    "limiter.c": ("METH_VARARGS", "_put_state: six arguments, checked once per restored state"),
    "helper.c": ("METH_VARARGS", "forked: called once per worker"),
}
# Types with GC support that own nothing a cycle could be broken at, so they have no clear.
NOTHING_TO_CLEAR = {"searcher.c", "connection.c", "helper.c", "lock.c", "segment.c"}

NOGIL = re.compile(r"^(\w+_nogil)\(([^)]*)\)", re.M)
BLOCK = re.compile(r"\bPy_BEGIN_ALLOW_THREADS\b(.*?)\bPy_END_ALLOW_THREADS\b", re.DOTALL)
TOUCHES_PYTHON = re.compile(r"\b(Py(?!_BEGIN|_END)\w*|_Py\w*)\s*\(|\breturn\b|\bgoto\b")


def problems_in(path: Path, text: str) -> Iterator[str]:
    text = bare(text)

    def at(position: int) -> str:
        return where(path, text.count("\n", 0, position) + 1)

    for pattern, why in RULES:
        for match in pattern.finditer(text):
            excused = EXCEPTIONS.get(path.name)
            if excused and match.group().startswith(excused[0]):
                continue
            yield f"{at(match.start())}: {' '.join(match.group().split())}: {why}"
    for match in NOGIL.finditer(text):
        if "PyObject" in match.group(2):
            yield f"{at(match.start())}: {match.group(1)} runs without the GIL, takes a PyObject"
    for match in BLOCK.finditer(text):
        inner = TOUCHES_PYTHON.search(match.group(1))
        if inner:
            position = match.start(1) + inner.start()
            yield f"{at(position)}: {inner.group().strip()} where the GIL is released"
    for match in re.finditer(r"Py_TPFLAGS_HAVE_GC", text):
        for slot in ("Py_tp_traverse", "Py_tp_clear", "Py_tp_dealloc"):
            excused = slot == "Py_tp_clear" and path.name in NOTHING_TO_CLEAR
            if slot not in text and not excused:
                yield f"{at(match.start())}: a type with GC support has no {slot}"


def test_binding_has_none_of_the_known_slips():
    assert [p for f in c_files(BINDING) for p in problems_in(f, f.read_text("utf-8"))] == []


def test_dealloc_untracks_and_drops_the_type():
    wrong = []
    for path in c_files(BINDING):
        text = bare(path.read_text("utf-8"))
        for match in re.finditer(r"^(\w+_dealloc)\([^)]*\)\s*\{(.*?)^\}", text, re.M | re.S):
            name, body = match.groups()
            delegates = re.search(r"\b\w+_dealloc\s*\(", body)
            if not delegates and "PyObject_GC_UnTrack" not in body:
                wrong.append(f"{path.name}: {name} does not untrack")
            if not delegates and not re.search(r"Py_DECREF\s*\(", body):
                wrong.append(f"{path.name}: {name} does not drop its type")
    assert wrong == []


@pytest.mark.parametrize(
    "text",
    [
        "static PyObject *cache = NULL;\n",
        "static PyTypeObject Thing_Type = {0};\n",
        'PyModule_AddObject(m, "x", x);\n',
        '{"f", f, METH_VARARGS, NULL},\n',
        'printf("here\\n");\n',
        'fprintf(stderr, "here\\n");\n',
        "PyErr_Print();\n",
        "PyDict_GetItem(d, k);\n",
        "static void\nwait_nogil(PyObject *o)\n{\n}\n",
        "Py_BEGIN_ALLOW_THREADS\nPyErr_CheckSignals();\nPy_END_ALLOW_THREADS\n",
        "Py_BEGIN_ALLOW_THREADS\nif (bad) {\n    goto done;\n}\nPy_END_ALLOW_THREADS\n",
        ".flags = Py_TPFLAGS_HAVE_GC,\n{Py_tp_traverse, t}, {Py_tp_clear, c},\n",
    ],
)
def test_each_slip_is_found(text):
    assert len(list(problems_in(BINDING / "made_up.c", text))) == 1


@pytest.mark.parametrize(
    "text",
    [
        "static PyObject *\nThing_method(PyObject *self)\n{\n}\n",
        "static PyObject *make(PyObject *x);\n",
        '/* printf("x") */ const char *s = "METH_VARARGS";\n',
        "PyOS_snprintf(buf, sizeof buf, x);\nct_free(p);\nops->free(p);\n",
        "Py_BEGIN_ALLOW_THREADS\nst = ct_drive_wait(d, &err);\nPy_END_ALLOW_THREADS\n",
    ],
)
def test_right_code_is_left_alone(text):
    assert list(problems_in(BINDING / "made_up.c", text)) == []
