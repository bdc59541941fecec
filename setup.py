"""Builds `ctune._ctune`; everything else about the package stands in pyproject.toml.

The extension is the C engine (csrc/engine) and its binding (csrc/binding), linked with
libcjson (found through pkg-config) and with the static library of NumPy's distributions.

Environment:
    PKG_CONFIG      The pkg-config program. Default: "pkg-config".
    CTUNE_JOBS      Compilers run at once. Default: the number of CPUs.
    CTUNE_SANITIZE  Comma-separated sanitizers, such as "address,undefined". Default: none.
"""

import fcntl
import os
import re
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from glob import glob

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

VERSION_FILE = "python/ctune/_version.py"

MISSING_CJSON = """\
ctune: pkg-config finds no libcjson, which the C engine needs to read and write JSON.
Install it, then run the same command again:
  Debian, Ubuntu   apt-get install libcjson-dev
  Fedora           dnf install cjson-devel
  macOS, Homebrew  brew install cjson
  conda            conda install -c conda-forge cjson
If it lives in a directory of its own, add that one's lib/pkgconfig to PKG_CONFIG_PATH."""

MISSING_PKG_CONFIG = """\
ctune: the program {program!r} is missing; the build finds libcjson with it.
Install it, then run the same command again:
  Debian, Ubuntu   apt-get install pkg-config libcjson-dev
  Fedora           dnf install pkgconf-pkg-config cjson-devel
  macOS, Homebrew  brew install pkg-config cjson
  conda            conda install -c conda-forge pkg-config cjson
A pkg-config under another name is given by the variable PKG_CONFIG."""


def sources(pattern: str) -> list[str]:
    return sorted(glob(pattern, recursive=True))


def version() -> str:
    with open(VERSION_FILE, encoding="utf-8") as f:
        return re.search(r'^__version__ = "(.+)"$', f.read(), re.MULTILINE).group(1)


def pkg_config(library: str) -> tuple[list[str], list[str]]:
    """The library's compiler and linker arguments; ends the build if it is not installed."""
    program = os.environ.get("PKG_CONFIG", "pkg-config")

    def ask(option: str) -> list[str]:
        done = subprocess.run([program, option, library], capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{MISSING_CJSON}\npkg-config says: {done.stderr.strip()}")
        return shlex.split(done.stdout)

    try:
        return ask("--cflags"), ask("--libs")
    except FileNotFoundError:
        sys.exit(MISSING_PKG_CONFIG.format(program=program))


class BuildExt(build_ext):
    """Compiles in parallel, and only what changed.

    An object is compiled again if a file that it was made from is newer (the compiler lists
    them in a .d file) or if its command changed. In-place and editable builds keep their
    objects in build/obj-*, so that editing one C file costs one compilation and one link.
    """

    def run(self) -> None:
        if self.inplace or getattr(self, "editable_mode", False):
            suffix = self.get_ext_filename("x").removeprefix("x.").removesuffix(".so")
            self.build_temp = os.path.join("build", f"obj-{suffix}")
        os.makedirs(self.build_temp, exist_ok=True)
        # Two builds of one tree at once must not write the same objects.
        with open(os.path.join(self.build_temp, ".lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            super().run()

    def build_extension(self, ext: Extension) -> None:
        import numpy as np

        include = np.get_include()
        random_lib = os.path.join(include, "..", "..", "random", "lib")
        cjson_cflags, cjson_libs = pkg_config("libcjson")
        ext.include_dirs += [include]
        ext.library_dirs += [os.path.normpath(random_lib)]
        ext.extra_compile_args += cjson_cflags
        ext.extra_link_args += cjson_libs
        sanitizers = os.environ.get("CTUNE_SANITIZE")
        if sanitizers:
            self.sanitize(ext, sanitizers)
        self.compiler.compile = self.compile_changed
        super().build_extension(ext)

    def sanitize(self, ext: Extension, sanitizers: str) -> None:
        flags = [f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all", "-g"]
        ext.extra_link_args += flags
        ext.extra_compile_args += [*flags, "-O1", "-fno-omit-frame-pointer", "-UNDEBUG"]
        # greenlet copies pieces of the C stack: poisoned borders there would be reported.
        clang = "clang" in " ".join(self.compiler.compiler_so)
        ext.extra_compile_args += (
            ["-mllvm", "-asan-stack=0"] if clang else ["--param", "asan-stack=0"]
        )

    def compile_changed(
        self,
        sources,
        output_dir=None,
        macros=None,
        include_dirs=None,
        debug=0,
        extra_preargs=None,
        extra_postargs=None,
        depends=None,
    ) -> list[str]:
        cc = self.compiler
        macros, objects, post, pp_opts, build = cc._setup_compile(
            output_dir, macros, include_dirs, sources, depends, extra_postargs
        )
        post = [*post, "-MMD"]
        cc_args = cc._get_cc_args(pp_opts, debug, extra_preargs)
        command = shlex.join([*cc.compiler_so, *cc_args, *post])

        def compile_one(obj: str) -> None:
            if not up_to_date(obj, command):
                src, ext = build[obj]
                cc._compile(obj, src, ext, cc_args, post, pp_opts)
                with open(obj + ".cmd", "w", encoding="utf-8") as f:
                    f.write(command)

        jobs = int(os.environ.get("CTUNE_JOBS") or os.cpu_count() or 1)
        with ThreadPoolExecutor(max_workers=jobs) as pool:
            list(pool.map(compile_one, objects))  # list: raises what a compilation raised
        return objects


def up_to_date(obj: str, command: str) -> bool:
    try:
        with open(obj + ".cmd", encoding="utf-8") as f:
            if f.read() != command:
                return False
        with open(os.path.splitext(obj)[0] + ".d", encoding="utf-8") as f:
            made_from = f.read().partition(":")[2].replace("\\\n", " ")
        made = os.stat(obj).st_mtime_ns
        return all(os.stat(p).st_mtime_ns < made for p in shlex.split(made_from))
    except FileNotFoundError:
        return False


setup(
    cmdclass={"build_ext": BuildExt},
    ext_modules=[
        Extension(
            "ctune._ctune",
            sources=sources("csrc/engine/**/*.c") + sources("csrc/binding/*.c"),
            depends=sources("csrc/**/*.h"),
            include_dirs=["csrc/engine", "csrc/binding"],
            define_macros=[("_GNU_SOURCE", None), ("CT_VERSION", f'"{version()}"')],
            libraries=["npyrandom", "m"],
            extra_compile_args=["-std=c11", "-O2", "-fvisibility=hidden", "-fno-lto", "-pthread"],
            extra_link_args=["-fno-lto", "-pthread"],
        )
    ],
)
