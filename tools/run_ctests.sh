#!/bin/sh
# Runs the C test programs given, CTUNE_JOBS at once, all of them even after a failure, and
# sums up.
#
#   sh tools/run_ctests.sh build/ctest/test_base_map ...
#
# Prints each program's cmocka summary, and its whole output if it failed. The last line,
# also kept in build/ctest/summary, counts tests. Exits 1 if any test failed.
set -u
limit=''
command -v timeout >/dev/null 2>&1 && limit='timeout -k 5 300'
# cmocka writes to both streams; kept in one file they stay in order.
# shellcheck disable=SC2016  # $1 is the inner shell's
printf '%s\n' "$@" | xargs -P "${CTUNE_JOBS:-2}" -I{} \
    sh -c "$limit"' "$1" >"$1.log" 2>&1; echo $? >"$1.status"' sh {}
passed=0 failed=0 broken=''
for program in "$@"; do
    name=$(basename "$program")
    log=$program.log
    status=$(cat "$program.status")
    p=$(sed -n 's/^\[  PASSED  \] \([0-9]*\) test(s).*/\1/p' "$log" | tail -n 1)
    f=$(sed -n 's/^\[  FAILED  \] \([0-9]*\) test(s).*/\1/p' "$log" | tail -n 1)
    passed=$((passed + ${p:-0}))
    failed=$((failed + ${f:-0}))
    if [ "$status" -eq 0 ] && [ "${p:-0}" -gt 0 ]; then
        printf '%-36s [  PASSED  ] %s test(s).\n' "$name" "$p"
    else
        [ "${f:-0}" -gt 0 ] || failed=$((failed + 1)) # a crash counts as one
        broken="$broken $name"
        echo "--- $name: exit status $status"
        cat "$log"
        echo "---"
    fi
done
line="ctest: $passed passed, $failed failed"
[ -z "$broken" ] || echo "failed:$broken"
echo "$line" | tee build/ctest/summary
[ $# -gt 0 ] && [ "$failed" -eq 0 ]
