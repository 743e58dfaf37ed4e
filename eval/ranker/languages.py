"""Fits the ranker of languages other than English (crates/compactor/src/rank/multilingual.rs).

    python languages.py rows LANGUAGES rows.jsonl              # texts of twenty passages, from training rows
    cargo run --release -p epitome-compactor --example languages < rows.jsonl > scores.jsonl
    python languages.py fit rows.jsonl scores.jsonl multilingual.json       # the weights, cross-validated
    cargo run --release -p epitome-compactor --example languages < rows.jsonl > results.jsonl
    python languages.py predict rows.jsonl results.jsonl multilingual.json  # calibration and retention of those weights

LANGUAGES is the folder of training rows. Of the passages beside the right one, seven are the nearest
by trigrams, up to four are of the same article, the rest are drawn. None of them holds an answer. The features are those
of multilingual.rs; loss, calibration and curve are as in fit.py, the loss of spans and of their passages together.
Without a curve nothing is predicted. Of the weights that the binary has, those for one language are set by hand, those
across languages are fitted (README.md).
"""

import collections
import json
import math
import random
import re
import sys
import unicodedata
from pathlib import Path

import numpy
from scipy.optimize import minimize

SEED = 20261130
LANGUAGES = "ar de el en es fa fr hi id it ja ko pt ro ru sv th tr vi zh".split()
# Rows of each language, and of each kind of pair.
ROWS = {"ml_multidoc": 14, "ml_xling": 60, "ml_xling_rev": 30, "ml_xmixed": 40}
PASSAGES, NEAR, SAME = 20, 7, 4
POOL, SHORTEST, LONGEST = 300, 40, 1400


def trigrams(text):
    words = re.sub(r"\W+", " ", unicodedata.normalize("NFKC", text).lower()).split()
    return [word[at : at + 3] for word in map("_{}_".format, words) for at in range(max(1, len(word) - 2))]


def bm25(counted, query, k1=1.2, b=0.75):
    lengths = [sum(counts.values()) for counts in counted]
    mean, total = sum(lengths) / len(lengths), len(counted)
    scores = numpy.zeros(total)
    for term in sorted(set(query)):
        has = [at for at, counts in enumerate(counted) if term in counts]
        idf = math.log(1 + (total - len(has) + 0.5) / (len(has) + 0.5))
        for at in has:
            n = counted[at][term]
            scores[at] += idf * n * (k1 + 1) / (n + k1 * (1 - b + b * lengths[at] / mean))
    return scores


def passage(row):
    """The part of the context around the answer that is as long as a passage."""
    text, (answer, start) = row["context"], (row["answers"][0]["text"], row["answers"][0]["start"])
    parts, at = [], 0
    for part in text.split("\n"):
        parts.append((at, part))
        at += len(part) + 1
    inside = [part for at, part in parts if at <= start and start + len(answer) <= at + len(part)]
    return inside[0].strip() if inside and SHORTEST <= len(inside[0].strip()) <= LONGEST else None


class Pool:
    """Passages of one language, with what is near to a question."""

    def __init__(self, rows):
        self.passages = sorted({(row["passage"], row["title"]) for row in rows})
        self.counted = [collections.Counter(trigrams(text)) for text, _ in self.passages]

    def beside(self, row, rng):
        answers = [answer["text"] for answer in row["answers"]]
        fits = lambda at: not any(a in self.passages[at][0] for a in answers) and (
            self.passages[at][0] != row["passage"]
        )
        free = [at for at in range(len(self.passages)) if fits(at)]
        near = bm25(self.counted, trigrams(row["question"]))
        chosen = sorted(free, key=lambda at: (-near[at], at))[:NEAR]
        same = [at for at in free if at not in chosen and self.passages[at][1] == row["title"]]
        chosen += rng.sample(same, min(len(same), SAME))
        rest = [at for at in free if at not in chosen]
        chosen += rng.sample(rest, min(len(rest), PASSAGES - 1 - len(chosen)))
        return [self.passages[at] for at in chosen]


def read(path):
    for line in open(path, encoding="utf-8"):
        row = json.loads(line)
        row["passage"] = passage(row) if row["answers"] and len(row["answers"][0]["text"]) > 1 else None
        if row["passage"]:
            yield row


def rows(folder, out):
    rng = random.Random(SEED)
    pairs = list(read(Path(folder) / "xling.jsonl"))
    rng.shuffle(pairs)
    own, pools = {}, {}
    for language in LANGUAGES:
        all_rows = list(read(Path(folder) / f"{language}.jsonl"))
        rng.shuffle(all_rows)
        by_passage = {row["passage"]: row for row in reversed(all_rows)}
        own[language] = list(by_passage.values())[:POOL]
        theirs = {row["passage"]: row for row in pairs if row["lang"] == language}
        pools[language] = Pool(own[language] + list(theirs.values())[: POOL // 2])
    wanted = [("ml_multidoc", row) for lang in LANGUAGES for row in own[lang][: ROWS["ml_multidoc"]]]
    over = lambda row: row["question_lang"] == "en" and row["lang"] != "en"
    back = lambda row: row["lang"] == "en" and row["question_lang"] != "en"
    kinds = {"ml_xling": over, "ml_xling_rev": back, "ml_xmixed": lambda row: over(row) or not back(row)}
    for kind, fits in kinds.items():
        # As many of each language as there are.
        seen, order = collections.Counter(), []
        for row in filter(fits, pairs):
            pair = row["lang"], row["question_lang"]
            order.append((seen[pair], len(order), row))
            seen[pair] += 1
        ranked = [row for _, _, row in sorted(order, key=lambda item: item[:2])]
        wanted += [(kind, row) for row in ranked[: ROWS[kind]]]
    with open(out, "w", encoding="utf-8") as file:
        for at, (task, row) in enumerate(wanted):
            pool = pools[row["lang"]]
            beside = pool.beside(row, rng)
            if task == "ml_xmixed":
                others = [lang for lang in LANGUAGES if lang != row["lang"]]
                mixed = [rng.choice(pools[rng.choice(others)].passages) for _ in range(12)]
                nearest = [lang for lang in rng.sample(others, 4)]
                mixed += [pools[lang].beside(row, rng)[-1] for lang in nearest]
                answers = [answer["text"] for answer in row["answers"]]
                # A translation of the right passage has its title.
                fits = lambda p: p[1] != row["title"] and not any(a in p[0] for a in answers)
                beside = beside[:3] + [p for p in mixed if fits(p)]
            gold = rng.randrange(len(beside) + 1)
            rng.shuffle(beside)
            beside.insert(gold, (row["passage"], row["title"]))
            titled = task == "ml_multidoc"
            lines = [
                f"Document [{i + 1}](Title: {title if titled else '-'}) {' '.join(text.split())}"
                for i, (text, title) in enumerate(beside)
            ]
            language = {"lang": row["lang"], "query_lang": row.get("question_lang", row["lang"])}
            meta = {**language, "scoring": "contains_any", "gold_position": gold}
            answers = sorted({" ".join(answer["text"].split()) for answer in row["answers"]})
            record = {
                "id": f"{task}-train-{at:04}",
                "task": task,
                "source": row["source"],
                "license": row["license"],
                "context": "\n".join(lines),
                "query": row["question"],
                "answers": answers,
                "choices": None,
                "answer_index": None,
                "metadata": meta,
            }
            file.write(json.dumps(record, ensure_ascii=False) + "\n")


RIDGE, FOLDS, COSINE, BINS = 1e-2, 5, 10.0, 12
# Weight of the passages' part of the loss.
PASSAGE = 0.5
UNSPACED = {"ja", "th", "zh"}
FAMILIES = ["spaced", "unspaced", "crossed"]


def standardize(values):
    known = values[numpy.isfinite(values)]
    if len(known) == 0 or known.std() < 1e-9:
        return numpy.zeros_like(values)
    return (numpy.where(numpy.isfinite(values), values, known.min()) - known.mean()) / known.std()


class Text:
    """A row: its features, and which spans and passages are needed."""

    def __init__(self, row):
        meta, spans, data = row["metadata"], row["spans"], row["context"].encode()
        self.task, self.lang = row["task"], meta["lang"]
        self.key = row["context"].split("\n")[meta["gold_position"]]
        crossed = meta["lang"] != meta["query_lang"] or row["task"] == "ml_xmixed"
        self.family = 2 if crossed else int(meta["lang"] in UNSPACED)
        texts = [data[a:b].decode() for a, b in (s["source"] for s in spans)]
        label = numpy.array([t.startswith("Document [") and "](Title:" in t for t in texts])
        self.counts = numpy.array([not l and bool(t.strip()) for l, t in zip(label, texts)])
        self.tokens = numpy.array([s["tokens"] for s in spans])
        self.block = numpy.array([s["block"] for s in spans])
        self.own(spans, label)
        start, needed = 0, []
        for at, line in enumerate(data.split(b"\n")):
            if at == meta["gold_position"]:
                for answer in row["answers"]:
                    found = line.find(answer.encode())
                    if found >= 0:
                        needed.append((start + found, start + found + len(answer.encode())))
                gold = start, start + len(line)
            start += len(line) + 1
        a, b = min(needed, default=(0, 0))
        self.needed = self.counts & numpy.array([s["source"][0] < b and s["source"][1] > a for s in spans])
        self.right = self.counts & numpy.array([gold[0] <= s["source"][0] < gold[1] for s in spans])

    def own(self, spans, label):
        raw = {}
        for name in ["dense", "dense_block", "lexical", "lexical_block", "trigrams", "trigrams_block"]:
            values = numpy.array([numpy.nan if s[name] is None else s[name] for s in spans], dtype=float)
            raw[name] = numpy.where(self.counts, values, numpy.nan)
        own, block = standardize(raw["dense"]), standardize(raw["dense_block"])
        columns = [own, block]
        for name in ["dense", "dense_block"]:
            filled = numpy.where(numpy.isfinite(raw[name]), raw[name], numpy.nanmin(raw[name]))
            columns.append(COSINE * (filled - numpy.nanmax(raw[name])))
        words = [raw[name] for name in list(raw)[2:]]
        columns += [standardize(values) for values in words]
        columns += [numpy.nan_to_num(values / (numpy.nanmax(values) + 1e-6)) for values in words]
        count = len(spans)
        for step in [-1, 1]:
            near = numpy.arange(count) + step
            inside = (near >= 0) & (near < count)
            near = numpy.clip(near, 0, count - 1)
            fits = inside & self.counts[near] & (self.block[near] == self.block)
            columns.append(numpy.where(fits, own[near], own))
        columns.append(numpy.log1p(self.tokens))
        columns.append(numpy.concatenate([[0.0], label[:-1].astype(float)]))
        best = {}
        for at in numpy.flatnonzero(self.counts):
            best.setdefault(self.block[at], block[at])
        order = {b: rank for rank, b in enumerate(sorted(best, key=lambda b: (-best[b], b)))}
        rank = numpy.array([order.get(b, len(order)) for b in self.block], dtype=float)
        columns += [(rank < 1).astype(float), (rank < 2).astype(float), numpy.log1p(rank)]
        self.features = numpy.stack(columns, 1)


def share_of(score, marked):
    """-log of the softmax share of the marked spans, and its gradient by the scores."""
    odds = numpy.exp(score - score.max())
    all_, some = odds / odds.sum(), numpy.where(marked, odds, 0.0)
    return -numpy.log(some.sum() / odds.sum()), all_ - some / some.sum()


def fit(texts):
    texts = [t for t in texts if t.needed.any()]
    scale = numpy.maximum(numpy.concatenate([t.features[t.counts] for t in texts]).std(0), 1e-3)
    inputs = [(t.features[t.counts] / scale, t.needed[t.counts], t.right[t.counts]) for t in texts]

    def loss(weights):
        total, gradient = RIDGE * (weights**2).sum(), 2 * RIDGE * weights
        for x, needed, right in inputs:
            score = x @ weights
            for part, marked in [(1 - PASSAGE, needed), (PASSAGE, right)]:
                value, by_score = share_of(score, marked)
                total += part * value / len(inputs)
                gradient = gradient + part * (by_score @ x) / len(inputs)
        return total, gradient

    return minimize(loss, numpy.zeros(len(scale)), jac=True, method="L-BFGS-B").x / scale


def log_sum(score):
    return score.max() + numpy.log(numpy.exp(score - score.max()).sum())


def calibrate(texts, scores):
    """Slope, weight of the log-sum, intercept: by binary cross-entropy."""
    rows, labels = [], []
    for t, s in zip(texts, scores):
        s = s[t.counts]
        rows.append(numpy.stack([s, numpy.full(len(s), -log_sum(s)), numpy.ones(len(s))], 1))
        labels.append(t.needed[t.counts])
    x, y = numpy.concatenate(rows), numpy.concatenate(labels).astype(float)

    def loss(out):
        odds = x @ out
        value = (numpy.logaddexp(0, odds) - y * odds).mean()
        return value, ((1 / (1 + numpy.exp(-odds)) - y) @ x) / len(y)

    return minimize(loss, numpy.array([1.0, 1.0, 0.0]), jac=True, method="L-BFGS-B").x


def kept_at(text, score, share):
    """Whether the answer is among the best spans that make `share` of the tokens."""
    score, tokens = score[text.counts], text.tokens[text.counts]
    order = numpy.argsort(-score, kind="stable")
    inside = numpy.cumsum(tokens[order]) <= share * text.tokens.sum()
    needed = text.needed[text.counts][order]
    return bool((needed <= inside).all())


def texts_of(source, scores):
    written = {row["id"]: row for row in map(json.loads, open(scores, encoding="utf-8"))}
    for row in map(json.loads, open(source, encoding="utf-8")):
        result = written.get(row["id"])
        # English questions to English texts are ranked by other models.
        if result and result["spans"] and "trigrams" in result["spans"][0]:
            text = Text(row | {"spans": result["spans"]})
            if text.needed.any():
                yield text, result


def train(source, scores, out):
    texts = [text for text, _ in texts_of(source, scores)]
    fold = {key: at % FOLDS for at, key in enumerate(sorted({t.key for t in texts}))}
    groups = [[t for t in texts if (t.family == 2) == crossed] for crossed in (False, True)]
    score = {}
    for group in groups:
        for held in range(FOLDS):
            weights = fit([t for t in group if fold[t.key] != held])
            score |= {id(t): t.features @ weights for t in group if fold[t.key] == held}
    print("cross-validated, sentences alone, at 10 and 25 % of the tokens:")
    for name in sorted({(t.task, t.lang if t.task == "ml_multidoc" else "") for t in texts}):
        own = [t for t in texts if (t.task, t.lang if t.task == "ml_multidoc" else "") == name]
        first = numpy.mean([t.right[t.counts][numpy.argmax(score[id(t)][t.counts])] for t in own])
        kept = [numpy.mean([kept_at(t, score[id(t)], share) for t in own]) for share in (0.1, 0.25)]
        print(f"  {' '.join(name):16} {len(own):4} rows: {kept[0]:.3f} {kept[1]:.3f}, right passage first {first:.3f}")
    predictions = []
    for at, family in enumerate(FAMILIES):
        own = [t for t in texts if t.family == at]
        constants = calibrate(own, [score[id(t)] for t in own])
        kept = [numpy.mean([kept_at(t, score[id(t)], share) for t in own]) for share in (0.1, 0.25)]
        print(f"  {family}: {kept[0]:.3f} {kept[1]:.3f} of {len(own)}")
        predictions.append({"calibration": rounded(constants), "retention": []})
    same, crossed = map(fit, groups)
    model = {"same": rounded(same), "crossed": rounded(crossed), "predictions": predictions}
    Path(out).write_text(json.dumps(model) + "\n", encoding="utf-8")


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


def curve_of(pairs):
    """Points (mass, share found), in bins of as many results."""
    bins = numpy.array_split(numpy.array(sorted(pairs)), BINS)
    points = rising([(part[:, 0].mean(), part[:, 1].mean(), len(part)) for part in bins])
    inside = [rounded(point) for point in points if 0 < point[0] < 1 and 0 < point[1] < 1]
    return [[0.0, 0.0], *inside, [1.0, 1.0]]


def predict(source, results, out):
    """Calibrates the weights that are there, and takes their retention curves from what was kept."""
    model = json.loads(Path(out).read_text(encoding="utf-8"))
    texts = list(texts_of(source, results))
    weights = [numpy.array(model["crossed" if at == 2 else "same"]) for at in range(len(FAMILIES))]
    score = {id(text): text.features @ weights[text.family] for text, _ in texts}
    keys = sorted({text.key for text, _ in texts})
    fold = {key: at % FOLDS for at, key in enumerate(keys)}

    def points(own, constants):
        """Share of the predicted mass that is kept, and whether the answer is there, of each result."""
        slope, whole, intercept = constants
        for text, written in own:
            scores = score[id(text)]
            odds = slope * scores - whole * log_sum(scores[text.counts]) + intercept
            chance = numpy.where(text.counts, 1 / (1 + numpy.exp(-odds)), 0.0)
            for result in written["results"]:
                if result["kept"]:
                    yield float(chance[result["kept"]].sum() / chance.sum()), float(result["found"])

    def fitted(own):
        constants = calibrate([text for text, _ in own], [score[id(text)] for text, _ in own])
        return constants, curve_of(list(points(own, constants)))

    for at, family in enumerate(FAMILIES):
        own = [pair for pair in texts if pair[0].family == at]
        table = collections.defaultdict(list)
        for held in range(FOLDS):
            constants, curve = fitted([pair for pair in own if fold[pair[0].key] != held])
            for mass, found in points([pair for pair in own if fold[pair[0].key] == held], constants):
                predicted = numpy.interp(mass, *zip(*curve))
                table[min(int(predicted * 5), 4)].append((predicted, found))
        every = numpy.array([pair for pairs in table.values() for pair in pairs]).mean(0)
        print(f"  {family}: {len(own)} rows, predicted {every[0]:.3f}, found {every[1]:.3f}")
        for key in sorted(table):
            predicted, found = numpy.array(table[key]).mean(0)
            print(f"  {family} {key / 5:.1f}: predicted {predicted:.3f}, found {found:.3f} of {len(table[key])}")
        constants, curve = fitted(own)
        model["predictions"][at] = {"calibration": rounded(constants), "retention": curve}
    Path(out).write_text(json.dumps(model) + "\n", encoding="utf-8")


def rounded(values):
    return [round(float(value), 5) for value in values]


if __name__ == "__main__":
    commands = {"rows": rows, "fit": train, "predict": predict}
    commands[sys.argv[1]](*sys.argv[2:])
