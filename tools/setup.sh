#!/bin/sh
# Makes the tree ready to run: system packages, .venv, the built extension.
#
#   sh tools/setup.sh [demo|test|test-all|lint]
#
# demo needs Python, a C compiler, pkg-config and libcjson; test adds cmocka and the test
# extra; test-all adds what only slow tests need, lint the linters. What is missing is installed where that is allowed (root, or
# sudo without password, or Homebrew); otherwise the script says what to install, and stops.
#
# A second run does nothing: stamps in .venv remember what was installed (a checksum of the
# files that decide it) and when the extension was built (against the age of its sources).
set -eu
cd "$(dirname "$0")/.."

profile=${1:-demo}
venv=${VENV:-.venv}
py=$venv/bin/python
stamps=$venv/.ctune
pkg_config=${PKG_CONFIG:-pkg-config}
case $profile in
demo) extra=examples covered_by="demo test lint test-all" ;;
test) extra=test covered_by="test lint test-all" ;;
test-all) extra=test-all covered_by="test-all" ;;
lint) extra=dev covered_by="lint" ;;
*)
    echo "setup: unknown profile '$profile'; it is demo, test, test-all or lint" >&2
    exit 2
    ;;
esac

say() { echo "setup: $*"; }
have() { command -v "$1" >/dev/null 2>&1; }

# --- system packages ---------------------------------------------------------------------

find_python() {
    for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python3.10 python; do
        if have "$candidate" && "$candidate" -c \
            'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
            python=$candidate
            return
        fi
    done
    say "Python 3.10 or newer is needed and none was found."
    say "Install one, or name it: make demo PYTHON=/path/to/python3"
    exit 1
}

# Prints the needs that are not met, one word each.
missing() {
    have "${CC:-cc}" || have gcc || have clang || echo compiler
    have "$pkg_config" || echo pkg-config
    "$pkg_config" --exists libcjson 2>/dev/null || echo cjson
    if [ "$profile" != demo ]; then
        "$pkg_config" --exists cmocka 2>/dev/null || echo cmocka
    fi
    "$python" -c 'import ensurepip, venv' 2>/dev/null || echo venv
    "$python" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' || echo headers
}

# package_names MANAGER NEED...: what that manager calls them. A few needs have no package
# of their own in Homebrew: they come with its python and Apple's tools.
package_names() {
    manager=$1
    shift
    v=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    for need in "$@"; do
        case $manager:$need in
        apt-get:compiler) echo gcc libc6-dev ;;
        apt-get:pkg-config) echo pkg-config ;;
        apt-get:cjson) echo libcjson-dev ;;
        apt-get:cmocka) echo libcmocka-dev ;;
        apt-get:venv) echo "python$v-venv" ;;
        apt-get:headers) echo "python$v-dev" ;;
        dnf:compiler) echo gcc ;;
        dnf:pkg-config) echo pkgconf-pkg-config ;;
        dnf:cjson) echo cjson-devel ;;
        dnf:cmocka) echo libcmocka-devel ;;
        dnf:venv) echo python3-libs ;;
        dnf:headers) echo python3-devel ;;
        brew:pkg-config) echo pkg-config ;;
        brew:cjson) echo cjson ;;
        brew:cmocka) echo cmocka ;;
        brew:venv | brew:headers) echo python3 ;;
        conda:compiler) echo c-compiler ;;
        conda:venv | conda:headers) echo python ;;
        conda:*) echo "$need" ;;
        esac
    done | tr '\n' ' '
}

# The package manager, and how it may be called without asking anyone; else both empty.
find_manager() {
    manager='' as_root=''
    if have brew; then
        manager=brew
        return
    fi
    for m in apt-get dnf; do
        if have $m; then
            if [ "$(id -u)" = 0 ]; then
                manager=$m
            elif have sudo && sudo -n true 2>/dev/null; then
                manager=$m as_root='sudo -n'
            fi
        fi
    done
}

# install PACKAGE...: with the manager found; the lists are fetched only if they are needed.
install() {
    case $manager in
    apt-get)
        quiet="env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120"
        $as_root $quiet install -y --no-install-recommends "$@" >/dev/null 2>&1 ||
            { $as_root $quiet update &&
                $as_root $quiet install -y --no-install-recommends "$@" >/dev/null; }
        ;;
    dnf) $as_root dnf -q -y install "$@" >/dev/null ;;
    brew) brew install -q "$@" ;;
    esac
}

system_packages() {
    needs=$(missing)
    [ -n "$needs" ] || return 0
    find_manager
    if [ -n "$manager" ]; then
        # shellcheck disable=SC2046,SC2086  # lists of words
        set -- $(package_names "$manager" $needs)
        say "installing with $manager: $*"
        install "$@" || say "$manager failed"
        needs=$(missing)
        [ -n "$needs" ] || return 0
    fi
    # shellcheck disable=SC2086
    {
        say "missing: $(echo $needs | tr '\n' ' ')"
        say "Install it, then run the same command again:"
        echo "  Debian, Ubuntu   apt-get install $(package_names apt-get $needs)"
        echo "  Fedora           dnf install $(package_names dnf $needs)"
        echo "  macOS, Homebrew  brew install $(package_names brew $needs)"
        echo "  conda            conda install -c conda-forge $(package_names conda $needs)"
        case $needs in
        *venv* | *headers*)
            say "Python is $("$python" -c 'import sys; print(sys.executable)')," \
                "which lacks a part; another one: make demo PYTHON=/path/to/python3" ;;
        esac
    } >&2
    exit 1
}

# --- .venv and the extension -------------------------------------------------------------

deps_key() {
    { pwd && cat pyproject.toml setup.py tools/setup.sh python/ctune/_version.py &&
        "$py" -V; } 2>/dev/null | cksum
}

deps_current() {
    [ -x "$py" ] || return 1
    key=$(deps_key)
    for p in $covered_by; do
        [ "$(cat "$stamps/deps-$p" 2>/dev/null)" = "$key" ] && return 0
    done
    return 1
}

# Files and folders: removing a source changes its folder.
native_current() {
    [ -e "$stamps/native" ] || return 1
    ls python/ctune/_ctune.*.so >/dev/null 2>&1 || return 1
    [ -z "$(find csrc setup.py -newer "$stamps/native" | sed 1q)" ]
}

install_deps() {
    if ! "$py" -c 'import pip' 2>/dev/null || ! grep -qxF "$(pwd)" "$stamps/tree" 2>/dev/null; then
        say "making $venv with $("$python" -V)"
        rm -rf "$venv"
        "$python" -m venv "$venv"
        mkdir -p "$stamps"
        pwd >"$stamps/tree"
    fi
    say "installing Python packages ($extra) and building ctune"
    # The build needs these two in the environment, as it runs without isolation: only so
    # does it keep its objects and compile just what changed.
    "$py" -m pip install -q --disable-pip-version-check 'setuptools>=77.0.3' 'numpy>=2.0'
    touch "$stamps/native.new"
    "$py" -m pip install -q --disable-pip-version-check --no-build-isolation -e ".[$extra]"
    mv "$stamps/native.new" "$stamps/native"
    deps_key >"$stamps/deps-$profile"
}

build_native() {
    say "building the extension"
    touch "$stamps/native.new"
    "$py" setup.py -q build_ext --inplace
    mv "$stamps/native.new" "$stamps/native"
}

if ! deps_current; then
    find_python
    system_packages
    install_deps
elif ! native_current; then
    build_native
fi
