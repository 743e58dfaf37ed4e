"""Measures how much of a tool's result stands in its compaction of what is used of it later (crates/compactor/src/rank/uses.rs).

    python uses.py sample results.jsonl rows.jsonl                 # results of agents' tools, one kind not far before all
    cargo run --release --example uses < rows.jsonl > scores.jsonl # what is kept of each, by the binary's own code
    python uses.py fit rows.jsonl scores.jsonl uses.json           # the curves, and how they hold in other repositories

A row has `context`, the result; `needed_lines`, the lines (from 0) that hold what was used later; `source`, its
repository; and `tool`, `arguments`, `said`, `task`: the call, the words before it, and what the user wants. The found
share of a result is that of its needed lines of which all spans are kept.
"""

import collections
import json
import random
import sys

import numpy

# Bytes of a result; fewer reads of files, which are most of all, for each other tool.
SIZES, READS = (4_500, 60_000), 300
# A kind with fewer results than this is not measured.
LEAST = 30
# Spans of JSON are no lines: what is needed of it cannot be told from them.
UNTOLD = {"json"}


def sample(source, target):
    rows = [json.loads(line) for line in open(source)]
    rows = [row for row in rows if row["needed_lines"] and SIZES[0] < len(row["context"]) < SIZES[1]]
    random.Random(5).shuffle(rows)
    reads = [row for row in rows if row["tool"].lower() == "read"][:READS]
    chosen = [row for row in rows if row["tool"].lower() != "read"] + reads
    random.Random(6).shuffle(chosen)
    with open(target, "w") as file:
        file.writelines(json.dumps(row) + "\n" for row in chosen)


def needed(row):
    """Byte ranges of the needed lines in the context without the white space around it."""
    context, lines = row["context"], row["context"].split("\n")
    start = -len(context[: len(context) - len(context.lstrip())].encode())
    ranges = []
    for line in lines:
        end = start + len(line.encode())
        ranges.append((start, end))
        start = end + 1
    return [ranges[at] for at in row["needed_lines"] if at < len(lines) and lines[at].strip()]


def found(spans, wanted):
    """Spans are start, end, ..., and whether they are kept as the eleventh."""
    def stands(start, end):
        kept = [span[10] for span in spans if span[0] < end and start < span[1]]
        return bool(kept) and all(kept)

    return sum(stands(start, end) for start, end in wanted) / len(wanted)


def measured(rows, scores):
    """By kind and asked share: the share of the tokens that is left, what was found, and the repository."""
    rows = {row["id"]: row for row in map(json.loads, open(rows))}
    out = collections.defaultdict(list)
    for score in map(json.loads, open(scores)):
        if score.get("by_use"):
            continue
        row = rows[score["id"]]
        wanted = needed(row)
        if score["spans"] and wanted and score["kind"] not in UNTOLD:
            left = score["after"] / score["before"]
            repository = row["source"].split("@")[0]
            out[score["kind"], score["share"]].append((left, found(score["spans"], wanted), repository))
    return out


def curve(points):
    """Of (left, found) by asked share, their means, made to rise, from nothing to the whole."""
    points = [(float(numpy.mean([p[0] for p in of])), float(numpy.mean([p[1] for p in of]))) for of in points if of]
    found = numpy.maximum.accumulate([y for _, y in points])
    inner = [[round(x, 3), round(float(y), 3)] for (x, _), y in zip(points, found)]
    return [[0.0, 0.0], *inner, [1.0, 1.0]]


def fit(rows, scores, target):
    data = measured(rows, scores)
    shares = sorted({share for _, share in data})
    curves = {}
    print("kind results share left found predicted-for-other-repositories")
    for kind in sorted({kind for kind, _ in data}):
        of = [data.get((kind, share), []) for share in shares]
        if max(map(len, of)) < LEAST:
            print(kind, max(map(len, of)), "results: not measured")
            continue
        curves[kind] = curve(of)
        repositories = {point[2] for points in of for point in points}
        for share, points in zip(shares, of):
            predicted = []
            for repository in repositories:
                rest = curve([[p for p in points if p[2] != repository] for points in of])
                own = [p[0] for p in points if p[2] == repository]
                predicted += list(numpy.interp(own, *zip(*rest)))
            left, true = (numpy.mean([p[at] for p in points]) for at in (0, 1))
            print(kind, len(points), share, f"{left:.3f} {true:.3f} {numpy.mean(predicted):.3f}")
    with open(target, "w") as file:
        json.dump(curves, file)
        file.write("\n")


if __name__ == "__main__":
    command, *paths = sys.argv[1:]
    {"sample": sample, "fit": fit}[command](*paths)
