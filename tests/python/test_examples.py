"""The reference's own example scripts, run without Ray.

They are read from its wheel, which pip downloads into a cache; nothing of them is kept here.
docs/compat.md lists the others of that folder, and what they need.
"""

import importlib.util
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WHEEL = "ray==2.24.0"
FOLDER = "ray/tune/examples/"
# Script -> the libraries that it needs, as they are imported; "<4": releases before 4. Those
# that download nothing.
EXAMPLES = {
    "async_hyperband_example": (),
    "bayesopt_example": ("bayes_opt",),
    "cifar10_pytorch": ("torch", "torchvision", "filelock"),
    "custom_func_checkpointing": (),
    "hyperband_example": (),
    "hyperband_function_example": (),
    "hyperopt_conditional_search_space_example": ("hyperopt",),
    "lightgbm_example": ("lightgbm<4", "sklearn"),
    "logging_example": (),
    "mlflow_example": ("mlflow",),
    "optuna_define_by_run_example": ("optuna",),
    "optuna_example": ("optuna",),
    "optuna_multiobjective_example": ("optuna",),
    "pb2_example": ("scipy",),
    "pbt_example": (),
    "pbt_function": (),
    "tune_basic_example": (),
    "xgboost_dynamic_resources_example": ("xgboost", "sklearn"),
    "xgboost_example": ("xgboost", "sklearn"),
}
SAYS = {"mlflow_example": r"\A", "cifar10_pytorch": "Best trial"}


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """A folder that holds ray/tune/examples, as in an installation."""
    cache = Path(os.environ.get("CTUNE_WHEELS", tmp_path_factory.mktemp("wheels")))
    if not list(cache.glob("ray-*.whl")):
        done = subprocess.run(
            [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(cache), WHEEL],
            capture_output=True,
            text=True,
        )
        if done.returncode:
            pytest.skip(f"the reference's wheel cannot be downloaded: {done.stderr[-200:]}")
    site = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(next(cache.glob("ray-*.whl"))) as archive:
        for name in archive.namelist():
            if name.startswith(FOLDER) and name.endswith(".py"):
                archive.extract(name, site)
    return site


def listed_elsewhere():
    """The scripts that docs/compat.md says cannot be run."""
    text = (ROOT / "docs" / "compat.md").read_text(encoding="utf-8")
    section = text.partition("\n## Ray Tune's examples\n")[2]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`([\w/]+)\.py`", row.split("|")[1])}


def usable(library):
    """Whether a library can be imported, not only found: some are built for another machine."""
    name, _, limit = library.partition("<")
    if importlib.util.find_spec(name) is None:
        return False
    code = f"import {name}"
    if limit:
        code += f"; assert int({name}.__version__.split('.')[0]) < {limit}"
    return subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


@pytest.mark.slow
def test_each_script_is_run_here_or_listed_in_the_docs(wheel):
    folder = wheel / FOLDER
    scripts = {str(path.relative_to(folder))[:-3] for path in folder.rglob("*.py")}
    scripts = {name for name in scripts if not name.endswith("__init__")}
    assert scripts == {*EXAMPLES, *listed_elsewhere()}
    assert not listed_elsewhere() & set(EXAMPLES)


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_it_runs_to_its_end(wheel, tmp_path, name):
    missing = [library for library in EXAMPLES[name] if not usable(library)]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    done = subprocess.run(
        [sys.executable, "-m", "ctune.compat", str(wheel / FOLDER / f"{name}.py"), "--smoke-test"],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=tmp_path,
        env={
            **os.environ,
            "HOME": str(tmp_path),
            "MLFLOW_ALLOW_FILE_STORE": "true",  # the script keeps its runs in files
            "PYTHONPATH": os.pathsep.join([*filter(None, sys.path), str(wheel)]),
        },
    )
    assert done.returncode == 0, done.stderr
    assert re.search(SAYS.get(name, "(?i)best"), done.stdout), done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("pb2_ppo_example", "Unknown trainable: 'PPO'"),
        ("pbt_ppo_example", "out of the scope of ctune"),
    ],
)
def test_what_needs_rllib_says_so(wheel, tmp_path, name, says):
    pytest.importorskip("pandas")
    done = subprocess.run(
        [sys.executable, "-m", "ctune.compat", str(wheel / FOLDER / f"{name}.py")],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*filter(None, sys.path), str(wheel)])},
    )
    assert done.returncode == 1 and says in done.stderr, done.stderr
