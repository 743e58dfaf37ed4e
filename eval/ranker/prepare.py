"""Makes training groups for the cross-encoder: a query, one passage that answers it, and passages that
look as if they did but do not.

    python prepare.py TRAIN_FOLDER groups.jsonl
    python prepare.py TRAIN_FOLDER groups-2.jsonl --near static.gguf --model MODEL_FOLDER

TRAIN_FOLDER holds the 13 files that README.md names. With `--near` it makes the groups of the second round: near
misses also by the vectors of the static embedder, more of them, and half of the passages cut to a hundred words,
as retrieval corpora are. A group is one line:

    {"source", "query", "passages": [{"title", "sentences": [...], "labels": [0 or 1, ...]}, ...]}

The first passage holds the answer; the others do not. Same input, same seed, same bytes.
"""

import argparse
import collections
import json
import math
import random
import re
import sys
from pathlib import Path

import numpy

SEED = 20261123
# Words of a passage: with query and title it stays under 255 WordPiece tokens for nearly all.
PASSAGE_WORDS = 130
NEGATIVES = 2
# How many groups of each source; None takes all.
MIX = {
    "qed_natural_questions": None,
    "squadshifts_new_wiki": 2600,
    "xquad_en_squad11dev": 700,
    "squadshifts_reddit": 700,
    "squadshifts_amazon_reviews": 300,
    "tatqa_text": 500,
    "squad11_sentence_pairs": 1000,
    "selqa_sentences": 1800,
    "conditionalqa_sentences": 800,
    "covidqa_long": 800,
    "evidence_inference_long": 400,
    "qmsum_train_spans": 1300,
}
# The second round: more of what is asked without having seen the passage.
SECOND_NEGATIVES = 3
SECOND_MIX = {
    "qed_natural_questions": None,
    "squadshifts_new_wiki": 1500,
    "xquad_en_squad11dev": 300,
    "squadshifts_reddit": 200,
    "squadshifts_amazon_reviews": 100,
    "tatqa_text": 200,
    "squad11_sentence_pairs": 200,
    "selqa_sentences": 600,
    "conditionalqa_sentences": 300,
    "covidqa_long": 300,
    "evidence_inference_long": 200,
    "qmsum_train_spans": 600,
}
CROPPED = ("qed_natural_questions", "squadshifts_new_wiki", "xquad_en_squad11dev", "selqa_sentences")
CROP_WORDS = 100
STOP = set(
    "a an the of in on at to for from by with and or is are was were be been do does did what which who "
    "whom whose when where why how it its this that these those as has have had not no s t".split()
)
ABBREVIATION = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|St|Jr|Sr|vs|etc|No|Inc|Ltd|Co|al|Fig|eg|ie|[A-Z]))\.$")


def sentences(text):
    """Sentences of `text`, with the offset of each."""
    cuts = [0]
    for match in re.finditer(r"[.!?][\"')\]]*\s+(?=[\"'(\[]?[A-Z0-9])|\n+", text):
        if "\n" in match.group() or not ABBREVIATION.search(text[cuts[-1] : match.start() + 1]):
            cuts.append(match.end())
    cuts.append(len(text))
    return [(a, text[a:b].strip()) for a, b in zip(cuts, cuts[1:]) if text[a:b].strip()]


def words(text):
    return [w for w in re.findall(r"[a-z0-9]+", text.lower()) if w not in STOP]


def normal(text):
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


def windows(units, labels, size=PASSAGE_WORDS):
    """Cuts a list of sentences into windows of at most `size` words, half of it shared with the next."""
    out, start = [], 0
    while start < len(units):
        end, total = start, 0
        while end < len(units) and (end == start or total + len(units[end].split()) <= size):
            total += len(units[end].split())
            end += 1
        out.append((units[start:end], labels[start:end]))
        if end == len(units):
            break
        back, shared = end, 0
        while back - 1 > start and shared + len(units[back - 1].split()) <= size // 2:
            back -= 1
            shared += len(units[back].split())
        start = max(back, start + 1)
    return out


class Pool:
    """Passages that negatives are drawn from, by BM25 (k1 1.2, b 0.75) over title and text."""

    def __init__(self):
        self.passages, self.normal, self.ids = [], [], {}

    def add(self, title, units):
        key = normal(" ".join(units))
        if key not in self.ids:
            self.ids[key] = len(self.passages)
            self.passages.append({"title": title, "sentences": units, "labels": [0] * len(units)})
            self.normal.append(key)
        return self.ids[key]

    def index(self):
        counts = [collections.Counter(words(p["title"] + " " + " ".join(p["sentences"]))) for p in self.passages]
        lengths = numpy.array([sum(c.values()) for c in counts], dtype=numpy.float32)
        norm = 1.2 * (0.25 + 0.75 * lengths / lengths.mean())
        postings = collections.defaultdict(lambda: ([], []))
        for at, counter in enumerate(counts):
            for word, count in counter.items():
                postings[word][0].append(at)
                postings[word][1].append(count)
        self.postings = {}
        for word, (at, count) in postings.items():
            at, count = numpy.array(at), numpy.array(count, dtype=numpy.float32)
            weight = math.log(1 + (len(counts) - len(at) + 0.5) / (len(at) + 0.5))
            self.postings[word] = at, weight * count * 2.2 / (count + norm[at])

    def embed(self, near):
        """Lets near misses be found by the vectors of `near` too."""
        self.near = near
        self.vectors = near([p["title"] + " " + " ".join(p["sentences"]) for p in self.passages])

    def misses(self, best, title, own, answers):
        """Those of `best` that hold no answer; with a title where the right passage has one."""
        answers = [normal(a) for a in answers if normal(a)]
        alike = lambda i: bool(self.passages[i]["title"]) == bool(title)
        return [int(i) for i in best if i != own and alike(i) and not any(a in self.normal[i] for a in answers)]

    def close(self, query, title, own, answers, rng, count):
        """Near misses by the vectors: sampled from the dozen nearest that hold no answer."""
        scores = self.vectors @ self.near([query])[0]
        best = numpy.argpartition(-scores, 48)[:48]
        best = best[numpy.argsort(-scores[best], kind="stable")]
        near = self.misses(best, title, own, answers)[:12]
        return rng.sample(near, min(count, len(near)))

    def hard(self, query, title, own, answers, rng, count):
        """Near misses: among the best by the query's words, or by the title's; none holds an answer."""
        scores = numpy.zeros(len(self.passages), dtype=numpy.float32)
        for word in set(words(query)):
            if word in self.postings:
                at, weight = self.postings[word]
                scores[at] += weight
        if rng.random() < 0.3:
            for word in set(words(title)):
                if word in self.postings:
                    at, weight = self.postings[word]
                    scores[at] += weight
        best = numpy.argpartition(-scores, 48)[:48]
        best = best[numpy.argsort(-scores[best], kind="stable")]
        near = self.misses(best, title, own, answers)[: 4 * count]
        return rng.sample(near, min(count, len(near)))


def read(path):
    with open(path, encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def of_answers(row):
    """Sentences of a SQuAD-like row, and which of them an answer touches."""
    text = row["context"]
    if "sentence_starts" in row:
        starts = row["sentence_starts"] + [len(text)]
        parts = [(a, text[a:b].strip()) for a, b in zip(starts, starts[1:]) if text[a:b].strip()]
    else:
        parts = sentences(text)
    labels = []
    for index, (start, _) in enumerate(parts):
        end = parts[index + 1][0] if index + 1 < len(parts) else len(text)
        hit = any(start < a["start"] + max(len(a["text"]), 1) and a["start"] < end for a in row["answers"])
        labels.append(int(hit))
    return [s for _, s in parts], labels


def plain(units):
    """Undoes the tokenised brackets and quotes of the lower-case sentence pairs."""
    for old, new in (("-lrb-", "("), ("-rrb-", ")"), ("``", '"'), ("''", '"')):
        units = [u.replace(old, new) for u in units]
    return units


def pick_window(units, labels, rng):
    """A window that holds a relevant sentence, and the windows of the same text that hold none."""
    cut = windows(units, labels)
    good = [w for w in cut if any(w[1])]
    if not good:
        return None, []
    relevant = {u for u, l in zip(units, labels) if l}
    bad = [w for w in cut if not relevant.intersection(w[0])]
    return rng.choice(good), bad


def static_vectors(table, model):
    """Unit vectors of texts, by the static embedder."""
    import gguf
    from tokenizers import Tokenizer

    tensor = next(t for t in gguf.GGUFReader(table).tensors if t.name == "tokens.weight")
    table = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
    tokenizer = Tokenizer.from_file(str(Path(model) / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()

    def embed(texts):
        out = numpy.zeros((len(texts), table.shape[1]), dtype=numpy.float32)
        for at, encoding in enumerate(tokenizer.encode_batch_fast(texts, add_special_tokens=False)):
            out[at] = table[encoding.ids].sum(0)
        return out / numpy.maximum(numpy.linalg.norm(out, axis=1, keepdims=True), 1e-9)

    return embed


def crop(units, labels, rng):
    """A stretch of a hundred words: it may begin and end within a sentence, but not within a relevant one."""
    owners = [i for i, unit in enumerate(units) for _ in unit.split()]
    spare = len(owners) - CROP_WORDS
    if spare <= 0:
        return units, labels
    start = rng.randint(0, spare)
    needed = [at for at, i in enumerate(owners) if labels[i]]
    if needed:
        start = min(max(start, needed[-1] + 1 - CROP_WORDS, 0), needed[0])
    taken, kept = [], []
    words = [w for unit in units for w in unit.split()]
    for word, owner in zip(words[start : start + CROP_WORDS], owners[start : start + CROP_WORDS]):
        if not kept or kept[-1] != owner:
            kept.append(owner)
            taken.append([])
        taken[-1].append(word)
    return [" ".join(t) for t in taken], [labels[i] for i in kept]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--near", type=Path, help="static.gguf: makes the second round")
    parser.add_argument("--model", type=Path, help="the folder with its tokenizer.json")
    args = parser.parse_args()
    folder, out, second = args.folder, args.out, args.near is not None
    rng = random.Random(SEED + second)
    negatives = SECOND_NEGATIVES if second else NEGATIVES
    pool = Pool()
    drafts = []
    for name, limit in (SECOND_MIX if second else MIX).items():
        rows = list(read(folder / f"{name}.jsonl"))
        rng.shuffle(rows)
        taken = []
        if name == "qmsum_train_spans":
            for row in rows:
                turns = []
                for who, what in row["turns"]:
                    what = " ".join(re.sub(r"\{[^}]*\}", " ", what).split())
                    turns.append(f"{who}: {' '.join(what.split()[:80])}")
                for query in row["queries"]:
                    if not query["relevant_spans"]:
                        continue
                    labels = [0] * len(turns)
                    for first, last in query["relevant_spans"]:
                        for turn in range(int(first), min(int(last) + 1, len(turns))):
                            labels[turn] = 1
                    for _ in range(2):
                        good, bad = pick_window(turns, labels, rng)
                        if good and len(bad) >= negatives:
                            taken.append((name, query["question"], "", good, rng.sample(bad, negatives), None, []))
            rng.shuffle(taken)
        else:
            for row in rows:
                question = row["question"]
                title = row.get("title", "").replace("_", " ").strip()
                if name in ("squadshifts_reddit", "squadshifts_amazon_reviews", "evidence_inference_long"):
                    title = ""
                answers = [a["text"] for a in row.get("answers", []) if isinstance(a, dict)]
                if "units" in row:
                    units, labels = plain(row["units"]), [0] * len(row["units"])
                    for index in row["relevant"]:
                        labels[index] = 1
                    if name == "conditionalqa_sentences":
                        title = title.rsplit("/", 1)[-1].replace("-", " ")
                        if rng.random() < 0.5:
                            question = f"{row.get('scenario', '')} {question}".strip()
                else:
                    units, labels = of_answers(row)
                if not any(labels):
                    continue
                good, bad = pick_window(units, labels, rng)
                own = pool.add(title, good[0])
                for other, _ in windows(units, labels):
                    if "long" not in name:
                        pool.add(title, other)
                bad = rng.sample(bad, min(len(bad), negatives if "long" in name else 1))
                taken.append((name, question, title, good, bad, own, answers))
        drafts.extend(taken if limit is None else taken[:limit])
        print(name, len(taken), file=sys.stderr)
    pool.index()
    if second:
        pool.embed(static_vectors(args.near, args.model))
    print("passages in the pool:", len(pool.passages), file=sys.stderr)
    rng.shuffle(drafts)
    with open(out, "w", encoding="utf-8") as file:
        for name, question, title, good, bad, own, answers in drafts:
            passages = [{"title": title, "sentences": good[0], "labels": good[1]}]
            passages += [{"title": title, "sentences": b[0], "labels": [0] * len(b[0])} for b in bad]
            missing = negatives + 1 - len(passages)
            if second and missing > 1:
                found = pool.close(question, title, own, answers, rng, missing - 1)
                passages += [dict(pool.passages[i]) for i in found]
                missing = negatives + 1 - len(passages)
            if missing > 0:
                found = pool.hard(question, title, own, answers, rng, missing)
                passages += [dict(pool.passages[i]) for i in found]
            if second and name in CROPPED and rng.random() < 0.5:
                for passage in passages:
                    cut = crop(passage["sentences"], passage["labels"], rng)
                    passage["sentences"], passage["labels"] = cut
            row = {"source": name, "query": question, "passages": passages}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
