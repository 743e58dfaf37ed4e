#!/usr/bin/env bash
# Gates a change as a CI does. The first run writes the baseline; each later run compares with it and ends with
# 0 if no more than MAX_DROP of the answers are lost, 1 if more are, and 2 if the run is too small to tell.
#
# Needs `epitome` on the PATH; no network and no reader. What follows MAX_DROP goes to `epitome eval run`.
#
#     examples/gate.sh eval/suites/retention.toml old.jsonl 0.02 --task nq_multidoc_20 --arm epitome --limit 40
#     examples/gate.sh eval/suites/retention.toml old.jsonl 0.02 --task nq_multidoc_20 --arm epitome --limit 40 \
#         --set rank.cross_tokens=2048
set -euo pipefail

if [ $# -lt 3 ]; then
    echo "usage: $0 SUITE BASELINE.jsonl MAX_DROP [OPTION...]" >&2
    exit 2
fi
suite=$1 baseline=$2 max_drop=$3
shift 3
command -v epitome > /dev/null || { echo 'epitome is not on the PATH' >&2; exit 2; }

# plan.floor=0: a text with a poor prediction would pass whole, and lose nothing.
evaluate() { epitome eval run "$suite" --no-reader --set plan.floor=0 --output "$@"; }

if [ ! -e "$baseline" ]; then
    # Under another name until it is whole: a run that was stopped is no baseline, and goes on next time.
    evaluate "$baseline.part" "$@"
    mv "$baseline.part" "$baseline"
    echo "wrote the baseline $baseline; run this again after the change"
    exit 0
fi
evaluate "${baseline%.jsonl}.new.jsonl" --overwrite "$@"
epitome eval gate "${baseline%.jsonl}.new.jsonl" --baseline "$baseline" --max-drop "$max_drop"
