"""Fits how much a sentence says of its whole text (crates/compactor/src/rank/wholes.rs).

    python wholes.py ../../target/release/epitome TRAIN ../../crates/compactor/src/rank/wholes.json

TRAIN is a folder with `qmsum_train_spans.jsonl` (QMSum, MIT: meetings of AMI and ICSI, CC-BY-4.0, and of committees of
parliaments, each with a summary of the whole) and `squality_train_summaries.jsonl` (SQuALITY, CC-BY-4.0: stories of
Project Gutenberg, each with four summaries of its plot). Needs numpy and snowballstemmer; takes minutes on one core.

A sentence's label is how many words and pairs of words it shares with the references, over the mean of its text. The
model is linear, fitted by ridge regression, each text counting the same: features of the sentence (those of wholes.rs),
and the words in it. Words that belong to one subject would tell nothing of other texts, so only those are looked at that
stand in half of the texts of every source, and the `WORDS` of them that tell most are kept.
"""

import collections
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy
import snowballstemmer

WORDS, RIDGE, PAIR, SINGLE, PARTS, WINDOW = 240, 300.0, 1.0, 0.3, 12, 3
# A word stands in so many of the meetings of each source, and of the stories.
IN_MEETINGS, IN_STORIES = 0.5, 0.2
STOP = set(re.findall(r'^    "(.+)",$', (Path(__file__).parents[2] / "crates/text/src/terms.rs").read_text(), re.M))
# The same as in wholes.rs.
FILLER = set(
    "uh um er erm hm hmm mm mmm mhm yeah yep yes nah okay ok oh ah huh right well gonna wanna know mean like sort kind "
    "re ve ll don didn doesn isn wouldn couldn shouldn aren wasn".split()
)
MARK = re.compile(r"[{\[<][a-z_]{1,24}[}\]>]")
WORD = re.compile(r"[a-z0-9]+")
STEMMER = snowballstemmer.stemmer("english")
NAMES = [
    "content", "content_share", "opens", "near_start", "near_end", "position", "frequency", "spread", "figures", "names",
    "turn", "first", "last", "filler", "question", "around",
    "words", "words_opens", "words_near_start", "words_near_end", "words_frequency", "words_spread", "words_figures",
    "words_names", "words_filler", "words_around",
]  # fmt: skip
STEMS = {}


def stem(word):
    if word not in STEMS:
        STEMS[word] = STEMMER.stemWord(word) if word.isalpha() else word
    return STEMS[word]


def words(text):
    return WORD.findall(MARK.sub(" ", text).lower())


def is_content(word):
    return (len(word) > 1 or not word.isalpha()) and word not in STOP and word not in FILLER


class Text:
    """The sentences of a text and their features."""

    def __init__(self, text, spans, references, source):
        raw = text.encode()
        self.source, self.references = source, references
        plain = [raw[slice(*span["source"])].decode() for span in spans]
        self.at = [at for at, span in enumerate(spans) if span["content"] != "heading" and plain[at].strip()]
        self.spans = [spans[at] for at in self.at]
        self.plain = [plain[at] for at in self.at]
        self.words = [words(text) for text in self.plain]
        self.content = [[stem(word) for word in own if is_content(word)] for own in self.words]
        self.stems = [{stem(word) for word in own} for own in self.words]
        sizes = [span["tokens"] for span in spans]
        before = numpy.cumsum([0, *sizes])
        self.position = [before[at] / max(1, before[-1]) for at in self.at]
        self.features = self.measured()

    def measured(self):
        count = collections.Counter(term for own in self.content for term in set(own))
        weight = {term: numpy.log1p(times) for term, times in count.items()}
        most = max(weight.values(), default=1.0)
        parts = collections.defaultdict(set)
        for position, own in zip(self.position, self.content):
            for term in own:
                parts[term].add(int(PARTS * position))
        blocks = collections.defaultdict(list)
        for at, span in enumerate(self.spans):
            blocks[span["block"]].append(at)
        sums = numpy.cumsum([0, *map(len, self.content)])
        rows = []
        for at, span in enumerate(self.spans):
            own, terms, raw, block = self.words[at], set(self.content[at]), self.plain[at].split(), blocks[span["block"]]
            content, position = len(self.content[at]), self.position[at]
            low, high = max(0, at - WINDOW), min(len(self.spans), at + WINDOW + 1)
            opens, start, end = max(0, 1 - position / 0.05), max(0, 1 - position / 0.2), max(0, (position - 0.9) / 0.1)
            frequency = sum(weight[term] for term in terms) / most / max(1, len(terms))
            spread = sum(len(parts[term]) for term in terms) / PARTS / max(1, len(terms))
            figures = sum(any(c.isdigit() for c in word) for word in raw) / max(1, len(raw))
            names = sum(word[0].isupper() and len(word) > 1 for word in raw[1:]) / max(1, len(raw))
            filler = (len(MARK.findall(self.plain[at])) + sum(word in FILLER for word in own)) / max(1, len(raw))
            around = numpy.log1p((sums[high] - sums[low]) / (2 * WINDOW + 1))
            turn = numpy.log1p(sum(self.spans[other]["tokens"] for other in block))
            both = [opens, start, end, frequency, spread, figures, names, filler, around]
            rows.append(
                [numpy.log1p(content), content / max(1, len(own)), opens, start, end, position, frequency, spread]
                + [figures, names, turn, at == block[0], at == block[-1], filler, "?" in self.plain[at], around]
                + [content, *(content * value for value in both)]
            )
        return numpy.array(rows, dtype=numpy.float64).reshape(-1, len(NAMES))

    def labels(self):
        single, pairs = set(), set()
        for reference in self.references:
            own = WORD.findall(reference.lower())
            single |= {stem(word) for word in own if is_content(word)}
            pairs |= set(zip(own, own[1:]))
        shared = [
            PAIR * len(pairs & set(zip(own, own[1:]))) + SINGLE * len(single & set(content))
            for own, content in zip(self.words, self.content)
        ]
        return numpy.array(shared) / max(1e-6, float(numpy.mean(shared)))


def spans_of(binary, text):
    command = [binary, "compact", "-", "--budget", "600", "--format", "explain", "--quiet"]
    done = subprocess.run(command, input=text.encode(), capture_output=True, check=True)
    return json.loads(done.stdout).get("explain") or []


def texts(binary, folder):
    for line in open(Path(folder) / "qmsum_train_spans.jsonl"):
        row = json.loads(line)
        text = "\n".join(f"{speaker}: {turn}" for speaker, turn in row["turns"])
        name = row["id"].split("-")[1]
        source = "icsi" if name.startswith("B") else "ami" if name[0].isupper() else "committee"
        if row["general"]:
            yield Text(text, spans_of(binary, text), [row["general"][0]["answer"]], source)
    for line in open(Path(folder) / "squality_train_summaries.jsonl"):
        row = json.loads(line)
        plot = next(question for question in row["questions"] if "plot" in question["question"])
        yield Text(row["document"], spans_of(binary, row["document"]), plot["summaries"], "story")


def common(texts):
    """Words that stand in most texts of every source."""
    many = collections.Counter(text.source for text in texts)
    held = collections.defaultdict(collections.Counter)
    for text in texts:
        held[text.source].update(set().union(*text.stems))
    share = {source: IN_STORIES if source == "story" else IN_MEETINGS for source in many}
    every = set().union(*held.values())
    return sorted(
        word
        for word in every
        if len(word) > 1 and word.isalpha() and all(held[s][word] >= share[s] * many[s] for s in many)
    )


def design(text, lexicon):
    said = numpy.array([[word in own for word in lexicon] for own in text.stems], dtype=numpy.float64)
    return numpy.hstack([text.features, said.reshape(len(text.stems), len(lexicon))])


def ridge(texts, lexicon):
    """The weights of the features and the words, and the intercept; each text counts the same."""
    rows = numpy.vstack([design(text, lexicon) for text in texts])
    wanted = numpy.concatenate([text.labels() for text in texts])
    weight = numpy.concatenate([numpy.full(len(text.at), 600 / max(1, len(text.at))) for text in texts])
    scale = numpy.ones(rows.shape[1])
    scale[: len(NAMES)] = rows[:, : len(NAMES)].std(0) + 1e-6
    mean = (weight @ rows) / weight.sum()
    rows = (rows - mean) / scale
    level = (weight @ wanted) / weight.sum()
    gram = (rows * weight[:, None]).T @ rows + RIDGE * numpy.eye(rows.shape[1])
    found = numpy.linalg.solve(gram, (rows * weight[:, None]).T @ (wanted - level)) / scale
    return found, level - mean @ found


def fit(texts):
    lexicon = common(texts)
    found, _ = ridge(texts, lexicon)
    often = numpy.mean([[word in own for word in lexicon] for text in texts for own in text.stems], axis=0)
    telling = numpy.argsort(-numpy.abs(found[len(NAMES) :]) * numpy.sqrt(often), kind="stable")[:WORDS]
    lexicon = [lexicon[at] for at in sorted(telling)]
    found, intercept = ridge(texts, lexicon)
    return {
        "intercept": round(float(intercept), 5),
        "features": [round(float(value), 5) for value in found[: len(NAMES)]],
        "words": {word: round(float(value), 4) for word, value in zip(lexicon, found[len(NAMES) :])},
    }


def weights(text, model):
    """What wholes.rs computes."""
    said = [sum(model["words"].get(word, 0.0) for word in own) for own in text.stems]
    return model["intercept"] + text.features @ numpy.array(model["features"]) + numpy.array(said)


if __name__ == "__main__":
    binary, folder, target = sys.argv[1:]
    model = fit(list(texts(binary, folder)))
    Path(target).write_text(json.dumps(model) + "\n")
