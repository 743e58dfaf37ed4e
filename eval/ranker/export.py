"""Packs a trained cross-encoder into the file that is compiled into the binary.

    python export.py MODEL_FOLDER cross-encoder.safetensors cross-encoder.gguf

Matrices become 8-bit blocks of 32 (Q8_0), all else stays in 32-bit floats; the vocabulary of MODEL_FOLDER's
tokenizer.json goes along.
"""

import json
import sys
from pathlib import Path

import gguf
import numpy
from safetensors.numpy import load_file


def main(model, weights, out):
    tensors = load_file(weights)
    vocabulary = json.loads((Path(model) / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    tokens = sorted(vocabulary, key=vocabulary.get)
    assert [vocabulary[t] for t in tokens] == list(range(len(tokens)))
    writer = gguf.GGUFWriter(out, "bert")
    words = tensors["embeddings.word_embeddings.weight"]
    writer.add_context_length(tensors["embeddings.position_embeddings.weight"].shape[0])
    writer.add_embedding_length(words.shape[1])
    writer.add_block_count(sum(name.endswith("attention.self.query.weight") for name in tensors))
    writer.add_head_count(12)
    writer.add_tokenizer_model("bert")
    writer.add_token_list(tokens)
    for name in sorted(tensors):
        tensor = numpy.ascontiguousarray(tensors[name], dtype=numpy.float32)
        if tensor.ndim == 2 and tensor.shape[0] > 2:
            packed = gguf.quants.quantize(tensor, gguf.GGMLQuantizationType.Q8_0)
            writer.add_tensor(name, packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main(*sys.argv[1:4])
