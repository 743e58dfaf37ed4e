"""Fits the probe that tells from a decoder's attention which sentences a question needs (crates/compactor/src/rank/attention.rs).

    python attention.py texts groups.jsonl rows.jsonl [COUNT]        # texts of passages, from prepare.py's groups
    cargo run --release --example masses < rows.jsonl > masses.jsonl # what the decoder attends to in them
    python attention.py fit rows.jsonl masses.jsonl attention.json   # the probe, and what it finds in held-out rows

A text is a passage with the answer among near misses and passages of other questions, in three forms; three of
ten texts have no answer. The probe is logistic, over the logarithm of the attention that a head gives a token of
the sentence, in multiples of what each token would get if all got the same; each head's scale is folded into its
weight.
"""

import json
import random
import sys

import numpy
import torch

# The default of `models.decoder`, which `masses` asks.
DECODER = "smollm2-135m-instruct"
SEED, COUNT = 20261127, 280
SOURCES = {
    "qed_natural_questions": 4,
    "squad11_sentence_pairs": 2,
    "squadshifts_new_wiki": 2,
    "selqa_sentences": 2,
    "conditionalqa_sentences": 1,
    "covidqa_long": 1,
    "evidence_inference_long": 1,
    "squadshifts_reddit": 1,
}
WITHOUT, HELD_OUT, LEAST = 0.3, 0.2, 1e-3


def texts(groups, out, count=COUNT):
    rng = random.Random(SEED)
    by_source = {}
    for line in open(groups, encoding="utf-8"):
        group = json.loads(line)
        if group["source"] in SOURCES and any(any(p["labels"]) for p in group["passages"]):
            by_source.setdefault(group["source"], []).append(group)
    names = [name for name, share in SOURCES.items() for _ in range(share)]
    with open(out, "w", encoding="utf-8") as file:
        for _ in range(int(count)):
            own = by_source[rng.choice(names)]
            group = rng.choice(own)
            passages = [p for p in group["passages"] if any(p["labels"])][:1]
            if rng.random() < WITHOUT:
                passages = []
            passages += [p for p in group["passages"] if not any(p["labels"])]
            while len(passages) < 9:
                other = rng.choice(rng.choice(own)["passages"])
                if other["sentences"] not in [p["sentences"] for p in group["passages"]]:
                    passages.append({**other, "labels": [0] * len(other["labels"])})
            rng.shuffle(passages)
            form, context, needed = rng.randrange(3), "", []
            for at, passage in enumerate(passages):
                context += [f"Document [{at + 1}](Title: {passage['title']}) ", f"# {passage['title']}\n\n", ""][form]
                for sentence, label in zip(passage["sentences"], passage["labels"]):
                    start = len(context.encode())
                    context += sentence.strip() + " "
                    if label:
                        needed.append([start, len(context.encode())])
                context = context.rstrip() + ("\n" if form == 0 else "\n\n")
            row = {"query": group["query"], "context": context, "needed": needed, "source": group["source"]}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def read(rows, masses):
    """Of each text: masses (spans, heads), tokens, labels."""
    read = []
    with open(rows, encoding="utf-8") as rows, open(masses, encoding="utf-8") as masses:
        for row in map(json.loads, rows):
            heads, tokens, labels = [], [], []
            for line in masses:
                if not line.strip():
                    break
                segment = json.loads(line)
                heads.append(numpy.array(segment["heads"], dtype=numpy.float32).T)
                tokens += segment["tokens"]
                for start, end in segment["spans"]:
                    shared = sum(max(0, min(end, e) - max(start, s)) for s, e in row["needed"])
                    labels.append(2 * shared > end - start)
            if heads:
                read.append((numpy.concatenate(heads), numpy.array(tokens), numpy.array(labels)))
    return read


def features(masses, tokens):
    return numpy.log(masses * tokens.sum() / numpy.maximum(tokens, 1)[:, None] + LEAST)


def train(texts, decay):
    x = torch.tensor(numpy.concatenate([features(m, t) for m, t, _ in texts]), dtype=torch.float32)
    y = torch.tensor(numpy.concatenate([labels for *_, labels in texts]), dtype=torch.float32)
    mean, deviation = x.mean(0), x.std(0) + 1e-6
    x = (x - mean) / deviation
    weight = torch.zeros(x.shape[1], requires_grad=True)
    bias = torch.tensor(-3.0, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=200, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(x @ weight + bias, y) + decay * (weight**2).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    weight, bias = weight.detach(), bias.detach()
    weight = weight / deviation
    return weight.numpy(), float(bias - (weight * mean).sum())


def found(texts, weight, bias):
    """Share of texts with an answer that have a needed span in the best 10 % and 25 % of the tokens; loss."""
    shares, losses = [], []
    for masses, tokens, labels in texts:
        odds = features(masses, tokens) @ weight + bias
        losses.append(numpy.mean(numpy.logaddexp(0, numpy.where(labels, -odds, odds))))
        if labels.any():
            order = numpy.argsort(-odds)
            before = numpy.cumsum(tokens[order]) - tokens[order]
            at = before[labels[order]].min() / tokens.sum()
            shares.append([at < 0.1, at < 0.25])
    return numpy.mean(shares, 0), numpy.mean(losses), len(shares)


def fit(rows, masses, out):
    whole = read(rows, masses)
    held_out = int(len(whole) * HELD_OUT)
    best = None
    for decay in [1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2]:
        weight, bias = train(whole[held_out:], decay)
        shares, loss, count = found(whole[:held_out], weight, bias)
        print(f"decay {decay}: of {count} held-out texts {shares[0]:.3f} at 10 %, {shares[1]:.3f} at 25 %; loss {loss:.4f}")
        if best is None or loss < best[0]:
            best = loss, decay
    weight, bias = train(whole, best[1])
    json.dump({"decoder": DECODER, "weights": [round(float(w), 5) for w in weight], "bias": round(bias, 5)}, open(out, "w"))
    print(f"{len(whole)} texts, {len(weight)} heads, decay {best[1]}")


if __name__ == "__main__":
    {"texts": texts, "fit": fit}[sys.argv[1]](*sys.argv[2:])
