"""Fits whether sentences of a source support a written one (crates/compactor/src/summarize/support/).

    python support.py fit TRAIN ../../crates/compactor/src/summarize/support/weights.json
    python support.py judge DEV ../../crates/compactor/src/summarize/support/weights.json
    python support.py plants ../../tests/fixtures/support/plants.json ../../crates/.../weights.json

TRAIN has `qmsum_train_spans.jsonl` (QMSum, MIT: meetings of AMI and ICSI, CC-BY-4.0, and committees of parliaments) and
`squality_train_summaries.jsonl` (SQuALITY, CC-BY-4.0: stories of Project Gutenberg). DEV has the two tasks' rows of
dev. Needs numpy and snowballstemmer; a minute on one core.

True sentences are sentences of the source, reworded by rule, and sentences of human references. Inventions are planted
into both: eight kinds, one change each. The model is logistic, over the features of support/features.rs; what the
rules of support/mod.rs refuse is not asked of it. Human references are mostly too abstract to be supported by three
sentences, so they weigh little in the fit.
"""

import collections
import itertools
import json
import random
import re
import sys
from pathlib import Path

import numpy
import snowballstemmer

ROOT = Path(__file__).parents[2]
SEED, RIDGE, REFERENCE_WEIGHT, WINDOW = 20261130, 1.0, 0.15, 120
PASS = 0.045
STOP = set(re.findall(r'^    "(.+)",$', (ROOT / "crates/text/src/terms.rs").read_text(), re.M))
LEXICON = json.loads((ROOT / "crates/compactor/src/summarize/support/lexicon.json").read_text())
IRREGULAR = {form: base for base, forms in LEXICON["irregular"].items() for form in forms}
GENERIC, REPORT, TIME = (set(LEXICON[name]) for name in ("generic", "report", "time"))
FILLER, NEGATIONS = (set(LEXICON[name]) for name in ("filler", "negations"))
NUMBERS = LEXICON["numbers"]
ANTONYMS = collections.defaultdict(set)
for _one, _other in LEXICON["antonyms"]:
    ANTONYMS[_one].add(_other)
    ANTONYMS[_other].add(_one)
MARK = re.compile(r"[{\[<][a-z_]{1,24}[}\]>]")
WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
LABEL = re.compile(r"^([A-Z][\w.'’-]*(?: [A-Z0-9][\w.'’-]*){0,3}): ?")
LETTERS = re.compile(r"(?<=[A-Z])_")
STEMMER = snowballstemmer.stemmer("english")
STEMS = {}
SCOPE = 5
NEAR = 12


def stem(word):
    if word not in STEMS:
        base = IRREGULAR.get(word, word)
        STEMS[word] = STEMMER.stemWord(base) if base.isalpha() else base
    return STEMS[word]


class Word:
    __slots__ = ("raw", "lower", "stem", "content", "negated", "number", "time", "capital", "quoted")


def is_content(word):
    return (len(word) > 1 or word.isdigit()) and word not in STOP and word not in FILLER


def read_words(text, quoted=False):
    """The words of a sentence: what they are, and whether a negation goes before them in their clause."""
    # A denial goes on behind what is put in, as in "did not, in this trial, help".
    out, since, goes_on = [], SCOPE + 1, False
    text = LETTERS.sub("", text)
    end, quoted = 0, quoted
    for found in WORD.finditer(text):
        gap, end = text[end : found.start()], found.end()
        breaks = [c for c in gap if c in ',;:.!?—"“”']
        if breaks and out:
            put_in = all(c in ",—" for c in breaks)
            denied, resumed = put_in and since == 0, put_in and goes_on
            since, goes_on = 0 if resumed else SCOPE + 1, denied
        for mark in gap:
            quoted = not quoted if mark == '"' else mark == "“" or quoted and mark != "”"
        raw = found.group().replace("’", "'")
        lower = raw.lower()
        negator = lower.endswith("n't")
        lower = lower.removesuffix("n't") if negator and lower not in ("won't", "can't") else lower
        lower = {"won't": "will", "can't": "can"}.get(lower, lower)
        lower = re.sub(r"'(s|ll|re|ve|d|m)$", "", lower)
        lower = re.sub(r"^(tv|dvd|lcd|led|vcr|pc|cd)s$", r"\1", lower)
        if lower == "cannot":
            lower, negator = "can", True
        if lower == "but":
            since = SCOPE + 1
        negator |= lower == "t"
        word = Word()
        word.raw, word.lower, word.stem = raw, lower, stem(lower)
        word.content = is_content(lower)
        word.number = NUMBERS.get(lower) or (lower if lower[0].isdigit() else None)
        if word.number:
            word.stem, word.content = word.number, True
        word.time = lower in TIME
        word.capital = raw[0].isupper()
        word.negated = since <= SCOPE
        word.quoted = quoted
        since += 1
        if negator or lower in NEGATIONS:
            since = 0
        out.append(word)
    return out


class Unit:
    """A sentence of the source, and who says it."""

    def __init__(self, text, label, at, quoted=False):
        self.text, self.label, self.at = text, label, at
        self.words = read_words(MARK.sub(" ", text), quoted)
        for mark in text:
            quoted = not quoted if mark == '"' else mark == "“" or quoted and mark != "”"
        self.open = quoted
        self.names = {w.lower for w in read_words(label)} if label else set()
        self.where = collections.defaultdict(list)
        for place, word in enumerate(self.words):
            self.where[word.stem].append(place)
        self.speakers, self.reported = set(), set()


def is_name(word):
    return word.capital and word.lower not in PRONOUNS and is_content(word.lower)


def acting(units, known):
    """The one whom a paragraph shows at work beside what is said: "Ann turned. 'Where are we?'"."""
    found = set()
    for unit in units:
        own = [word for word in unit.words if not word.quoted]
        skip = bool(own) and own[0].lower == "the"
        names = list(itertools.takewhile(is_name, own[skip:]))
        if names and names[-1].lower in known:
            found.add(names[-1].lower)
    return found


def sentences(text):
    found, start = [], 0
    for end in re.finditer(r"[.!?]+[\"”’')]*\s+(?=[\"“‘A-Z{(]|$)|$", text):
        part = text[start : end.end()].strip()
        if part:
            found.append(part)
        start = end.end()
    return found


class Source:
    def __init__(self, text):
        self.units, self.labels, label = [], {}, None
        marked = sum(bool(LABEL.match(line)) for line in text.split("\n"))
        paragraphs = text.split("\n") if 2 * marked > text.count("\n") else re.split(r"\n\s*\n", text)
        for number, line in enumerate(paragraphs):
            found = LABEL.match(line)
            if found:
                label = found.group(1)
                self.labels[label.lower()] = label
                line = line[found.end() :]
            quoted = False
            for part in sentences(line):
                self.units.append(Unit(part, label, len(self.units), quoted))
                self.units[-1].paragraph = number
                quoted = self.units[-1].open
        # A label of a story is a paragraph that happens to begin so.
        if len(self.labels) < 2 or sum(u.label is not None for u in self.units) < len(self.units) / 2:
            self.labels = {}
            for unit in self.units:
                unit.label, unit.names = None, set()
        self.finish()

    def finish(self):
        self.index = collections.defaultdict(list)
        for at, unit in enumerate(self.units):
            for one in unit.where:
                self.index[one].append(at)
        self.attribute()

    def attribute(self):
        """Who is said to speak in the sentences of a story."""
        for unit in self.units:
            words = unit.words
            for at, word in enumerate(words):
                if word.lower not in SPEECH:
                    continue
                if word.quoted:
                    # "Ann says that ...", in another's words.
                    if at and words[at - 1].quoted and is_name(words[at - 1]):
                        unit.reported.add(words[at - 1].lower)
                    continue
                for near in (at - 1, at + 1, at + 2, at - 2):
                    if (
                        0 <= near < len(words)
                        and not words[near].quoted
                        and is_name(words[near])
                        and (near != 0 or abs(near - at) == 1)
                    ):
                        unit.speakers.add(words[near].lower)
                        break
        known = set().union(*(unit.speakers for unit in self.units))
        paragraphs = [list(own) for _, own in itertools.groupby(self.units, key=lambda unit: unit.paragraph)]
        said = []
        for own in paragraphs:
            speakers = set().union(*(unit.speakers for unit in own))
            quotes = [any(word.quoted for word in unit.words) for unit in own]
            if not speakers and any(quotes):
                speakers = acting(own, known)
                # Two who speak in turn.
                if not speakers and not any(not w.quoted for unit in own for w in unit.words) and len(said) > 1:
                    before, last = said[-2], said[-1]
                    if len(before) == len(last) == 1 and before != last:
                        speakers = before
            # Who speaks in turn does so in paragraphs that follow each other.
            said.append(speakers if any(quotes) else set())
            # A paragraph is one's.
            for unit, quote in zip(own, quotes):
                unit.speakers = speakers if quote and len(speakers) == 1 else set()
                unit.quotes = quote

    def weight(self, one):
        return numpy.log(1 + len(self.units) / (0.5 + len(self.index.get(one, ()))))


SPEECH = set(LEXICON["speech"])
PRONOUNS = set(LEXICON["pronouns"])
NAMES = [
    "covered_by_first", "covered", "uncovered", "all_covered", "longest_run", "in_order", "inverted", "adjacent",
    "sequence", "negation", "antonyms", "far_names", "verbs", "supports", "spread", "length",
]  # fmt: skip


class Claim:
    """A written sentence, read against a source: who it names as the speaker, and its words."""

    def __init__(self, sentence, source):
        self.speaker, self.strict, said = None, False, 0
        rest = sentence.strip()
        found = re.match(r"(?:the )?", rest, re.I).end()
        lower = rest[found:].lower()
        for label in sorted(source.labels, key=len, reverse=True):
            if lower.startswith(label) and not lower[len(label) :][:1].isalnum():
                tail = rest[found + len(label) :]
                if tail.lower().startswith(("'s", "’s", " and ", ", ")) or tail[1:2].isupper() and tail[0] == " ":
                    break
                self.speaker = label
                if tail.startswith(":"):
                    self.strict, rest = True, tail[1:].strip()
                else:
                    first = WORD.search(tail)
                    if first and stem(first.group().lower()) in REPORT_STEMS:
                        self.strict = True
                    rest = tail.strip()
                break
        if self.speaker is None and not source.labels:
            words = read_words(rest)
            for at, word in enumerate(words[:6]):
                if word.stem in SAY_STEMS and at and words[at - 1].capital and words[at - 1].lower not in PRONOUNS:
                    self.speaker, self.strict = words[at - 1].lower, True
                    said = at
                    break
        self.words = read_words(MARK.sub(" ", rest))
        # Of "Ann Clotilde said", the name is not what is said.
        name = said
        while name and self.words[name - 1].capital:
            name -= 1
        self.name = set(map(id, self.words[name:said]))
        own = [
            w
            for w in self.words
            if w.content and id(w) not in self.name and w.stem not in GENERIC_STEMS and w.stem not in REPORT_STEMS
        ]
        self.content = own or [w for w in self.words if w.content]
        first = next(iter(self.content), None)
        self.entities = {
            w.stem for w in self.content if (w.capital or w is first) and not w.number and not w.time
        }


REPORT_STEMS = {stem(word) for word in REPORT}
SAY_STEMS = ({stem(word) for word in LEXICON["speech"]} | REPORT_STEMS) - {stem(word) for word in LEXICON["mind"]}
GENERIC_STEMS = {stem(word) for word in GENERIC}


def may_support(claim, source, unit):
    if claim.speaker is None:
        return True
    if source.labels:
        spoken = unit.label and unit.label.lower() == claim.speaker
        return bool(spoken) or (not claim.strict and set(claim.speaker.split()) <= {w.lower for w in unit.words})
    if claim.strict and unit.quotes:
        return claim.speaker in unit.speakers | unit.reported
    return True


def choose(claim, source):
    """The sentences that support it best, up to three."""
    weights = {}
    for word in claim.content:
        weights[word.stem] = source.weight(word.stem)
    scores = collections.Counter()
    for one, weight in weights.items():
        for at in source.index.get(one, ()):
            scores[at] += weight
    stems = [w.stem for w in claim.content]
    for one, other in zip(stems, stems[1:]):
        for at in set(source.index.get(one, ())) & set(source.index.get(other, ())):
            where = source.units[at].where
            if any(0 < q - p <= 6 for p in where[one] for q in where[other]):
                scores[at] += 0.25 * (weights[one] + weights[other])
    chosen, left, around = [], dict(weights), set()
    candidates = [at for at in sorted(scores) if may_support(claim, source, source.units[at])]
    while len(chosen) < 3 and candidates:

        def gain(at):
            new = sum(weight for one, weight in left.items() if one in source.units[at].where)
            near = min((abs(at - other) for other in chosen), default=0)
            extra = 0.5 * (scores[at]) if not chosen else 0.0
            return new * (1.0 if near <= NEAR else 0.7) + extra

        best = max(candidates, key=lambda at: (gain(at), -at))
        new = sum(weight for one, weight in left.items() if one in source.units[best].where)
        if chosen and new < 0.04 * sum(weights.values()):
            break
        chosen.append(best)
        if len(chosen) == 1 and any(w.lower in ANAPHORA for w in source.units[best].words):
            around = {one for one in claim.entities if one not in source.units[best].where} & context(
                source, source.units[best]
            )
            for one in around:
                left.pop(one, None)
        candidates.remove(best)
        for one in list(left):
            if one in source.units[best].where:
                del left[one]
        if not left:
            break
    return chosen, weights, around


def lcs(a, b):
    row = [0] * (len(b) + 1)
    for x in a:
        last = 0
        for at, y in enumerate(b, 1):
            kept = row[at]
            row[at] = last + 1 if x == y else max(row[at], row[at - 1])
            last = kept
    return row[-1]


def fronted(words, at):
    """Whether a word is in a phrase of place or time, which may stand anywhere."""
    return any(w.lower in ADVERBIAL for w in words[max(0, at - 3) : at])


ADVERBIAL, ANAPHORA, AUXILIARY = (set(LEXICON[name]) for name in ("adverbial", "anaphora", "auxiliary"))
BACK, AHEAD = 6, 1


def context(source, unit):
    """The words around a sentence that its pronouns may stand for."""
    around = source.units[max(0, unit.at - BACK) : unit.at + AHEAD + 1]
    return {w.stem for other in around for w in other.words}


def conflicts(claim, units):
    """Whether a sentence of the support has another number before the same word, and more of what is around it."""
    for at, word in enumerate(claim.words[:-1]):
        following = claim.words[at + 1]
        if not word.number or following.number:
            continue
        telling = [w.content and not w.number and w is not following for w in claim.words]
        window = [w.stem for place, w in enumerate(claim.words) if telling[place] and abs(place - at) <= 8]
        end = next((place for place in range(at + 1, len(claim.words)) if claim.words[place].number), len(claim.words))
        behind = [claim.words[place].stem for place in range(at, min(end, at + 9)) if telling[place]]
        same, other = (0, 0), None
        for unit in units:
            before = {
                unit.words[p - 1].number for p in unit.where.get(following.stem, ()) if p and unit.words[p - 1].number
            }
            if before:
                held = (sum(one in unit.where for one in behind), sum(one in unit.where for one in window))
                if word.number in before:
                    same = max(same, held)
                else:
                    other = max(other or held, held)
        if other is not None and other >= same:
            return True
    return False


def judge(sentence, source):
    """The features, or the rule that refuses, and the support."""
    claim = Claim(sentence, source)
    if not claim.content:
        return "empty", []
    chosen, weights, around = choose(claim, source)
    if not chosen:
        return "nothing", []
    units = [source.units[at] for at in chosen]
    held = set().union(*(unit.where for unit in units)) | around
    total = sum(weights.values())
    said = set()
    for unit in units:
        said |= {w.lower for w in unit.words} | unit.names
    # What has to stand in the support itself.
    for word in claim.words:
        others = {w.stem for w in claim.content} - {word.stem}
        beside = any(word.stem in unit.where and (not others or others & unit.where.keys()) for unit in units)
        if word.number and word.number != "1" and not beside:
            return "number", chosen
        if word.time and not beside:
            return "time", chosen
    if conflicts(claim, units):
        return "number", chosen
    if claim.strict and not source.labels:
        if not any(claim.speaker in unit.speakers or claim.speaker in {w.lower for w in unit.words} for unit in units):
            return "speaker", chosen
    near = set(said)
    for unit in units:
        for at in range(max(0, unit.at - NEAR), min(len(source.units), unit.at + 4)):
            near |= {w.lower for w in source.units[at].words} | source.units[at].names
    far = sum(w.capital and w.content and w.lower not in near for w in claim.words)
    missing = sum(w.capital and w.content and w.lower not in said and w.stem not in around for w in claim.words[1:])
    first = sum(weight for one, weight in weights.items() if one in around or one in units[0].where) / total
    covered = sum(weight for one, weight in weights.items() if one in held) / total
    flags = [w.stem in held for w in claim.content]
    run = longest = 0
    for flag in flags:
        run = 0 if flag else run + 1
        longest = max(longest, run)
    pairs = inverted = ordered = adjacent = 0
    for one, other in zip(claim.content, claim.content[1:]):
        if one.stem == other.stem:
            continue
        place = next(at for at, w in enumerate(claim.words) if w is other)
        movable = fronted(claim.words, place)
        pairs += 1
        forward = backward = close = False
        for unit in units:
            for p in unit.where.get(one.stem, ()):
                for q in unit.where.get(other.stem, ()):
                    forward |= q > p
                    backward |= q < p and not (movable and fronted(unit.words, q))
                    close |= 0 < q - p <= 3
        ordered += forward
        inverted += backward and not forward
        adjacent += close
    whole = [w.stem for w in claim.words]
    supported = [w.stem for unit in sorted(units, key=lambda u: u.at) for w in unit.words]
    sequence = lcs(whole, supported) / max(1, len(whole))
    negation = 0
    for word in claim.content:
        states = {unit.words[p].negated for unit in units for p in unit.where.get(word.stem, ())}
        negation += bool(states) and word.negated not in states
    claimed = {w.lower for w in claim.words} | {w.stem for w in claim.words}
    supportive = {w.lower for unit in units for w in unit.words} | held
    antonyms = sum(
        any(o in supportive and o not in claimed for o in ANTONYMS.get(w.lower, ()) or ANTONYMS.get(w.stem, ()))
        for w in claim.words
        if w.stem not in held
    )
    verbs = 0
    for at, word in enumerate(claim.words):
        if word.stem in held or not word.content or word.stem in GENERIC_STEMS or word.stem in REPORT_STEMS:
            continue
        before = claim.words[at - 1] if at else None
        form = word.lower.endswith(("ed", "ing")) or word.lower in IRREGULAR
        verbs += (
            form
            or at == 0
            and claim.speaker is not None
            or bool(before and (before.lower in AUXILIARY or before.capital))
        )
    places = sorted(chosen)
    uncovered = len(flags) - sum(flags)
    features = [
        first, covered, uncovered / len(flags), float(uncovered == 0), longest / 4, ordered / max(1, pairs),
        inverted / max(1, pairs), adjacent / max(1, pairs), sequence, min(negation, 2), min(antonyms, 2),
        min(far + 0.5 * missing, 3), min(verbs, 3), len(chosen) - 1, numpy.log1p(places[-1] - places[0]),
        numpy.log1p(len(flags)),
    ]  # fmt: skip
    return [float(value) for value in features], chosen


# ---- what is true, and what is planted -----------------------------------------------------------------------------


REWORDINGS = {
    "big": ["large"], "large": ["big"], "small": ["little"], "begin": ["start"], "started": ["began"],
    "began": ["started"], "start": ["begin"], "need": ["require"], "needed": ["required"], "want": ["wish"],
    "wanted": ["wished"], "show": ["display"], "get": ["receive"], "got": ["received"], "people": ["persons"],
    "idea": ["suggestion"], "problem": ["issue"], "look": ["seem"], "looked": ["seemed"], "use": ["employ"],
    "used": ["employed"], "quick": ["fast"], "answer": ["reply"], "help": ["assist"], "buy": ["purchase"],
    "talk": ["speak"], "easy": ["simple"], "kids": ["children"], "money": ["funds"], "try": ["attempt"],
    "tried": ["attempted"], "man": ["person"], "great": ["excellent"], "good": ["fine"], "house": ["home"],
    "ship": ["vessel"], "think": ["believe"], "thought": ["believed"], "car": ["vehicle"], "make": ["build"],
    "made": ["built"], "said": ["stated"], "tell": ["inform"], "way": ["manner"], "maybe": ["perhaps"],
    "nice": ["pleasant"], "turned": ["moved"], "put": ["place"], "picked": ["took"], "job": ["work"],
    "lots": ["plenty"], "bad": ["poor"], "stop": ["halt"], "children": ["kids"],
}  # fmt: skip


def reworded(unit, source, rng):
    """A sentence of the source as a summary would have it."""
    text = MARK.sub(" ", unit.text)
    text = re.sub(
        r"\b(?:[Uu]h|[Uu]m|[Ee]rm?|[Mm]m|[Hh]mm?|[Ww]ell|[Ss]o|[Oo]kay|[Yy]eah|you know|I mean|sort of|kind of)"
        r"\b ?,? ?",
        "",
        text,
    )
    text = re.sub(r"\s+([,.?!;'])", r"\1", re.sub(r"\s+", " ", text)).strip(' ,"“”')
    if len(text.split()) > 14 and rng.random() < 0.6 and ", " in text:
        parts = text.split(", ")
        keep = rng.randrange(1, len(parts) + 1)
        first = rng.randrange(0, len(parts) - keep + 1)
        text = ", ".join(parts[first : first + keep])
    if rng.random() < 0.5:
        words = text.split()
        drop = {"really", "very", "just", "also", "actually", "quite", "then", "there", "basically", "only", "simply"}
        words = [w for w in words if w.lower().strip(",.") not in drop]
        if len(words) > 10 and rng.random() < 0.5:
            cut = rng.randrange(7, len(words))
            words = words[:cut]
        text = " ".join(words)
    if rng.random() < 0.35:
        words = text.split()
        places = [at for at, w in enumerate(words) if w.lower() in REWORDINGS]
        if places:
            at = rng.choice(places)
            words[at] = rng.choice(REWORDINGS[words[at].lower()])
            text = " ".join(words)
    text = text.strip(' ,.;?!"')
    if len(text.split()) < 5:
        return None
    form = rng.random()
    if unit.label and form < 0.35:
        return f"{unit.label}: {text[0].upper() + text[1:]}."
    if unit.label and form < 0.7:
        text = re.sub(r"\b(I|we)\b", lambda m: {"I": "he", "we": "they"}[m.group()], text)
        verb = rng.choice(["said", "explained", "suggested", "thinks", "mentioned"])
        return f"The {unit.label} {verb} that {text[0].lower() + text[1:]}."
    return text[0].upper() + text[1:] + "."


def joined(units, source, rng):
    parts = [reworded(unit, source, rng) for unit in units]
    if any(part is None or ": " in part for part in parts):
        return None
    return parts[0].rstrip(".") + " and " + parts[1][0].lower() + parts[1][1:]


def named(text, unit, source):
    """The sentence with the nearest name before it for its pronoun, if it begins with one."""
    words = text.split()
    if words[0].lower() not in ("he", "she", "they", "it") or source.labels:
        return None
    for other in source.units[max(0, unit.at - 3) : unit.at][::-1]:
        names = [w.raw.removesuffix("'s") for w in other.words[1:] if w.capital and w.content and not w.quoted]
        names += [
            w.raw.removesuffix("'s")
            for w in other.words[:1]
            if w.capital and w.content and not w.quoted and w.stem in other_names(source)
        ]
        if names:
            return " ".join([names[-1], *words[1:]]) if len(set(names)) == 1 else None
    return None


def other_names(source):
    if not hasattr(source, "names"):
        source.names = {w.stem for u in source.units for w in u.words[1:] if w.capital and w.content}
    return source.names


VERBS = (
    "reject destroy avoid steal abandon sell praise hide forget cancel refuse attack rescue sign paint burn borrow "
    "celebrate ignore repair follow invent describe collect protect promise measure visit trade deliver marry kill open"
).split()
KINDS = ["roles", "verb", "speaker", "polarity", "number", "name", "date", "free"]


def planted(kind, sentence, source, others, rng):
    """One invention of a kind in a sentence; none where it has no place."""
    words = sentence.split()
    start = next((at + 1 for at, w in enumerate(words[:5]) if w.endswith(":")), 0)
    plain = [w.strip('.,;:!?"“”').lower() for w in words]
    tail = lambda w: w[len(w.rstrip('.,;:!?"”')) :]  # noqa: E731
    content = [at for at in range(start, len(words)) if is_content(plain[at]) and plain[at] not in GENERIC]
    if kind == "roles":
        kept = [
            at
            for at in content
            if len(plain[at]) > 3 and not plain[at].endswith(("ed", "ly", "ing")) and plain[at] not in REPORT
        ]
        far = [(a, b) for a in kept for b in kept if b - a >= 2 and plain[a] != plain[b]]
        if not far:
            return None
        a, b = rng.choice(far)
        one, other = words[a].rstrip(".,;:!?"), words[b].rstrip(".,;:!?")
        words[a], words[b] = other + tail(words[a]), one + tail(words[b])
    elif kind == "verb":
        verbs = [
            at
            for at in content
            if plain[at].endswith(("ed", "ing"))
            or plain[at] in IRREGULAR
            or at
            and plain[at - 1] in ("to", "can", "will", "should", "would", "could", "they", "we", "he", "she", "i")
        ]
        verbs = [at for at in verbs if plain[at] not in REPORT]
        if not verbs:
            return None
        at = rng.choice(verbs)
        new = rng.choice(VERBS)
        ending = (
            "ing" if plain[at].endswith("ing") else "ed" if plain[at].endswith("ed") or plain[at] in IRREGULAR else ""
        )
        base = new[:-1] if ending and new.endswith("e") else new
        if rng.random() < 0.4:
            pool = [
                w.lower
                for u in source.units
                for w in u.words
                if w.content and w.lower.endswith(ending or "e") and w.lower != plain[at]
            ]
            if pool:
                base, ending = rng.choice(pool), ""
        words[at] = base + ending + tail(words[at])
    elif kind == "speaker":
        if source.labels:
            found = [label for label in source.labels.values() if label.lower() in sentence.lower()[: len(label) + 5]]
            rest = [label for label in source.labels.values() if label not in found]
            if not found or not rest:
                return None
            return sentence.replace(max(found, key=len), rng.choice(rest), 1)
        names = sorted({w.raw for u in source.units for w in u.words[1:] if w.capital and w.content and len(w.raw) > 2})
        said = [
            at
            for at in range(len(words))
            if words[at][0].isupper() and at + 1 < len(words) and stem(plain[at + 1]) in SAY_STEMS
        ]
        names = [n for n in names if n.lower() not in plain]
        if not said or not names:
            return None
        words[said[0]] = rng.choice(names)
    elif kind == "polarity":
        for at, w in enumerate(plain):
            if w in ("not", "never"):
                del words[at]
                return " ".join(words)
            if w.endswith("n't"):
                words[at] = {"can't": "can", "won't": "will"}.get(w, w[:-3])
                return " ".join(words)
        swaps = [(at, o) for at, w in enumerate(plain) for o in sorted(ANTONYMS.get(w, ()))]
        aux = [
            at
            for at, w in enumerate(plain)
            if at >= start
            and w in ("is", "are", "was", "were", "will", "can", "could", "should", "would", "must", "had", "has")
        ]
        if swaps and (rng.random() < 0.5 or not aux):
            at, new = rng.choice(swaps)
            words[at] = new + tail(words[at])
        elif aux:
            words[rng.choice(aux)] += " not"
        else:
            return None
    elif kind == "number":
        places = [at for at, w in enumerate(plain) if at >= start and (w in NUMBERS or w[:1].isdigit())]
        held = sorted({w.lower for u in source.units for w in u.words if w.number})
        held += ["three", "seven", "forty", "twelve"]
        if places:
            at = rng.choice(places)
            options = [n for n in held if n != plain[at]]
            words[at] = rng.choice(options) + tail(words[at])
        else:
            spots = [at for at in content if plain[at].endswith("s") and len(plain[at]) > 4]
            if not spots:
                return None
            words.insert(rng.choice(spots), rng.choice(held))
    elif kind == "name":
        places = [at for at in range(max(1, start), len(words)) if words[at][:1].isupper() and is_content(plain[at])]
        names = sorted({w.raw for u in source.units for w in u.words[1:] if w.capital and w.content and len(w.raw) > 2})
        names = [n for n in names if n.lower() not in plain]
        if not names or not places:
            return None
        words[rng.choice(places)] = rng.choice(names)
    elif kind == "date":
        places = [at for at, w in enumerate(plain) if w in TIME]
        if places:
            at = rng.choice(places)
            words[at] = rng.choice([t for t in sorted(TIME) if t != plain[at]]) + tail(words[at])
        else:
            when = rng.choice(
                [
                    "yesterday",
                    "last week",
                    "next month",
                    "in the morning",
                    "last year",
                    "on Monday",
                    "in March",
                    "in 1974",
                    "two years ago",
                    "at night",
                ]
            )
            return sentence.rstrip(".") + f" {when}."
    elif kind == "free":
        return rng.choice(others)
    changed = " ".join(words)
    return changed if changed.lower() != sentence.lower() else None


def windows(source_text, references, rng):
    """A source of a segment's size for each true sentence: the part of the text that holds most of it."""
    whole = Source(source_text)
    parts = []
    for first in range(0, max(1, len(whole.units) - WINDOW // 2), WINDOW // 2):
        part = Source.__new__(Source)
        part.labels = {}
        part.units = []
        for unit in whole.units[first : first + WINDOW]:
            copy = Unit.__new__(Unit)
            copy.open, copy.paragraph, copy.text, copy.label, copy.words, copy.names, copy.where = (
                unit.open,
                unit.paragraph,
                unit.text,
                unit.label,
                unit.words,
                unit.names,
                unit.where,
            )
            copy.at, copy.speakers, copy.reported = len(part.units), set(), set()
            part.units.append(copy)
            if unit.label:
                part.labels[unit.label.lower()] = unit.label
        part.finish()
        parts.append(part)
    rows = []
    for sentence in references:
        content = {w.stem for w in read_words(sentence) if w.content}
        rows.append(
            (sentence, max(parts, key=lambda p: sum(whole.weight(c) for c in content if c in p.index)), "reference")
        )
    for part in parts:
        for unit in rng.sample(part.units, min(8, len(part.units))):
            text = reworded(unit, part, rng)
            if text:
                rows.append((text, part, "reworded"))
        again = [(named(text, unit, part), unit) for unit in part.units if (text := reworded(unit, part, rng))]
        rows += [(text, part, "reworded") for text, _ in again if text][:4]
        for at in rng.sample(range(len(part.units) - 1), min(5, max(0, len(part.units) - 1))):
            text = joined(part.units[at : at + 2], part, rng)
            if text:
                rows.append((text, part, "reworded"))
    return rows


def documents(folder, dev):
    folder = Path(folder)
    if dev:
        for task in ("qmsum", "squality"):
            held = collections.defaultdict(lambda: [None, []])
            for line in open(folder / f"{task}.jsonl"):
                row = json.loads(line)
                own = held[row["metadata"]["doc"]]
                own[0] = row["context"]
                own[1] += row["answers"]
            for name, (text, answers) in held.items():
                if task == "qmsum":
                    text = re.sub(r" '(?=[a-z]{1,2}\b)", "'", text)
                yield task, name, text, answers
        return
    for line in open(folder / "qmsum_train_spans.jsonl"):
        row = json.loads(line)
        text = "\n".join(f"{speaker}: {turn}" for speaker, turn in row["turns"])
        yield "qmsum", row["id"], text, [query["answer"] for query in row["queries"] + row["general"]]
    for line in open(folder / "squality_train_summaries.jsonl"):
        row = json.loads(line)
        yield (
            "squality",
            row["id"] if "id" in row else "",
            row["document"],
            [s for q in row["questions"] for s in q["summaries"]],
        )


def rows(folder, dev=False):
    """Features or rule, whether true, of what origin and kind; of every sentence."""
    rng = random.Random(SEED + dev)
    documents_held = list(documents(folder, dev))
    if not dev:
        documents_held = [d for at, d in enumerate(documents_held) if d[0] == "squality" or at % 2 == 0]
    pool = collections.defaultdict(list)
    for task, name, _, answers in documents_held:
        group = task + re.sub(r"[^A-Za-z].*", "", name.split("-")[-1])[:2]
        pool[group] += [(name, s) for a in answers for s in sentences(a) if len(s.split()) > 5]
    for task, name, text, answers in documents_held:
        group = task + re.sub(r"[^A-Za-z].*", "", name.split("-")[-1])[:2]
        others = [s for other, s in pool[group] if other != name] or [
            s for g in pool for other, s in pool[g] if other != name
        ]
        references = [s for a in answers for s in sentences(a) if len(s.split()) > 5]
        references = rng.sample(references, min(12, len(references)))
        text = text if len(text) < 90_000 else text[:90_000]
        true = windows(text, references, rng)
        kinds = rng.sample(KINDS, len(KINDS))
        for at, (sentence, source, origin) in enumerate(true):
            found, _ = judge(sentence, source)
            yield found, True, origin, "", sentence, name, task
            for kind in (kinds[at % 8], kinds[(at + 3) % 8]):
                changed = planted(kind, sentence, source, others, rng)
                if changed:
                    found, _ = judge(changed, source)
                    yield found, False, origin, kind, changed, name, task


def logistic(x, y, weight):
    mean, scale = x.mean(0), x.std(0) + 1e-6
    z = numpy.hstack([(x - mean) / scale, numpy.ones((len(x), 1))])
    w = numpy.zeros(z.shape[1])
    ridge = RIDGE * numpy.eye(z.shape[1])
    ridge[-1, -1] = 1e-9
    for _ in range(40):
        p = 1 / (1 + numpy.exp(-z @ w))
        gradient = z.T @ (weight * (y - p)) - ridge @ w
        hessian = (z * (weight * p * (1 - p))[:, None]).T @ z + ridge
        step = numpy.linalg.solve(hessian, gradient)
        w += step
        if numpy.abs(step).max() < 1e-8:
            break
    return w[:-1] / scale, w[-1] - (w[:-1] / scale) @ mean


def score(found, model):
    if isinstance(found, str):
        return -99.0
    return model["intercept"] + float(numpy.dot(found, [model["features"][name] for name in NAMES]))


def fit(folder, target):
    data = list(rows(folder))
    asked = [row for row in data if not isinstance(row[0], str)]
    x = numpy.array([row[0] for row in asked])
    y = numpy.array([float(row[1]) for row in asked])
    weight = numpy.array([REFERENCE_WEIGHT if row[1] and row[2] == "reference" else 1.0 for row in asked])
    found, intercept = logistic(x, y, weight)
    model = {"features": dict(zip(NAMES, map(float, found))), "intercept": float(intercept), "threshold": 0.0}
    # The share of inventions that may pass, each kind counting the same, of the kind of text where more do.
    scores = [(score(row[0], model), row) for row in data]
    grid = numpy.arange(-4, 8, 0.05)
    for threshold in grid:
        passed = [numpy.mean([s >= threshold for s, row in scores if row[3] == kind]) for kind in KINDS]
        if numpy.mean(passed) < PASS:
            break
    model["threshold"] = float(threshold)
    rounded = {"features": {k: round(v, 4) for k, v in model["features"].items()}}
    rounded |= {"intercept": round(model["intercept"], 4), "threshold": round(model["threshold"], 4)}
    Path(target).write_text(json.dumps(rounded) + "\n")
    report(data, rounded)


def report(data, model):
    t = model["threshold"]
    for origin in ("reworded", "reference"):
        for task in ("qmsum", "squality"):
            own = [row for row in data if row[2] == origin and row[6] == task]
            true = [score(row[0], model) >= t for row in own if row[1]]
            print(f"{task} {origin}: {len(true)} true, {1 - numpy.mean(true):.3f} refused; planted that pass:", end=" ")
            everything = [score(row[0], model) >= t for row in own if not row[1]]
            print(f"{numpy.mean(everything):.3f} of {len(everything)}:", end=" ")
            for kind in KINDS:
                passed = [score(row[0], model) >= t for row in own if row[3] == kind]
                print(kind, f"{numpy.mean(passed) if passed else 0:.3f}", end=" ")
            print()


def plants(fixture, weights):
    model = json.loads(Path(weights).read_text())
    passed, count = collections.Counter(), collections.Counter()
    for text in json.loads(Path(fixture).read_text())["texts"]:
        source = Source(text["source"])
        for kind, sentence in (
            [("near", s) for s in text["near"]]
            + [("reworded", s) for s in text["reworded"]]
            + [tuple(p) for p in text["planted"]]
        ):
            found, chosen = judge(sentence, source)
            value = score(found, model)
            count[kind] += 1
            passed[kind] += value >= model["threshold"]
            true = kind in ("near", "reworded")
            if true != (value >= model["threshold"]):
                why = found if isinstance(found, str) else ""
                print(f"{kind} {value:.2f} {why} {sentence} <- {[source.units[at].text[:80] for at in chosen]}")
    for kind in count:
        print(kind, passed[kind], "of", count[kind])
    print("inventions that pass:", sum(passed[k] for k in KINDS), "of", sum(count[k] for k in KINDS))


if __name__ == "__main__":
    command, folder, weights = sys.argv[1:]
    if command == "fit":
        fit(folder, weights)
    elif command == "judge":
        report(list(rows(folder, dev=True)), json.loads(Path(weights).read_text()))
    else:
        plants(folder, weights)
