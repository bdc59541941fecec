#!/bin/sh
# Runs the Python tests that reach C on an extension built with AddressSanitizer and UBSan.
#
#   sh tools/asan.sh PYTHON [PYTEST_ARG...]
#
# The sanitized package is laid out in build/asan/lib, before the installed one on the path.
# Reports go to files, so that one from a worker process is not lost: any file fails the run.
set -eu
cd "$(dirname "$0")/.."
py=$1
shift
root=$(pwd)/build/asan
mkdir -p "$root"

echo "asan: building the extension"
CTUNE_SANITIZE=address,undefined "$py" setup.py -q build_ext \
    --build-lib "$root/ext" --build-temp "$root/obj"
rm -rf "$root/lib" "$root"/report*
mkdir -p "$root/lib"
cp -Rp python/ctune "$root/lib/ctune"
rm -f "$root"/lib/ctune/_ctune.*.so
cp "$root"/ext/ctune/_ctune.*.so "$root/lib/ctune/"

# libstdc++ comes along because ASan looks up __cxa_throw before C++ extensions load it.
cc=${CC:-gcc}
LD_PRELOAD="$($cc -print-file-name=libasan.so) $($cc -print-file-name=libstdc++.so.6)"
# Python never frees all it has, so leaks are sought elsewhere (allocation sweeps, tests of
# reference counts). Signals stay with Python: tests kill workers with them on purpose.
ASAN_OPTIONS="detect_leaks=0:detect_stack_use_after_return=0:log_path=$root/report"
ASAN_OPTIONS="$ASAN_OPTIONS:handle_segv=0:handle_abort=0:handle_sigbus=0:handle_sigfpe=0"
ASAN_OPTIONS="$ASAN_OPTIONS:allocator_may_return_null=1"
UBSAN_OPTIONS="print_stacktrace=1:log_path=$root/report"

# Tests of other libraries, of scripts and of what is Python's own: no line of C is in them
# that others do not run.
python_only='api_diff bayesopt bench cli compat display docs examples hyperopt integrations leaks
    optuna packaging pb2 progress_reporter storage tensorboard trackers utils'
for word in $python_only; do
    set -- "$@" "--ignore=tests/python/test_$word.py"
done

st=0
env LD_PRELOAD="$LD_PRELOAD" ASAN_OPTIONS="$ASAN_OPTIONS" UBSAN_OPTIONS="$UBSAN_OPTIONS" \
    PYTHONMALLOC=malloc PYTHONPATH="$root/lib" CTUNE_UNDER_ASAN=1 \
    "$py" -m pytest -m "not slow" -p no:cacheprovider tests/python "$@" || st=$?
for report in "$root"/report*; do
    [ -e "$report" ] || continue
    echo "--- $report"
    cat "$report"
    st=1
done
[ "$st" = 0 ] && echo "asan: no reports"
exit "$st"
