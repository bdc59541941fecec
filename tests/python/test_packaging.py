"""The package as users get it: an sdist, installed in an environment of its own."""

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

SCRIPT = """
import ctune

def train(config):
    ctune.report({"score": config["x"] * 2})

ctune.init(executor="inline")
analysis = ctune.run(
    train,
    config={"x": ctune.grid_search([1, 3, 2])},
    metric="score",
    mode="max",
    storage_path=STORAGE,
    verbose=0,
)
assert analysis.best_config == {"x": 3}, analysis.best_config
print("best", analysis.best_result["score"], "from", ctune.__file__)
"""


def call(*command: object, **options: object) -> str:
    done = subprocess.run(
        [str(c) for c in command], capture_output=True, text=True, timeout=900, **options
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def build_sdist(folder: Path) -> Path:
    """The sdist of a copy of what git would check out, so that no built file slips in."""
    tree = folder / "tree"
    listed = call("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_bytes((ROOT / name).read_bytes())
    call(sys.executable, "setup.py", "-q", "sdist", "--dist-dir", folder / "dist", cwd=tree)
    (sdist,) = (folder / "dist").iterdir()
    return sdist


@pytest.fixture(scope="module")
def sdist(tmp_path_factory) -> Path:
    if not (ROOT / ".git").exists():
        pytest.skip("needs a git checkout, to know which files belong to the project")
    return build_sdist(tmp_path_factory.mktemp("sdist"))


@pytest.mark.slow
def test_sdist_holds_what_the_build_needs_and_nothing_built(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    sources = {p.relative_to(ROOT).as_posix() for p in (ROOT / "csrc").rglob("*.[ch]")}
    assert sources <= names
    assert {
        "LICENSE",
        "README.md",
        "pyproject.toml",
        "setup.py",
        "python/ctune/__init__.py",
        "python/ctune/_ctune.pyi",
        "python/ctune/py.typed",
    } <= names
    assert [n for n in names if n.endswith((".so", ".o", ".pyc")) or "__pycache__" in n] == []


@pytest.mark.slow
def test_installed_sdist_tunes_away_from_the_source_tree(sdist, tmp_path):
    env = tmp_path / "env"
    call(sys.executable, "-m", "venv", env)
    python = env / "bin" / "python"
    call(python, "-m", "pip", "install", "-q", "--disable-pip-version-check", sdist)
    script = SCRIPT.replace("STORAGE", repr(str(tmp_path / "results")))
    outside = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "CTUNE_"))}
    out = call(python, "-c", script, cwd=tmp_path, env=outside)
    assert out.startswith(f"best 6 from {env}")
    package = Path(out.strip().rpartition(" ")[2]).parent
    assert (package / "py.typed").is_file()
    assert (package / "_ctune.pyi").is_file()


@pytest.mark.slow
def test_build_without_libcjson_names_the_packages(tmp_path):
    (tmp_path / "empty").mkdir()
    env = {**os.environ, "PKG_CONFIG_LIBDIR": str(tmp_path / "empty"), "PKG_CONFIG_PATH": ""}
    done = build_ext(tmp_path, env)
    assert done.returncode != 0
    for name in ("libcjson-dev", "cjson-devel", "brew install cjson", "conda-forge cjson"):
        assert name in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_build_without_pkg_config_names_the_packages(tmp_path):
    done = build_ext(tmp_path, {**os.environ, "PKG_CONFIG": "no-such-pkg-config"})
    assert done.returncode != 0
    for name in ("no-such-pkg-config", "apt-get install pkg-config", "pkgconf-pkg-config"):
        assert name in done.stderr
    assert "Traceback" not in done.stderr


def build_ext(folder: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "setup.py", "-q", "build_ext"]
    command += ["--build-lib", str(folder / "lib"), "--build-temp", str(folder / "obj")]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)
