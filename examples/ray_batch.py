"""Compacts a Parquet data set with Ray Data: one `epitome batch` per actor, its rows through a pipe.

Needs `epitome` on the PATH of every node, and: pip install 'ray[data]' pyarrow

    python examples/ray_batch.py in.parquet out.parquet \\
        --query-column query --budget 25% --actors 4 --cpus 7

Start as many actors as there are nodes and give each the cores of its node, less one for reading and writing: one
epitome uses all cores. Every row keeps its columns and gets `compacted`, `outcome`, `reason`, `tokens_before` and
`tokens_after`. The order of rows is not kept.
"""

import argparse
import json
import subprocess
import sys
import threading

import pyarrow as pa
import ray

ADDED = pa.schema(
    [
        ("compacted", pa.string()),
        ("outcome", pa.string()),
        ("reason", pa.string()),
        ("tokens_before", pa.int64()),
        ("tokens_after", pa.int64()),
    ]
)


class Compactor:
    def __init__(self, text_column, query_column, budget):
        self.text_column, self.query_column = text_column, query_column
        command = ["epitome", "--quiet", "batch", "-", "--output", "-", "--budget", budget]
        # Its input ends with this actor, and so does the process.
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
        )

    def __call__(self, table):
        texts = table[self.text_column].to_pylist()
        queries = table[self.query_column].to_pylist() if self.query_column else [None] * len(texts)
        # Writing and reading in one thread would deadlock as soon as both pipes are full.
        threading.Thread(target=self.feed, args=(texts, queries), daemon=True).start()
        results = [self.read(number) for number in range(len(texts))]
        for name, column in zip(ADDED.names, pa.Table.from_pylist(results, schema=ADDED).columns):
            table = table.append_column(name, column)
        return table

    def feed(self, texts, queries):
        try:
            for number, (text, query) in enumerate(zip(texts, queries)):
                self.process.stdin.write(json.dumps({"id": number, "text": text, "query": query}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # epitome has ended, which the reader notices.
        except Exception:
            self.process.kill()  # Or the reader would wait forever.
            raise

    def read(self, number):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"epitome ended with exit code {self.process.wait()}; the actor's log says why")
        result = json.loads(line)
        if result["id"] != number:
            raise RuntimeError(f"row {number} got the result of row {result['id']}")
        result["compacted"] = result.get("text")
        result.setdefault("reason", result.get("error"))
        return result


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("input")
    parser.add_argument("output")
    parser.add_argument("--text-column", default="text")
    parser.add_argument("--query-column", help="without it, texts are compacted for no question")
    parser.add_argument("--budget", default="25%", help="such as 1500, 25%% or floor=0.98")
    parser.add_argument("--actors", type=int, default=1)
    parser.add_argument("--cpus", type=float, default=1, help="of each actor")
    parser.add_argument("--batch-size", type=int, default=256)
    args = parser.parse_args()

    rows = ray.data.read_parquet(args.input)
    names = rows.schema().names
    missing = {args.text_column, args.query_column} - {None, *names}
    if missing:
        sys.exit(f"{args.input} has no column {', '.join(sorted(missing))}; it has {', '.join(names)}")
    taken = set(ADDED.names) & set(names)
    if taken:
        sys.exit(f"{args.input} already has a column {', '.join(sorted(taken))}")

    # Ray reads small files into few blocks, which would leave most actors idle. It appends to an output unless told
    # otherwise.
    rows.repartition(4 * args.actors).map_batches(
        Compactor,
        fn_constructor_args=(args.text_column, args.query_column, args.budget),
        batch_format="pyarrow",
        batch_size=args.batch_size,
        compute=ray.data.ActorPoolStrategy(size=args.actors),
        num_cpus=args.cpus,
    ).write_parquet(args.output, mode=ray.data.SaveMode.ERROR)

    written = ray.data.read_parquet(args.output)
    print(written.groupby("outcome").count().to_pandas().to_string(index=False))
    print(f"rows in: {rows.count()}, rows out: {written.count()}")


if __name__ == "__main__":
    main()
