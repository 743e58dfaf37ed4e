"""Trains the cross-encoder: the MiniLM body with a relevance head on each sentence and one on the window.

    python train.py MODEL_FOLDER groups.jsonl OUT_FOLDER [--epochs 1] [--threads N] [--speed]

MODEL_FOLDER holds all-MiniLM-L6-v2 (model.safetensors, tokenizer.json). OUT_FOLDER gets checkpoints and, at
the end, cross-encoder.safetensors in f32. A run that was stopped goes on from its last checkpoint.

Input: [CLS] query [SEP] title sentence sentence ... [SEP], segment ids 0 and 1. A sentence's logit is the mean
over its tokens of a linear head; the window's logit is a linear head on [CLS]. Loss: binary cross-entropy of
both (so that they are probabilities) and softmax cross-entropy of both over the group (so that they rank).
The word and position embeddings stay as they are.
"""

import argparse
import json
import os
import random
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

SEED = 20261123
QUERY, TITLE, LONGEST = 48, 24, 255
LAYERS, HEADS, WIDTH = 6, 12, 384
CLS, SEP = 101, 102


def encode_groups(path, tokenizer, limit=None):
    """Every group as token ids; sentences as (ids, label)."""
    groups = []
    with open(path, encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            texts = [row["query"]]
            for passage in row["passages"]:
                texts.append(passage["title"])
                texts.extend(passage["sentences"])
            ids = [e.ids for e in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
            query, at, passages = ids[0][:QUERY], 1, []
            for passage in row["passages"]:
                count = len(passage["sentences"])
                passages.append((passage["title"], ids[at], list(zip(ids[at + 1 : at + 1 + count], passage["labels"]))))
                at += 1 + count
            groups.append((query, passages))
            if limit and len(groups) >= limit:
                break
    return groups


def title_ids(title, ids, rng, tokenizer):
    """The title in one of the shapes that it has in real texts."""
    draw = rng.random()
    if not title or draw < 0.15:
        return []
    if draw < 0.45:
        return ids[:TITLE]
    shape = "Document [{}](Title: {})" if draw < 0.85 else "# {1}" if draw < 0.93 else "{1}:"
    return tokenizer.encode(shape.format(rng.randint(1, 100), title), add_special_tokens=False).ids[: TITLE + 10]


def window(query, passage, rng, tokenizer):
    """Ids, segment ids, the sentence of each token (-1 for none), the labels of the sentences."""
    title, ids, sentences = passage
    head = [CLS, *query, SEP]
    room = LONGEST - len(head) - 1
    body = title_ids(title, ids, rng, tokenizer)
    body, owner, labels = list(body), [-1] * len(body), []
    for tokens, label in sentences:
        tokens = tokens[: room - len(body)]
        if not tokens:
            break
        body += tokens
        owner += [len(labels)] * len(tokens)
        labels.append(label)
    return (
        head + body + [SEP],
        [0] * len(head) + [1] * (len(body) + 1),
        [-1] * len(head) + owner + [-1],
        labels,
    )


class Body(torch.nn.Module):
    def __init__(self, weights):
        super().__init__()
        take = lambda name: torch.nn.Parameter(weights[name].clone().float())
        self.words = take("embeddings.word_embeddings.weight").requires_grad_(False)
        self.positions = take("embeddings.position_embeddings.weight").requires_grad_(False)
        self.types = take("embeddings.token_type_embeddings.weight")
        self.norm_w, self.norm_b = take("embeddings.LayerNorm.weight"), take("embeddings.LayerNorm.bias")
        self.layers = torch.nn.ModuleList()
        for i in range(LAYERS):
            at = f"encoder.layer.{i}."
            layer = torch.nn.ParameterDict()
            kinds = ["query", "key", "value"]
            for part in ("weight", "bias"):
                layer["qkv_" + part] = torch.nn.Parameter(
                    torch.cat([weights[f"{at}attention.self.{k}.{part}"].float() for k in kinds])
                )
                for name, source in (
                    ("out", "attention.output.dense"),
                    ("norm1", "attention.output.LayerNorm"),
                    ("up", "intermediate.dense"),
                    ("down", "output.dense"),
                    ("norm2", "output.LayerNorm"),
                ):
                    layer[f"{name}_{part}"] = take(f"{at}{source}.{part}")
            self.layers.append(layer)
        generator = torch.Generator().manual_seed(SEED)
        self.sentence = torch.nn.Parameter(torch.randn(WIDTH, generator=generator) * 0.02)
        self.sentence_bias = torch.nn.Parameter(torch.tensor([-1.5]))
        self.passage = torch.nn.Parameter(torch.randn(WIDTH, generator=generator) * 0.02)
        self.passage_bias = torch.nn.Parameter(torch.tensor([-0.7]))

    def forward(self, ids, types, mask, dtype, dropout=0.0):
        x = self.vectors(ids, types, mask, dtype, dropout)
        return x @ self.sentence + self.sentence_bias, x[:, 0] @ self.passage + self.passage_bias

    def vectors(self, ids, types, mask, dtype, dropout=0.0):
        """The last layer's vectors in f32."""
        b, n = ids.shape
        norm = lambda x, w, bias: F.layer_norm(x, (WIDTH,), w.to(dtype), bias.to(dtype), 1e-12)
        x = F.embedding(ids, self.words) + self.positions[:n] + F.embedding(types, self.types)
        x = norm(x.to(dtype), self.norm_w, self.norm_b)
        bias = torch.zeros(b, 1, 1, n, dtype=dtype).masked_fill(~mask[:, None, None, :], -1e4)
        drop = lambda y: F.dropout(y, dropout, self.training) if dropout else y
        for layer in self.layers:
            p = lambda name: (layer[name + "_weight"].to(dtype), layer[name + "_bias"].to(dtype))
            qkv = F.linear(x, *p("qkv")).view(b, n, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
            # On a CPU the products by hand go backward three times as fast as the fused attention.
            scores = qkv[0] @ qkv[1].transpose(-1, -2) * (WIDTH // HEADS) ** -0.5 + bias
            y = scores.softmax(-1) @ qkv[2]
            y = F.linear(y.transpose(1, 2).reshape(b, n, WIDTH), *p("out"))
            x = norm(x + drop(y), *p("norm1"))
            y = F.linear(F.gelu(F.linear(x, *p("up"))), *p("down"))
            x = norm(x + drop(y), *p("norm2"))
        return x.float()

    @torch.no_grad()
    def take(self, tensors):
        """Takes on what `tensors` gave."""
        own = self.named()
        for name, tensor in tensors.items():
            own[name].copy_(tensor)

    def tensors(self):
        """Copies of what `named` gives."""
        return {name: tensor.detach().clone().contiguous() for name, tensor in self.named().items()}

    def named(self):
        """Views of all weights, under the names of the checkpoint that training began from, and the heads'."""
        out = {
            "embeddings.word_embeddings.weight": self.words,
            "embeddings.position_embeddings.weight": self.positions,
            "embeddings.token_type_embeddings.weight": self.types,
            "embeddings.LayerNorm.weight": self.norm_w,
            "embeddings.LayerNorm.bias": self.norm_b,
            "sentence.weight": self.sentence,
            "sentence.bias": self.sentence_bias,
            "passage.weight": self.passage,
            "passage.bias": self.passage_bias,
        }
        for i, layer in enumerate(self.layers):
            at = f"encoder.layer.{i}."
            for part in ("weight", "bias"):
                for kind, tensor in zip(["query", "key", "value"], layer["qkv_" + part].chunk(3)):
                    out[f"{at}attention.self.{kind}.{part}"] = tensor
                out[f"{at}attention.output.dense.{part}"] = layer["out_" + part]
                out[f"{at}attention.output.LayerNorm.{part}"] = layer["norm1_" + part]
                out[f"{at}intermediate.dense.{part}"] = layer["up_" + part]
                out[f"{at}output.dense.{part}"] = layer["down_" + part]
                out[f"{at}output.LayerNorm.{part}"] = layer["norm2_" + part]
        return {name: tensor.detach() for name, tensor in out.items()}


def collate(groups, rng, tokenizer, parts=3):
    """A batch of groups as padded tensors, in `parts` parts of windows of like length."""
    items = [(g, window(q, p, rng, tokenizer)) for g, (q, ps) in enumerate(groups) for p in ps]
    items.sort(key=lambda item: len(item[1][0]))
    size = -(-len(items) // parts)
    return [pad(items[at : at + size]) for at in range(0, len(items), size)]


def pad(items):
    longest = (max(len(w[0]) for _, w in items) + 7) // 8 * 8
    most = max(len(w[3]) for _, w in items)
    b = len(items)
    ids = torch.zeros(b, longest, dtype=torch.long)
    types, owner = torch.zeros_like(ids), torch.full((b, longest), most, dtype=torch.long)
    mask = torch.zeros(b, longest, dtype=torch.bool)
    labels = torch.full((b, most), -1.0)
    for row, (_, (i, t, o, l)) in enumerate(items):
        n = len(i)
        ids[row, :n], types[row, :n], mask[row, :n] = torch.tensor(i), torch.tensor(t), True
        o = torch.tensor(o)
        owner[row, :n] = torch.where(o < 0, torch.full_like(o, most), o)
        labels[row, : len(l)] = torch.tensor(l, dtype=torch.float)
    return ids, types, mask, owner, labels, torch.tensor([g for g, _ in items])


def sentence_logits(tokens, owner, labels):
    most = labels.shape[1]
    zeros = torch.zeros(tokens.shape[0], most + 1)
    total = zeros.scatter_add(1, owner, tokens)
    count = zeros.scatter_add(1, owner, torch.ones_like(tokens))
    return (total / count.clamp(min=1))[:, :most]


def listwise(logits, positive, group, count):
    """Mean over groups of -log of the share of the softmax that the positives hold."""
    top = logits.max().detach()
    weight = (logits - top).exp()
    whole = torch.zeros(count).index_add(0, group, weight)
    right = torch.zeros(count).index_add(0, group, weight * positive)
    has = torch.zeros(count).index_add(0, group, positive) > 0
    return -(right[has].clamp(min=1e-9).log() - whole[has].clamp(min=1e-9).log()).mean()


def losses(model, batch, dtype, dropout):
    logits, target, of_sentence, passage, holds, of_window = [], [], [], [], [], []
    for ids, types, mask, owner, labels, group in batch:
        tokens, whole = model(ids, types, mask, dtype, dropout)
        known = labels >= 0
        logits.append(sentence_logits(tokens, owner, labels)[known])
        target.append(labels[known])
        of_sentence.append(group[:, None].expand_as(labels)[known])
        passage.append(whole)
        holds.append((labels.clamp(min=0).sum(1) > 0).float())
        of_window.append(group)
    cat = lambda x: torch.cat(x)
    logits, target, of_sentence = cat(logits), cat(target), cat(of_sentence)
    passage, holds, of_window = cat(passage), cat(holds), cat(of_window)
    count = int(of_window.max()) + 1
    weight = torch.where(target > 0, 2.0, 1.0)
    sentence = F.binary_cross_entropy_with_logits(logits, target, weight)
    whole = F.binary_cross_entropy_with_logits(passage, holds)
    ranked = listwise(logits, target, of_sentence, count)
    ranked_whole = listwise(passage, holds, of_window, count)
    loss = sentence + 0.5 * whole + 0.5 * ranked + 0.5 * ranked_whole
    return loss, {"sentence": sentence, "passage": whole, "rank": ranked, "rank_passage": ranked_whole}


def batches(groups, size, rng):
    """Groups of like length together, batches in random order."""
    order = list(range(len(groups)))
    rng.shuffle(order)
    length = lambda i: max(sum(len(s) for s, _ in p[2]) for p in groups[i][1])
    out = []
    for at in range(0, len(order), size * 32):
        chunk = sorted(order[at : at + size * 32], key=length)
        out += [chunk[i : i + size] for i in range(0, len(chunk), size)]
    rng.shuffle(out)
    return out


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("groups", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--start", type=Path, help="cross-encoder.safetensors of an earlier round to go on from")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--size", type=int, default=12, help="groups a step")
    parser.add_argument("--rate", type=float, default=1.5e-4)
    parser.add_argument("--dropout", type=float, default=0.05)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--steps", type=int, help="no more than so many")
    parser.add_argument("--f32", action="store_true")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--speed", action="store_true", help="twelve steps, then say how fast")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(SEED)
    dtype = torch.float32 if args.f32 else torch.bfloat16
    tokenizer = Tokenizer.from_file(str(args.model / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    groups = encode_groups(args.groups, tokenizer, args.limit or (600 if args.speed else None))
    rng = random.Random(SEED)
    held, groups = groups[:240], groups[240:]
    model = Body(load_file(args.model / "model.safetensors"))
    if args.start:
        model.take(load_file(args.start))
    plan = [b for _ in range(args.epochs) for b in batches(groups, args.size, rng)]
    plan = plan[: args.steps]
    decay = [p for n, p in model.named_parameters() if p.requires_grad and p.dim() > 1]
    rest = [p for n, p in model.named_parameters() if p.requires_grad and p.dim() <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.01}, {"params": rest, "weight_decay": 0.0}], lr=args.rate, betas=(0.9, 0.98)
    )
    args.out.mkdir(parents=True, exist_ok=True)
    state, start = args.out / "state.pt", 0
    if state.exists() and not args.speed:
        saved = torch.load(state)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        start = saved["step"]
    warm = max(1, len(plan) // 20)
    began, seen, means, last = time.time(), 0, {}, time.time()
    for step in range(start, len(plan)):
        if args.speed and step == 12:
            break
        # Threads can be changed while it runs: other work may need the cores for a while.
        control = args.out / "threads"
        if step % 5 == 0 and control.exists() and (control.read_text().strip() or "0").isdigit():
            torch.set_num_threads(max(1, int(control.read_text().strip() or args.threads)))
        rate = args.rate * min((step + 1) / warm, max(0.02, (len(plan) - step) / (len(plan) - warm)))
        for part in optimizer.param_groups:
            part["lr"] = rate
        draws = random.Random(SEED + step)
        batch = collate([groups[i] for i in plan[step]], draws, tokenizer)
        model.train()
        loss, parts = losses(model, batch, dtype, args.dropout)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(decay + rest, 1.0)
        optimizer.step()
        seen += sum(int(part[2].sum()) for part in batch)
        if args.speed and step == 1:
            began, seen = time.time(), 0
        for name, value in parts.items():
            means[name] = 0.98 * means.get(name, float(value.detach())) + 0.02 * float(value.detach())
        if step % 20 == 19:
            shown = " ".join(f"{k} {v:.3f}" for k, v in means.items())
            print(f"{step + 1}/{len(plan)} {seen / (time.time() - began):.0f} tokens/s {shown}", flush=True)
        if time.time() - last > 240 and not args.speed:
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}, state)
            save_file(model.tensors(), args.out / "checkpoint.safetensors")
            last = time.time()
    print(f"{seen / (time.time() - began):.0f} tokens/s", flush=True)
    if args.speed:
        return
    save_file(model.tensors(), args.out / "cross-encoder.safetensors")
    model.eval()
    with torch.no_grad():
        sums, count = {}, 0
        for at in range(0, len(held), args.size):
            _, parts = losses(model, collate(held[at : at + args.size], random.Random(at), tokenizer), torch.float32, 0.0)
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + float(value)
            count += 1
    print("held out:", {name: round(value / count, 4) for name, value in sums.items()}, file=sys.stderr)


if __name__ == "__main__":
    main()
