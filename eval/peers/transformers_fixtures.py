"""Makes the fixtures of decoders from Hugging Face transformers: python transformers_fixtures.py FOLDER FIXTURES

FOLDER: what gguf_folder.py writes for SmolLM2-135M-Instruct. FIXTURES: tests/fixtures, whose greedy.json has the
prompts. Writes greedy_transformers.json, greedy tokens in 32-bit floats with the margin of each, and below decoders/
small random checkpoints of every architecture, each with the logits that transformers gives for its ids.

Made with transformers 5.24.0 and torch on a processor.
"""

import json
import sys
from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

TOKENS = 24
MODEL = "smollm2-135m-instruct"


def greedy(folder, fixtures):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    known = json.loads((fixtures / "greedy.json").read_text())["cases"]
    cases = []
    for prompt in [case["prompt"] for case in known if case["model"] == MODEL]:
        ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        tokens, margins = [], []
        past, fed = None, torch.tensor([ids])
        for _ in range(TOKENS):
            with torch.no_grad():
                out = model(fed, past_key_values=past, use_cache=True)
            past = out.past_key_values
            best = torch.log_softmax(out.logits[0, -1], -1).topk(2)
            tokens.append(int(best.indices[0]))
            margins.append(round(float(best.values[0] - best.values[1]), 3))
            if tokens[-1] == tokenizer.eos_token_id:
                break
            fed = torch.tensor([[tokens[-1]]])
        cases.append({"model": MODEL, "prompt": prompt, "tokens": tokens, "margins": margins})
    note = "Made by eval/peers/transformers_fixtures.py, in 32-bit floats; `margins` as in greedy.json."
    lines = ",\n".join(json.dumps(case) for case in cases)
    (fixtures / "greedy_transformers.json").write_text(f'{{"note": {json.dumps(note)},\n"cases": [\n{lines}\n]}}\n')


COMMON = {
    "vocab_size": 64,
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 512,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def checkpoint(name, model, kind, fixtures):
    folder = fixtures / "decoders" / name
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() == 2:
                weight.normal_(0.0, 0.2)
            else:
                # Norms about 1, biases about 0.
                weight.add_(torch.randn_like(weight) * 0.2)
    model = model.to(kind)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink()
    # Read anew: the conversion has rounded the rope's frequencies too, which no file holds.
    model = type(model).from_pretrained(folder, dtype=torch.float32).eval()
    prompts = [[5], list(range(3, 23)), [(7 * at * at + 11 * at + 3) % 64 for at in range(150)]]
    cases = []
    for ids in prompts:
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0, -1]
        cases.append({"ids": ids, "logits": [round(float(value), 6) for value in logits]})
    (folder / "logits.json").write_text("[" + ",\n".join(json.dumps(case) for case in cases) + "]\n")


def checkpoints(fixtures):
    torch.manual_seed(7)
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128, "rope_theta": 10000.0}
    llama3 = {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 256,
        "rope_theta": 10000.0,
    }
    plain = {"rope_type": "default", "rope_theta": 1000000.0}
    shape = {key: value for key, value in COMMON.items() if key != "head_dim"} | {"num_attention_heads": 2}
    small = COMMON | {"intermediate_size": 32}
    qwen3 = Qwen3Config(**small, rope_parameters=yarn, tie_word_embeddings=True)
    qwen2 = Qwen2Config(**shape, rope_parameters=plain, tie_word_embeddings=False, use_sliding_window=False)
    llama = LlamaConfig(**small, rope_parameters=llama3, tie_word_embeddings=False)
    checkpoint("qwen3-yarn", Qwen3ForCausalLM(qwen3), torch.bfloat16, fixtures)
    checkpoint("qwen2", Qwen2ForCausalLM(qwen2), torch.float16, fixtures)
    checkpoint("llama3", LlamaForCausalLM(llama), torch.bfloat16, fixtures)


folder, fixtures = sys.argv[1], Path(sys.argv[2])
checkpoints(fixtures)
greedy(folder, fixtures)
