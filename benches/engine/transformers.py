"""How fast transformers is on a GPU, in tokens a second, for the bench `engine`, which calls it:

    python transformers.py FOLDER prefill|BATCH SEGMENTS TOKENS WRITTEN

With `prefill` it reads SEGMENTS prompts of TOKENS tokens at once; with a number it writes WRITTEN tokens after so
many prompts. bf16, PyTorch's scaled dot product attention, the median of three.
"""

import statistics
import sys
import time

# This file has the library's name, and its folder comes first.
sys.path.pop(0)

import torch
from transformers import AutoModelForCausalLM

folder, what, *numbers = sys.argv[1:]
segments, tokens, written = map(int, numbers)
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, attn_implementation="sdpa").to("cuda").eval()


def run(batch, count):
    ids = torch.randint(0, 40_000, (batch, tokens), device="cuda")
    torch.cuda.synchronize()
    start = time.perf_counter()
    if count == 0:
        model(ids, logits_to_keep=1, use_cache=True)
    else:
        model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=count, min_new_tokens=count, do_sample=False, pad_token_id=0)
    torch.cuda.synchronize()
    return time.perf_counter() - start


with torch.inference_mode():
    if what == "prefill":
        run(segments, 0)
        print(segments * tokens / statistics.median(run(segments, 0) for _ in range(3)))
    else:
        batch = int(what)
        run(batch, 2)
        seconds = statistics.median(run(batch, written) - run(batch, 1) for _ in range(3))
        print(batch * (written - 1) / seconds)
