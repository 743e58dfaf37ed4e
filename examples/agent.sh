#!/usr/bin/env bash
# Sends an agent's turn, a tool call with a long result, through the proxy: once compacted, once with the bypass.
# Prints the answers and the account in their headers.
#
# Needs a running proxy, curl and jq. The model in the box takes up to a minute for the uncompacted request.
#
#     epitome serve &
#     examples/agent.sh eval/corpus/documents.txt "Who was the captain of the Mayflower?" 25%
set -euo pipefail

if [ $# -lt 2 ]; then
    echo "usage: $0 FILE QUESTION [BUDGET] [URL]" >&2
    exit 2
fi
file=$1 question=$2 budget=${3:-25%} url=${4:-http://127.0.0.1:8080}
[ -r "$file" ] || { echo "cannot read $file" >&2; exit 1; }
curl --silent --fail --output /dev/null "$url/readyz" || { echo "no proxy is ready at $url" >&2; exit 1; }

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
jq --null-input --rawfile result "$file" --arg path "$file" --arg question "$question" '{
    model: "local",
    max_tokens: 40,
    messages: [
        {role: "user", content: $question},
        {role: "assistant", content: null, tool_calls: [
            {id: "call_1", type: "function", function: {name: "read", arguments: ({$path} | tojson)}}]},
        {role: "tool", tool_call_id: "call_1", content: $result}
    ]
}' > "$dir/request.json"

send() {
    echo "== $1"
    if ! curl --silent --show-error --fail-with-body "$url/v1/chat/completions" --data "@$dir/request.json" \
        --header 'content-type: application/json' --header "$1" \
        --dump-header "$dir/headers" --output "$dir/answer.json"; then
        cat "$dir/answer.json" >&2
        exit 1
    fi
    jq --raw-output '.choices[0].message.content' "$dir/answer.json"
    grep --ignore-case '^x-epitome-' "$dir/headers" | tr -d '\r' | sort
}

send "x-epitome-budget: $budget"
send 'x-epitome-bypass: 1'
