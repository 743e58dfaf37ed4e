"""Fits how the ranker's scores become the probability that a span is needed (crates/compactor/src/rank/relevance.rs).

    python fit.py collect EPITOME DATA scores.jsonl [TASK ...]   # scores of the evaluation's texts, by the binary
    python fit.py fit scores.jsonl relevance.json                # the weights, and what they keep, cross-validated
    python fit.py curve results.jsonl used.json relevance.json   # the retention curve, by a run of curve.toml;
                                                                 # used.json is what the binary of that run had

EPITOME is the binary, DATA a folder with the tasks as NAME.jsonl or NAME.jsonl.zst. The features are those of
relevance.rs and links.rs. The loss is listwise in each text: -log of the softmax share of the needed spans,
together where one is enough, each against the rest where all are needed. Calibration: logistic, over the score
and the logarithm of its sum. Folds are by question or document: none is in two.
"""

import collections
import json
import os
import re
import string
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy
import torch

# Of each task: its weight in the loss, how many rows at most, and whether any needed span is enough.
TASKS = {
    "nq_multidoc_20": (3.0, 176, True),
    "hotpot_multidoc_40": (1.0, 40, False),
    "bamboo_altqa": (1.0, 81, True),
    "loogle_sample": (0.5, 29, False),
    "qmsum": (0.5, 40, False),
    "ruler_vt": (0.7, 20, False),
    "kv_retrieval_140": (0.1, 10, True),
    "niah_multikey": (0.1, 10, True),
}
SIGNALS = ["lexical", "lexical_block", "dense_block", "cross", "cross_window"]
# Tasks with fewer rows say too little of the tails.
LEAST_ROWS = 15
UNREAD, HOPS, FOLDS, RIDGE = -6.0, 4, 5, 1e-3
BINS = 24
SOURCES, CHAIN_SOURCES, CHAIN_MOST, COMMON_SHARE, COMMON, MOST = 6, 12, 3, 0.04, 6, 2.0
# Share of the spans with an identifier that recurs: up to the first it counts in full, from the second not.
RARE, USUAL = 0.1, 0.3
# Identifiers are in few of the texts, so that the fit weighs them too low for the chains that they form.
IDENTIFIERS = 5.0
VAGUE = {"american", "film", "born"}
WORD = re.compile(r"[^\W_](?:[\w'’.-]*[^\W_])?")
STOP = re.findall(r'^    "(.+)",$', (Path(__file__).parents[2] / "crates/text/src/terms.rs").read_text(), re.M)


def normal(text):
    """As SQuAD's scorer does."""
    text = "".join(c for c in text.lower() if c not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def rows_of(folder, name, limit):
    plain, packed = Path(folder) / f"{name}.jsonl", Path(folder) / f"{name}.jsonl.zst"
    if plain.exists():
        lines = plain.read_text(encoding="utf-8").splitlines()
    else:
        import io

        import zstandard

        with open(packed, "rb") as file:
            reader = zstandard.ZstdDecompressor().stream_reader(file)
            lines = io.TextIOWrapper(reader, encoding="utf-8").read().splitlines()
    rows = [json.loads(line) for line in lines]
    if name == "nq_multidoc_20":
        rows = [row for row in rows if row["metadata"]["gold_position"] == 9]
    if name == "hotpot_multidoc_40":
        rows = [row for row in rows if row["metadata"]["placement"] == rows[0]["metadata"]["placement"]]
    if name == "qmsum":
        rows = [row for row in rows if row["metadata"]["relevant_turn_spans"]]
    step = max(1, len(rows) // limit)
    return rows[::step][:limit]


def collect(binary, folder, out, *tasks):
    with open(out, "w", encoding="utf-8") as file, tempfile.TemporaryDirectory() as scratch:
        text = os.path.join(scratch, "text")
        for name, (_, limit, _) in TASKS.items():
            if tasks and name not in tasks:
                continue
            for row in rows_of(folder, name, limit):
                Path(text).write_text(row["context"], encoding="utf-8")
                command = [binary, "compact", text, "--query", row["query"], "--budget", "10%"]
                done = subprocess.run([*command, "--format", "explain"], capture_output=True)
                if done.returncode:
                    sys.exit(done.stderr.decode())
                row["spans"] = json.loads(done.stdout).get("explain") or []
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
            print(name, file=sys.stderr, flush=True)


def standardize(values):
    known = values[numpy.isfinite(values)]
    if len(known) == 0 or known.std() < 1e-9:
        return numpy.zeros_like(values)
    return (numpy.where(numpy.isfinite(values), values, known.min()) - known.mean()) / known.std()


def is_shouted(text):
    """Whether a sentence is set in capitals: its words are no names then."""
    words = [w for w in WORD.findall(text) if len(w) > 1 and w.isalpha()]
    loud = [w for w in words if w.isupper()]
    return 2 * len(loud) > len(words) and any(w.lower() in STOP for w in loud)


def is_identifier(word):
    digit = any(c.isnumeric() for c in word)
    return (len(word) >= 4 and all(c.isupper() for c in word)) or (word[0].isalpha() and digit) or "_" in word


class Text:
    """A row: its features, which spans are needed, and its names."""

    def __init__(self, row):
        self.task, meta = row["task"], row["metadata"]
        self.fold_key = row["query"] if "multidoc" in self.task else str(meta.get("doc", row["id"]))
        self.weight, _, self.any = TASKS[self.task]
        data, spans = row["context"].encode(), row["spans"]
        texts = [data[a:b].decode() for a, b in (s["source"] for s in spans)]
        label = [t.startswith("Document [") and "](Title:" in t for t in texts]
        self.counts = numpy.array(
            [not l and s["content"] != "heading" and bool(t.strip()) for l, s, t in zip(label, spans, texts)]
        )
        self.own(spans, label)
        self.needed = self.gold(row, texts, spans) & self.counts
        passage = numpy.cumsum(label) if any(label) else numpy.zeros(len(texts), dtype=int)
        self.names(row["query"], texts, label, passage)

    def own(self, spans, label):
        raw = {
            k: numpy.array([numpy.nan if s[k] is None else s[k] for s in spans], dtype=float) for k in SIGNALS
        }
        read = lambda v: numpy.where(numpy.isfinite(v), v, UNREAD)
        cross, window = read(raw["cross"]), read(raw["cross_window"])
        columns = [cross, window, window - window.max(), cross - cross.max()]
        columns += [standardize(raw[k]) for k in ("cross", "cross_window", *SIGNALS[:3])]
        columns.append(numpy.log1p([s["tokens"] for s in spans]))
        columns += [raw[k] / (raw[k].max() + 1e-6) for k in SIGNALS[:2]]
        columns.append(numpy.ones(len(spans)))
        before = numpy.concatenate([[cross.min()], cross[:-1]])
        after = numpy.concatenate([cross[1:], [cross.min()]])
        columns += [before, after, numpy.maximum(before, after)]
        columns.append(numpy.concatenate([[0.0], numpy.array(label[:-1], dtype=float)]))
        self.features = numpy.stack(columns, 1)

    def gold(self, row, texts, spans):
        meta, normals = row["metadata"], [normal(t) for t in texts]
        if self.task == "hotpot_multidoc_40":
            facts = [normal(f) for f in meta["supporting_facts"]]
            return numpy.array([len(t) > 15 and any(t in f or f in t for f in facts) for t in normals])
        if self.task == "loogle_sample":
            evidence = normal(str(meta["evidence"]))
            return numpy.array([len(t) > 15 and t in evidence for t in normals])
        if self.task == "qmsum":
            turn, starts = -1, []
            for at, line in enumerate(row["context"].encode().split(b"\n")):
                starts.append((starts[-1][1] if starts else 0, (starts[-1][1] if starts else 0) + len(line) + 1))
            of = lambda s: next((i for i, (a, b) in enumerate(starts) if a <= s["source"][0] < b), -1)
            wanted = [range(int(a), int(b) + 1) for a, b in meta["relevant_turn_spans"]]
            return numpy.array([any(of(s) in w for w in wanted) and s["tokens"] > 8 for s in spans])
        answers = [normal(a) for a in row["answers"]]
        return numpy.array([any(a and a in t for a in answers) for t in normals])

    def names(self, query, texts, label, passage):
        asked = {w.lower() for w in WORD.findall(query)}
        name = lambda w: len(w) > 1 and (w[0].isupper() or w[0].isnumeric() or is_identifier(w))
        quiet_capitals = lambda t, w: w.isalpha() and is_shouted(t)
        found = [
            list(dict.fromkeys(w for w in WORD.findall(t) if name(w) and not quiet_capitals(t, w))) for t in texts
        ]
        containing = collections.Counter(w for words in found for w in words)
        count, quiet = len(texts), asked | set(STOP) | VAGUE
        most = max(COMMON, int(count * COMMON_SHARE))
        self.says = {
            w: numpy.log(count / n) / numpy.log(count)
            for w, n in containing.items()
            if 2 <= n <= most and w.lower() not in quiet
        }
        self.chains = {w for w in self.says if containing[w] <= CHAIN_MOST}
        self.found = [[w for w in words if w in self.says] for words in found]
        full = sum(any(is_identifier(w) for w in words) for words in self.found)
        # Where every line has identifiers, as in code, one that recurs says little.
        share = float(numpy.clip((USUAL - full / max(1, len(texts))) / (USUAL - RARE), 0, 1))
        self.identifiers = 1.0 if full <= COMMON else share
        self.passage = passage
        titles = {passage[i]: self.found[i] for i in range(count) if label[i]}
        self.titles = [titles.get(p, []) if any(label) else [] for p in passage]

    def links(self, score):
        order = [i for i in numpy.argsort(-score, kind="stable") if self.counts[i]][:CHAIN_SOURCES]
        odds = lambda v: 1 / (1 + numpy.exp(-v))
        start = collections.defaultdict(list)
        for rank, i in enumerate(order):
            share = (odds(score[i]) / max(odds(score[order[0]]), 1e-9)) ** 0.5
            for word in (w for w in self.found[i] if rank < SOURCES or (is_identifier(w) and w in self.chains)):
                faded = share**0.5 if is_identifier(word) and word in self.chains else share
                start[word].append((self.says[word] * faded, i))
        out = numpy.zeros((len(score), 3))
        for i in range(len(score)):
            for word in self.found[i]:
                value = max((v for v, j in start.get(word, ()) if j != i), default=0)
                out[i, 2 if is_identifier(word) else 0] += value
            for word in self.titles[i]:
                out[i, 1] += max((v for v, j in start.get(word, ()) if self.passage[j] != self.passage[i]), default=0)
        out = numpy.minimum(out, MOST)
        out[:, 2] *= self.identifiers
        return out


def fit(texts, features):
    """Weights of the listwise loss; columns are standardised for the ridge."""
    texts = [t for t in texts if t.needed.any()]
    rows = numpy.concatenate([features[id(t)] for t in texts])
    scale = numpy.maximum(rows.std(0), 1e-3)
    longest, width = max(t.counts.sum() for t in texts), rows.shape[1]
    x = torch.zeros(len(texts), longest, width, dtype=torch.double)
    needed, real = torch.zeros(len(texts), longest, dtype=torch.bool), torch.zeros(len(texts), longest, dtype=torch.bool)
    sizes = collections.Counter(t.task for t in texts)
    for i, t in enumerate(texts):
        n = t.counts.sum()
        x[i, :n] = torch.tensor(features[id(t)][t.counts] / scale)
        needed[i, :n], real[i, :n] = torch.tensor(t.needed[t.counts]), True
    share = torch.tensor([t.weight / sizes[t.task] for t in texts], dtype=torch.double)
    share /= share.sum()
    enough = torch.tensor([t.any for t in texts])
    weights = torch.zeros(width, dtype=torch.double, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=200)

    def closure():
        optimizer.zero_grad()
        score = (x @ weights).masked_fill(~real, -1e9)
        together = torch.logsumexp(score, 1) - torch.logsumexp(score.masked_fill(~needed, -1e9), 1)
        rest = torch.logsumexp(score.masked_fill(needed, -1e9), 1, keepdim=True)
        each = ((torch.logaddexp(score, rest) - score) * needed).sum(1) / needed.sum(1)
        loss = (share * torch.where(enough, together, each)).sum() + RIDGE * (weights**2).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return weights.detach().numpy() / scale


def train(texts):
    own = {id(t): t.features for t in texts}
    first = fit(texts, own)
    score = {id(t): t.features @ first for t in texts}
    for _ in range(HOPS):
        both = {id(t): numpy.concatenate([t.features, t.links(score[id(t)])], 1) for t in texts}
        second = fit(texts, both)
        second[-1] = max(second[-1], IDENTIFIERS)
        score = {k: f @ second for k, f in both.items()}
    return first, second


def apply(text, first, second):
    score = text.features @ first
    for _ in range(HOPS):
        score = numpy.concatenate([text.features, text.links(score)], 1) @ second
    return score


def calibrate(texts, scores):
    """Slope, weight of the log-sum, intercept: by binary cross-entropy, tasks weighed alike."""
    rows, labels, weight = [], [], []
    sizes = collections.Counter(t.task for t in texts)
    for t, s in zip(texts, scores):
        s = s[t.counts]
        whole = s.max() + numpy.log(numpy.exp(s - s.max()).sum())
        rows.append(numpy.stack([s, numpy.full(len(s), -whole), numpy.ones(len(s))], 1))
        labels.append(t.needed[t.counts])
        weight.append(numpy.full(len(s), min(t.weight, 1.0) / sizes[t.task]))
    x, y = torch.tensor(numpy.concatenate(rows)), torch.tensor(numpy.concatenate(labels), dtype=torch.double)
    w = torch.tensor(numpy.concatenate(weight))
    out = torch.tensor([1.0, 1.0, 0.0], dtype=torch.double, requires_grad=True)
    optimizer = torch.optim.LBFGS([out], max_iter=200)

    def closure():
        optimizer.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(x @ out, y, weight=w, reduction="sum") / w.sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return out.detach().numpy()


def probability(text, score, calibration):
    slope, whole, intercept = calibration
    s = score[text.counts]
    total = s.max() + numpy.log(numpy.exp(s - s.max()).sum())
    return 1 / (1 + numpy.exp(-(slope * s - whole * total + intercept)))


def mass_needed(text, score, calibration):
    """The share of the predicted mass that must be kept, best first, until nothing needed is missing."""
    p, needed = probability(text, score, calibration), text.needed[text.counts]
    order = numpy.argsort(-p, kind="stable")
    hits = numpy.flatnonzero(needed[order])
    last = hits[0] if text.any else hits[-1]
    return p[order][: last + 1].sum() / p.sum()


def curve(pairs):
    """Points (mass, share of texts that then hold what is needed), weighed by task, rising."""
    mass = numpy.array([m for m, _ in pairs])
    weight = numpy.array([w for _, w in pairs])
    order = numpy.argsort(mass)
    share = numpy.cumsum(weight[order]) / weight.sum()
    points = []
    for goal in (0.02, 0.1, 0.25, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99):
        at = mass[order][numpy.searchsorted(share, goal)]
        points.append([round(float(at), 5), goal])
    return [[0.0, 0.0], *points, [1.0, 1.0]]


def rising(points):
    """The nearest curve that does not fall: pool adjacent violators over (mass, found, weight)."""
    pools = []
    for mass, found, weight in points:
        pools.append([[mass], found, weight])
        while len(pools) > 1 and pools[-2][1] >= pools[-1][1]:
            masses, found, weight = pools.pop()
            pools[-1][1] = (pools[-1][1] * pools[-1][2] + found * weight) / (pools[-1][2] + weight)
            pools[-1][2] += weight
            pools[-1][0] += masses
    return [(numpy.mean(masses), found) for masses, found, _ in pools]


def curve_of(rows):
    """Points (mass, share found), from rows of (mass, found, weight) in bins of equal weight."""
    rows = sorted(rows)
    total, bins, bin_ = sum(w for _, _, w in rows), [], []
    for row in rows:
        bin_.append(row)
        if sum(w for _, _, w in bin_) >= total / BINS:
            bins.append(bin_)
            bin_ = []
    if bin_ and bins:
        bins[-1] += bin_
    mean = lambda b, k: sum(r[k] * r[2] for r in b) / sum(r[2] for r in b)
    points = rising([(mean(b, 0), mean(b, 1), sum(r[2] for r in b)) for b in bins])
    inside = [[round(float(m), 5), round(float(f), 5)] for m, f in points if 0 < m < 1 and 0 < f < 1]
    return [[0.0, 0.0], *inside, [1.0, 1.0]]


def refit_curve(source, used, out):
    """Replaces the retention curve by what was found in a run of several budgets, all tasks alike."""
    model = json.loads(Path(out).read_text(encoding="utf-8"))
    mass, share = zip(*json.loads(Path(used).read_text(encoding="utf-8"))["retention"])
    rows = []
    for record in map(json.loads, open(source, encoding="utf-8")):
        if record.get("stratum") != "semantic" or record["reader"] or record["predicted_retention"] is None:
            continue
        found = record["answer_kept"] if record["answer_kept"] is not None else record["gold_kept"]
        if found is not None:
            rows.append((record["task"], record["document"], numpy.interp(record["predicted_retention"], share, mass), float(found)))
    sizes = collections.Counter(task for task, *_ in rows)
    fold = {key: i % FOLDS for i, key in enumerate(sorted({document for _, document, *_ in rows}))}
    of = lambda keep: [(m, f, 1 / sizes[t]) for t, d, m, f in rows if keep(fold[d])]
    table = collections.defaultdict(list)
    for held in range(FOLDS):
        xs, ys = zip(*curve_of(of(lambda k: k != held)))
        for m, f, w in of(lambda k: k == held):
            p = numpy.interp(m, xs, ys)
            table[min(int(p * 10), 9)].append((p, f, w))
    print("cross-validated, by predicted retention: predicted, found")
    for key in sorted(table):
        p, f, w = map(numpy.array, zip(*table[key]))
        print(f"  {key / 10:.1f} {(p * w).sum() / w.sum():.3f} {(f * w).sum() / w.sum():.3f} of {len(p)}")
    model["retention"] = curve_of(of(lambda _: True))
    Path(out).write_text(json.dumps(model) + "\n", encoding="utf-8")


def kept_at(text, score, share):
    """Whether what is needed is among the best spans that make `share` of the tokens."""
    tokens = numpy.expm1(text.features[:, 9])[text.counts]
    order = numpy.argsort(-score[text.counts], kind="stable")
    inside = numpy.cumsum(tokens[order]) <= share * numpy.expm1(text.features[:, 9]).sum()
    hits = text.needed[text.counts][order]
    return (hits & inside).any() if text.any else (hits & inside).sum() / hits.sum()


def main(source, out):
    texts = [Text(json.loads(line)) for line in open(source, encoding="utf-8")]
    texts = [t for t in texts if t.needed.any()]
    keys = sorted({t.fold_key for t in texts})
    fold = {key: i % FOLDS for i, key in enumerate(keys)}
    scores = {}
    for held in range(FOLDS):
        model = train([t for t in texts if fold[t.fold_key] != held])
        scores |= {id(t): apply(t, *model) for t in texts if fold[t.fold_key] == held}
        print("fold", held + 1, "of", FOLDS, file=sys.stderr, flush=True)
    scores = [scores[id(t)] for t in texts]
    # A question to a meeting needs dozens of turns: its probabilities are of another kind.
    short = [i for i, t in enumerate(texts) if t.task != "qmsum"]
    calibration = calibrate([texts[i] for i in short], [scores[i] for i in short])
    print("cross-validated, sentences alone:")
    for task in TASKS:
        own = [(t, s) for t, s in zip(texts, scores) if t.task == task]
        if own:
            shown = " ".join(f"{share:.0%} {numpy.mean([kept_at(t, s, share) for t, s in own]):.3f}" for share in (0.1, 0.25))
            print(f"  {task:20} {len(own):4} rows: {shown}")
    everything = numpy.concatenate([probability(texts[i], scores[i], calibration) for i in short])
    labels = numpy.concatenate([texts[i].needed[texts[i].counts] for i in short])
    print("predicted and found share of needed spans:")
    for low, high in ((0, 0.01), (0.01, 0.05), (0.05, 0.2), (0.2, 0.5), (0.5, 1.01)):
        inside = (everything >= low) & (everything < high)
        print(f"  {low:.2f} to {min(high, 1):.2f}: {everything[inside].mean():.3f} {labels[inside].mean():.3f} of {inside.sum()}")
    sizes = collections.Counter(texts[i].task for i in short)
    pairs = [
        (mass_needed(texts[i], scores[i], calibration), 1 / sizes[texts[i].task])
        for i in short
        if sizes[texts[i].task] >= LEAST_ROWS
    ]
    first, second = train(texts)
    rounded = lambda values: [round(float(v), 5) for v in values]
    model = {
        "first": rounded(first),
        "second": rounded(second),
        "hops": HOPS,
        "calibration": rounded(calibration),
        "retention": curve(pairs),
    }
    Path(out).write_text(json.dumps(model) + "\n", encoding="utf-8")


if __name__ == "__main__":
    {"collect": lambda: collect(*sys.argv[2:]), "fit": lambda: main(*sys.argv[2:4]), "curve": lambda: refit_curve(*sys.argv[2:5])}[sys.argv[1]]()
