"""What `run.py` gives a Python client, and how the client reports. See README.md."""

import json
import os
import sys
from importlib.metadata import version

CASE = json.loads(os.environ["EPITOME_CASE"])
ROOT: str = CASE["url"]
"""The base URL, without `/v1`."""
QUESTION: str = CASE["question"]
SYSTEM: str = CASE["system"]
FILE: str = CASE["file"]
with open(FILE, encoding="utf-8") as file:
    DOCUMENT = file.read()

# What a tool that reads files is called, and how it is described in OpenAI's words.
READ_FILE = {
    "name": "read_file",
    "description": "Reads a text file.",
    "parameters": {
        "type": "object",
        "properties": {"path": {"type": "string"}},
        "required": ["path"],
        "additionalProperties": False,
    },
}


def read_file(path: str) -> str:
    """Reads a text file."""
    with open(path, encoding="utf-8") as text:
        return text.read()


def main(package: str, variants: dict) -> None:
    """Runs the variant that the command line names. It returns the answer and what else should not change."""
    answer, *facts = variants[sys.argv[1]]()
    print(json.dumps({"version": version(package), "answer": answer, "facts": facts}))
