"""Makes the static embedder: one vector a WordPiece token, so that embedding a text is a lookup and a sum.

    python static.py MODEL_FOLDER groups.jsonl static.gguf

Begins as Model2Vec does (every token alone through the model, PCA, weights a / (a + frequency)), then learns
from the training groups which passages a query needs: InfoNCE over the batch's passages and their near misses.
"""

import argparse
import json
import random
from pathlib import Path

import gguf
import numpy
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tokenizers import Tokenizer

from train import Body

SEED = 20261123
SMOOTHING = 1e-3


@torch.no_grad()
def token_vectors(model, count):
    out = []
    for start in range(0, count, 512):
        tokens = torch.arange(start, min(start + 512, count))
        ids = torch.stack([torch.full_like(tokens, 101), tokens, torch.full_like(tokens, 102)], 1)
        types, mask = torch.zeros_like(ids), torch.ones_like(ids, dtype=torch.bool)
        out.append(model.vectors(ids, types, mask, torch.float32).mean(1))
    return torch.cat(out)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("groups", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(SEED)
    rng = random.Random(SEED)
    tokenizer = Tokenizer.from_file(str(args.model / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()

    rows = [json.loads(line) for line in open(args.groups, encoding="utf-8")]
    rows = [row for row in rows if len(row["passages"]) == 3]
    queries = [e.ids for e in tokenizer.encode_batch_fast([r["query"] for r in rows], add_special_tokens=False)]
    passages = []
    for row in rows:
        texts = [p["title"] + " " + " ".join(p["sentences"]) for p in row["passages"]]
        # The sentences that answer, as a passage of their own: short texts must work too.
        first = row["passages"][0]
        texts.append(" ".join(s for s, label in zip(first["sentences"], first["labels"]) if label))
        passages.append([e.ids for e in tokenizer.encode_batch_fast(texts, add_special_tokens=False)])
    held = 500

    model = Body(load_file(args.model / "model.safetensors")).eval()
    size = model.words.shape[0]
    kept = args.out.with_suffix(".tokens.pt")
    if not kept.exists():
        torch.save(token_vectors(model, size), kept)
    vectors = torch.load(kept)
    vectors = vectors - vectors.mean(0)
    _, _, axes = torch.pca_lowrank(vectors, q=args.dim, center=False, niter=6)
    vectors = vectors @ axes
    counts = torch.ones(size)
    for group in passages:
        for ids in group[:3]:
            counts.index_add_(0, torch.tensor(ids), torch.ones(len(ids)))
    weight = SMOOTHING / (SMOOTHING + counts / counts.sum())
    table = torch.nn.EmbeddingBag(size, args.dim, mode="sum", sparse=False)
    table.weight.data = F.normalize(vectors, dim=1) * weight[:, None]

    def embed(texts):
        lengths = torch.tensor([0] + [len(t) for t in texts[:-1]]).cumsum(0)
        flat = torch.tensor([i for t in texts for i in t], dtype=torch.long)
        return F.normalize(table(flat, lengths), dim=1)

    def recall():
        """How often the right passage of a held-out query is among the best 10 % of their passages."""
        with torch.no_grad():
            all_passages = [p for group in passages[-held:] for p in group[:3]]
            scores = embed(queries[-held:]) @ embed(all_passages).T
            right = torch.arange(held) * 3
            rank = (scores > scores[torch.arange(held), right][:, None]).sum(1)
            near = scores.view(held, held, 3)[torch.arange(held), torch.arange(held)]
            beats = (near[:, 0:1] > near[:, 1:]).float().mean()
            return f"among 1 % {float((rank < 15).float().mean()):.3f}, beats near misses {float(beats):.3f}"

    print("distilled:", recall(), flush=True)
    optimizer = torch.optim.Adam(table.parameters(), lr=2e-3)
    scale = torch.nn.Parameter(torch.tensor(3.0))
    optimizer.add_param_group({"params": [scale], "lr": 1e-2})
    start = table.weight.data.clone()
    batch = 128
    for epoch in range(args.epochs):
        for group in optimizer.param_groups[:1]:
            group["lr"] = 2e-3 * (1 - epoch / args.epochs)
        order = list(range(len(rows) - held))
        rng.shuffle(order)
        total = 0.0
        for at in range(0, len(order) - batch + 1, batch):
            chosen = order[at : at + batch]
            query = embed([queries[i] for i in chosen])
            right = [passages[i][0] if rng.random() < 0.6 else passages[i][3] for i in chosen]
            wrong = [p for i in chosen for p in passages[i][1:3]]
            scores = query @ embed(right + wrong).T * scale.exp()
            loss = F.cross_entropy(scores, torch.arange(batch))
            loss = loss + 20.0 * (table.weight - start).pow(2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += float(loss.detach())
        print(f"epoch {epoch + 1}: loss {total / (len(order) // batch):.3f}", recall(), flush=True)

    values = table.weight.data / table.weight.data.norm(dim=1).max()
    packed = gguf.quants.quantize(numpy.ascontiguousarray(values.numpy()), gguf.GGMLQuantizationType.Q8_0)
    writer = gguf.GGUFWriter(args.out, "static")
    writer.add_embedding_length(args.dim)
    writer.add_tensor("tokens.weight", packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
