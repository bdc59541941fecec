#!/bin/sh
# Compiles all C without making code, warnings being errors, with gcc and with clang if it is
# there. Headers of Python, NumPy and cJSON are system headers: their warnings are not ours.
#
#   sh tools/lint_c.sh PYTHON
set -eu
py=$1
jobs=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
warn='-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror'
common="-std=c11 -D_GNU_SOURCE -DCT_VERSION=\"lint\" $warn -fsyntax-only -Icsrc/engine"
cjson=$("${PKG_CONFIG:-pkg-config}" --cflags libcjson | sed 's/-I/-isystem /g')
python=$("$py" -c 'import numpy, sysconfig
print("-isystem", sysconfig.get_path("include"), "-isystem", numpy.get_include())')

# compile COMPILER FLAGS FILES...: the file names come on standard input.
compile() { sort | xargs -P "$jobs" -n 4 "$@"; }

checked=0 failed=0
for cc in gcc clang; do
    command -v $cc >/dev/null 2>&1 || { echo "lint-c: $cc is not installed: skipped"; continue; }
    echo "lint-c: $cc"
    checked=1
    # shellcheck disable=SC2086  # lists of words
    {
        find csrc/engine -name '*.c' | compile $cc $common $cjson || failed=1
        echo csrc/engine/base/mem.c | compile $cc $common $cjson -DCT_TESTING || failed=1
        find csrc/binding -name '*.c' | compile $cc $common $cjson $python -Icsrc/binding ||
            failed=1
    }
done
[ $checked = 1 ] || { echo "lint-c: neither gcc nor clang is installed" >&2; exit 1; }
exit $failed
