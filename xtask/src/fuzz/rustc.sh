#!/bin/sh
# The compiler of the workspace's own crates for `cargo xtask fuzz`: with libFuzzer's coverage,
# and with AddressSanitizer, which the compiler calls unstable. Other crates are left alone:
# what they do is not asked here, and their counters would cost every run.
case " $* " in
*" build_script_build "*) exec "$@" ;;
esac
RUSTC_BOOTSTRAP=1 exec "$@" \
    -Zsanitizer=address \
    -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Cllvm-args=-simplifycfg-branch-fold-threshold=0
