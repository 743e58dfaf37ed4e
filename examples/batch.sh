#!/usr/bin/env bash
# Compacts a JSONL file of lines {"id", "text", "query"?, "budget"?, "model"?}. Stop it with Ctrl-C and run it again: it resumes.
# Lines that failed open are tried once more.
#
# Needs `epitome` on the PATH. STOP_AFTER=10 stops it after ten seconds, as Ctrl-C would, to show the resume.
#
#     STOP_AFTER=10 examples/batch.sh in.jsonl out.jsonl 25%
#     examples/batch.sh in.jsonl out.jsonl 25%
#
# Ends with the exit code of `epitome batch`: 0, 1 for unusable lines, 3 for lines that failed open, 130 when stopped.
set -euo pipefail

if [ $# -lt 2 ]; then
    echo "usage: $0 IN.jsonl OUT.jsonl [BUDGET]" >&2
    exit 2
fi
in=$1 out=$2 budget=${3:-25%}
command -v epitome > /dev/null || { echo 'epitome is not on the PATH' >&2; exit 1; }
[ -r "$in" ] || { echo "cannot read $in" >&2; exit 1; }
# The journal goes when every line is done.
if [ -s "$out" ] && [ ! -e "$out.progress" ]; then
    echo "$out is complete; remove it to begin anew" >&2
    exit 0
fi

run() {
    if [ -n "${STOP_AFTER:-}" ]; then
        timeout --foreground --signal=INT --preserve-status "$STOP_AFTER" "$@"
    else
        "$@"
    fi
}

code=0
run epitome batch "$in" --output "$out" --budget "$budget" || code=$?
if [ "$code" = 3 ]; then
    code=0
    run epitome batch "$in" --output "$out" --budget "$budget" --retry-failed || code=$?
fi
[ "$code" != 0 ] || echo "done: $(wc -l < "$out") lines"
exit "$code"
