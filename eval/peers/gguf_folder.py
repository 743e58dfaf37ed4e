"""Writes a GGUF model as a folder that transformers loads: python gguf_folder.py MODEL.gguf FOLDER

Needs transformers 5, whose tokenizers from GGUF are right for byte-level vocabularies; what it writes is read by 4.46,
which llmlingua needs.
"""

import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

source, folder = Path(sys.argv[1]).resolve(), sys.argv[2]
where = {"pretrained_model_name_or_path": str(source.parent), "gguf_file": source.name}
AutoTokenizer.from_pretrained(**where).save_pretrained(folder)
model, seen = AutoModelForCausalLM.from_pretrained(**where, torch_dtype=torch.float32, output_loading_info=True)
if "lm_head.weight" in seen["missing_keys"]:
    # The file holds one table for input and output.
    model.config.tie_word_embeddings = True
    model.tie_weights()
# The weights are plain floats by now.
model.hf_quantizer = None
if hasattr(model.config, "quantization_config"):
    del model.config.quantization_config
model.save_pretrained(folder)

# The name that older versions know the same class by, and the inputs that a decoder takes.
config = Path(folder) / "tokenizer_config.json"
known = {"tokenizer_class": "PreTrainedTokenizerFast", "model_input_names": ["input_ids", "attention_mask"]}
config.write_text(json.dumps(json.loads(config.read_text()) | known, indent=2))
