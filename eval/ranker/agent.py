"""Fits what says which lines of a tool's result an agent will use (crates/compactor/src/rank/agent/).

    cargo run --release --example agent < results.jsonl > columns.bin    # the features of every line
    python agent.py fit results.jsonl columns.bin agent.json             # the weights, after a trial on other repositories
    python agent.py judge results.jsonl columns.bin agent.json           # share of what was used, by share of the tokens
    python agent.py rows sessions.jsonl rows.jsonl                       # recorded sessions as such results

A result has `context`, its text; `tool`, `arguments`, `said`, `task` and `seen`: the call, the words before it, what the
user wants, and the names of the conversation so far, the latest first; `needed`, the strings `text` that were used later;
`needed_lines`, the lines where those cannot be found; `source`, its repository; and `near_dev`, whether it shares a file
with dev.

The model gives each line a score: a linear one of standardised features, and boosted trees (Friedman, 2001) on top. The
loss is that of ListNet (Cao et al., ICML 2007): the cross-entropy of the needed lines under the softmax of the scores of
all lines of a result. So the probabilities of the lines that are kept add up to the share of the need that they hold.
"""

import json
import re
import sys

import numpy

SEED = 20261130
# Results of fewer tokens or lines are not looked at.
TOKENS, LINES = 500, 8
# Trees, their depth and rate; bins of a feature; share of results and of features that a tree sees.
TREES, DEPTH, RATE, BINS, RESULTS, FEATURES = 80, 4, 0.1, 32, 0.6, 0.4
# What a leaf needs: weight of the penalty, and least sum of second derivatives.
PENALTY, LEAST = 3.0, 0.5
# Steps and penalty of the linear model; standardised values beyond this count as this.
STEPS, RIDGE, MOST = 300, 1e-3, 6.0
# Tokens of a mark for what is left out.
MARK = 6.0
SHARES = (0.1, 0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
FLOORS = (0.8, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99)


def read(results, columns):
    """Results with their features `x`, the need of each line `y`, where each string stands `at`, and tokens `cost`."""
    data = open(columns, "rb").read()
    start, out = 0, []
    for row in map(json.loads, open(results)):
        lines, width = numpy.frombuffer(data, "<u4", 2, start)
        x = numpy.frombuffer(data, "<f4", int(lines * width), start + 8).reshape(lines, width)
        start += 8 + 4 * int(lines * width)
        texts = row["context"].split("\n")
        at = [[i for i, text in enumerate(texts) if need["text"] in text] for need in row["needed"]]
        at = [own for own in at if own] or [[i] for i in row.get("needed_lines", []) if i < lines]
        cost = numpy.array([len(text.encode()) / 4 + 0.25 for text in texts])
        if not at or lines <= LINES or cost.sum() < TOKENS:
            continue
        y = numpy.zeros(lines)
        for own in at:
            y[own] += 1 / len(own) / len(at)
        repository = row["source"].split("@")[0]
        out.append(
            {"x": x, "y": y, "at": at, "cost": cost, "repository": repository, "near": row["near_dev"], "tool": row["tool"]}
        )
    return out


def joined(rows):
    sizes = [len(row["y"]) for row in rows]
    ends = numpy.concatenate([[0], numpy.cumsum(sizes)])
    return numpy.concatenate([r["x"] for r in rows]), numpy.concatenate([r["y"] for r in rows]), ends


def softmax(scores, ends):
    sizes = numpy.diff(ends)
    powers = numpy.exp(scores - numpy.repeat(numpy.maximum.reduceat(scores, ends[:-1]), sizes))
    return powers / numpy.repeat(numpy.add.reduceat(powers, ends[:-1]), sizes)


def entropy(scores, y, ends):
    return float(-(y * numpy.log(softmax(scores, ends) + 1e-12)).sum() / (len(ends) - 1))


def standardised(x, mean, scale):
    return numpy.clip((x - mean) / scale, -MOST, MOST).astype(numpy.float32)


def linear(x, y, ends):
    """Mean, scale and weight of each feature, by Adam on all results at once."""
    mean, scale = x.mean(0), x.std(0) + 1e-6
    z = standardised(x, mean, scale)
    weights = numpy.zeros(z.shape[1], numpy.float32)
    first, second = numpy.zeros_like(weights), numpy.zeros_like(weights)
    for step in range(1, STEPS + 1):
        error = (softmax(z @ weights, ends) - y).astype(numpy.float32)
        slope = z.T @ error / (len(ends) - 1) + RIDGE * weights
        first, second = 0.9 * first + 0.1 * slope, 0.99 * second + 0.01 * slope * slope
        rate = 0.05 * (1 if step < 0.6 * STEPS else 0.3 if step < 0.85 * STEPS else 0.1)
        weights -= rate * (first / (1 - 0.9**step)) / (numpy.sqrt(second / (1 - 0.99**step)) + 1e-8)
    return mean, scale, weights


def binned(x, edges):
    return [numpy.searchsorted(edges[j], x[:, j], side="left").astype(numpy.uint8) for j in range(x.shape[1])]


def grown(columns, slopes, bends, rng, count):
    """One tree: for each level the feature and bin of each node, and the values of the leaves."""
    features = numpy.sort(rng.permutation(len(columns))[: max(1, int(FEATURES * len(columns)))])
    node, nodes, levels, bins = numpy.zeros(count, numpy.int64), 1, [], BINS + 1
    for _ in range(DEPTH):
        best, feature, cut = numpy.full(nodes, 1e-6), numpy.full(nodes, -1), numpy.zeros(nodes, int)
        for j in features:
            key = node * bins + columns[j]
            slope = numpy.bincount(key, slopes, nodes * bins).reshape(nodes, bins).cumsum(1)
            bend = numpy.bincount(key, bends, nodes * bins).reshape(nodes, bins).cumsum(1)
            all_slope, all_bend = slope[:, -1:], bend[:, -1:]
            gain = slope**2 / (bend + PENALTY) + (all_slope - slope) ** 2 / (all_bend - bend + PENALTY)
            gain -= all_slope**2 / (all_bend + PENALTY)
            gain[(bend < LEAST) | (all_bend - bend < LEAST)] = -1
            at = gain.argmax(1)
            value = gain[numpy.arange(nodes), at]
            better = value > best
            best[better], feature[better], cut[better] = value[better], j, at[better]
        levels.append((feature, cut))
        above = numpy.zeros(count, numpy.int64)
        for one in range(nodes):
            if feature[one] >= 0:
                own = node == one
                above[own] = columns[feature[one]][own] > cut[one]
        node, nodes = 2 * node + above, 2 * nodes
    slope, bend = numpy.bincount(node, slopes, nodes), numpy.bincount(node, bends, nodes)
    return levels, -RATE * slope / (bend + PENALTY)


def leaves(tree, columns, count):
    levels, values = tree
    node = numpy.zeros(count, numpy.int64)
    for feature, cut in levels:
        above = numpy.zeros(count, numpy.int64)
        for one in range(len(feature)):
            if feature[one] >= 0:
                own = node == one
                above[own] = columns[feature[one]][own] > cut[one]
        node = 2 * node + above
    return values[node]


def boosted(x, y, ends, scores, trial=None):
    """Trees on top of `scores`; `trial` is other data (x, y, ends, scores), whose loss is printed."""
    rng = numpy.random.default_rng(SEED)
    edges = [numpy.unique(numpy.quantile(x[::7, j], numpy.linspace(0, 1, BINS + 1)[1:-1])) for j in range(x.shape[1])]
    columns = binned(x, edges)
    result = numpy.repeat(numpy.arange(len(ends) - 1), numpy.diff(ends))
    if trial:
        others, score = binned(trial[0], edges), trial[3].astype(float)
    scores, trees = scores.astype(float), []
    for at in range(TREES):
        found = softmax(scores, ends)
        rows = numpy.nonzero((rng.random(len(ends) - 1) < RESULTS)[result])[0]
        slopes, bends = (found - y)[rows], numpy.maximum(found * (1 - found), 1e-9)[rows]
        tree = grown([column[rows] for column in columns], slopes, bends, rng, len(rows))
        trees.append(tree)
        scores += leaves(tree, columns, len(y))
        if trial:
            score += leaves(tree, others, len(trial[1]))
            if (at + 1) % 20 == 0:
                print("trees", at + 1, f"loss {entropy(scores, y, ends):.4f}, elsewhere {entropy(score, *trial[1:3]):.4f}", flush=True)
    return edges, trees


def model_of(rows, trial=None):
    x, y, ends = joined(rows)
    mean, scale, weights = linear(x, y, ends)
    other = None
    if trial:
        tx, ty, tends = joined(trial)
        other = (tx, ty, tends, standardised(tx, mean, scale) @ weights)
        print(f"linear: elsewhere {entropy(other[3], ty, tends):.4f}, all alike {entropy(0 * other[3], ty, tends):.4f}", flush=True)
    edges, trees = boosted(x, y, ends, standardised(x, mean, scale) @ weights, other)
    short = lambda values: [float(f"{value:.5g}") for value in values]
    written = []
    for levels, values in trees:
        features = [int(feature) for level in levels for feature in level[0]]
        # At or below an edge is the left side; the last bin has none.
        cuts = [
            float(f"{edges[feature][cut]:.6g}") if feature >= 0 and cut < len(edges[feature]) else None
            for level in levels
            for feature, cut in zip(*level)
        ]
        features = [-1 if cut is None else feature for feature, cut in zip(features, cuts)]
        written.append({"features": features, "cuts": [cut or 0.0 for cut in cuts], "leaves": short(values)})
    return {"mean": short(mean), "scale": short(scale), "weights": short(weights), "trees": written}


def scores_of(model, x):
    scores = standardised(x, numpy.array(model["mean"]), numpy.array(model["scale"])) @ numpy.array(model["weights"])
    at = numpy.arange(len(x))
    for tree in model["trees"]:
        features, cuts = numpy.array(tree["features"]), numpy.array(tree["cuts"])
        node, first = numpy.zeros(len(x), int), 0
        for level in range(DEPTH):
            feature = features[first + node]
            above = (feature >= 0) & (x[at, numpy.maximum(feature, 0)] > cuts[first + node])
            first, node = first + 2**level, 2 * node + above
        scores = scores + numpy.array(tree["leaves"])[node]
    return scores


def path(need, cost, price):
    """The lines to keep where a token has this price in shares of the need, and a mark costs its tokens."""
    gain, mark = (need - price * cost).tolist(), price * MARK
    kept, left, from_kept, from_left = gain[0], -mark, [True], [False]
    for value in gain[1:]:
        from_kept.append(kept >= left)
        from_left.append(kept - mark > left)
        kept, left = max(kept, left) + value, max(left, kept - mark)
    keep, state = numpy.zeros(len(need), bool), kept >= left
    for at in range(len(need) - 1, -1, -1):
        keep[at] = state
        state = from_kept[at] if state else from_left[at]
    return keep


def priced(need, cost, fits, dear):
    """The lines at the price, found by halving, where they just fit: the lowest one, or if `dear` the highest."""
    best, low, high = numpy.full(len(need), dear), 1e-9, max(1e-6, 2 * float((need / cost).max()))
    for _ in range(20):
        price = (low * high) ** 0.5
        keep = path(need, cost, price)
        fit = fits(keep)
        best = keep if fit else best
        low, high = (low, price) if fit != dear else (price, high)
    return best


def chosen(need, cost, budget):
    """The lines within a budget that hold most."""
    return priced(need, cost, lambda keep: size(keep, cost) <= budget, False)


def fewest(need, cost, floor):
    """The fewest lines that hold a share of the need."""
    return priced(need, cost, lambda keep: need[keep].sum() >= floor, True)


def size(keep, cost):
    return cost[keep].sum() + MARK * ((~keep[1:] & keep[:-1]).sum() + (not keep[0]))


def found(keep, at):
    return sum(bool(keep[own].any()) for own in at) / len(at)


def ends_of(cost, budget):
    """Lines of both ends, in turn."""
    keep, first, last, left, front = numpy.zeros(len(cost), bool), 0, len(cost) - 1, budget - MARK, True
    while first <= last:
        line = first if front else last
        if cost[line] > left:
            break
        keep[line], left = True, left - cost[line]
        first, last, front = (first + 1, last, False) if front else (first, last - 1, True)
    return keep


def at_random(cost, budget, rng):
    keep, left = numpy.zeros(len(cost), bool), budget
    for line in rng.permutation(len(cost)):
        if cost[line] <= left:
            keep[line], left = True, left - cost[line]
    return keep


def judge(rows, model):
    rng = numpy.random.default_rng(3)
    table = {share: [] for share in SHARES}
    floors = {floor: [] for floor in FLOORS}
    for row in rows:
        scores, cost = scores_of(model, row["x"]), row["cost"]
        need, whole = softmax(scores, numpy.array([0, len(scores)])), cost.sum()
        for share in SHARES:
            keep = chosen(need, cost, share * whole)
            others = (ends_of(cost, share * whole), at_random(cost, share * whole, rng))
            table[share].append([need[keep].sum(), *(found(own, row["at"]) for own in (keep, *others))])
        for floor in FLOORS:
            keep = fewest(need, cost, floor)
            floors[floor].append([min(whole, size(keep, cost)), whole, found(keep, row["at"])])
    rng = numpy.random.default_rng(4)

    def interval(values):
        means = [values[rng.integers(0, len(values), len(values))].mean() for _ in range(1000)]
        return f"[{numpy.quantile(means, 0.025):+.3f}, {numpy.quantile(means, 0.975):+.3f}]"

    print("share predicted found ends random; over ends, over random")
    for share, values in table.items():
        values = numpy.array(values)
        means = " ".join(f"{value:.3f}" for value in values.mean(0))
        print(share, means, *(f"{(values[:, 1] - values[:, i]).mean():+.3f} {interval(values[:, 1] - values[:, i])}" for i in (2, 3)))
    print("floor removed found")
    for floor, values in floors.items():
        values = numpy.array(values)
        print(floor, f"{1 - values[:, 0].sum() / values[:, 1].sum():.3f} {values[:, 2].mean():.3f}", flush=True)


def fit(results, columns, target):
    rows = [row for row in read(results, columns) if not row["near"]]
    # One repository has most of the results: each half is tried on the other.
    largest = max({row["repository"] for row in rows}, key=lambda name: sum(row["repository"] == name for row in rows))
    own = [row for row in rows if row["repository"] == largest]
    rest = [row for row in rows if row["repository"] != largest]
    for name, one, other in (("all but the largest", rest, own), ("the largest", own, rest)):
        print("fitted to", name, len(one), "tried on", len(other))
        trial = model_of(one, other)
        judge([row for row in other if row["cost"].sum() >= 2 * TOKENS], trial)
    with open(target, "w") as file:
        json.dump(model_of(rows), file, separators=(",", ":"))
        file.write("\n")


NAME = re.compile(r"[A-Za-z0-9_./:\\~@-]+")
IS_NAME = re.compile(r"[a-z][A-Z]|[A-Za-z]_[A-Za-z]|/|[a-z]\.[a-z]|\d[a-z]|[a-z]\d|-\w+-")


def content(message):
    parts = message.get("content")
    if isinstance(parts, str):
        return parts
    return "\n".join(part.get("text", "") for part in parts or [] if isinstance(part, dict))


def names(messages):
    """Of what people and the agent wrote, up to 60 identifiers and paths, the latest first."""
    out = {}
    for message in reversed(messages):
        if message["role"] not in ("user", "assistant"):
            continue
        calls = [call["function"]["arguments"] for call in message.get("tool_calls") or []]
        for word in reversed(NAME.findall(" ".join([content(message), *calls]))):
            word = word.strip(".:-/\\@")
            if 4 <= len(word) <= 100 and IS_NAME.search(word):
                out.setdefault(word)
            if len(out) >= 60:
                return list(out)
    return list(out)


def rows(sessions, target):
    with open(target, "w") as file:
        for session in map(json.loads, open(sessions)):
            messages, calls, needs = session["messages"], {}, {}
            for need in session["metadata"]["needed"]:
                if not need["elsewhere_between"]:
                    needs.setdefault(need["message_index"], []).append({"text": need["text"]})
            for at, message in enumerate(messages):
                calls.update({call["id"]: (call["function"], at) for call in message.get("tool_calls") or []})
                if message["role"] != "tool" or at not in needs:
                    continue
                call, asked = calls.get(message.get("tool_call_id"), ({"name": "", "arguments": ""}, at))
                said, start = [], asked
                while start >= 0 and messages[start]["role"] == "assistant":
                    said.insert(0, content(messages[start]))
                    start -= 1
                task = next((content(one) for one in reversed(messages[:at]) if one["role"] == "user"), "")
                row = {"id": f"{session['id']}#{at}", "source": session["source"], "context": content(message)}
                row |= {"tool": call["name"], "arguments": call["arguments"] or "", "said": "\n".join(said).strip()}
                row |= {"task": task, "seen": names(messages[:asked]), "needed": needs[at], "near_dev": False}
                file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    command, *paths = sys.argv[1:]
    if command == "judge":
        judged = [row for row in read(paths[0], paths[1]) if row["cost"].sum() >= 2 * TOKENS]
        print(len(judged), "results of", 2 * TOKENS, "tokens and more")
        judge(judged, json.load(open(paths[2])))
    else:
        {"fit": fit, "rows": rows}[command](*paths)
