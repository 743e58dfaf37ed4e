"""Compacts a Parquet data set with Spark: one `epitome batch` per partition, its rows through a pipe.

Needs `epitome` on the PATH of every worker, Java 17, and: pip install pyspark pyarrow pandas

    spark-submit --conf spark.task.cpus=8 examples/spark_batch.py in.parquet out.parquet \\
        --query-column query --budget 25% --partitions 64

Set spark.task.cpus to the cores of a worker: one epitome uses all of them. Every row keeps its columns and gets
`compacted`, `outcome`, `reason`, `tokens_before` and `tokens_after`. The order of rows is not kept.
"""

import argparse
import itertools
import json
import subprocess
import sys
import threading

import pyarrow as pa
from pyspark.sql import SparkSession, functions
from pyspark.sql.types import StructType

ADDED = pa.schema(
    [
        ("compacted", pa.string()),
        ("outcome", pa.string()),
        ("reason", pa.string()),
        ("tokens_before", pa.int64()),
        ("tokens_after", pa.int64()),
    ]
)


def feed(process, texts, queries):
    try:
        for number, (text, query) in enumerate(zip(texts, queries)):
            process.stdin.write(json.dumps({"id": number, "text": text, "query": query}) + "\n")
        process.stdin.flush()
    except BrokenPipeError:
        pass  # epitome has ended, which the reader notices.
    except Exception:
        process.kill()  # Or the reader would wait forever.
        raise


def compact(process, texts, queries):
    # Writing and reading in one thread would deadlock as soon as both pipes are full.
    threading.Thread(target=feed, args=(process, texts, queries), daemon=True).start()
    for number in range(len(texts)):
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"epitome ended with exit code {process.wait()}; stderr of the worker says why")
        result = json.loads(line)
        if result["id"] != number:
            raise RuntimeError(f"row {number} got the result of row {result['id']}")
        result["compacted"] = result.get("text")
        result.setdefault("reason", result.get("error"))
        yield result


def compactor(text_column, query_column, budget):
    command = ["epitome", "--quiet", "batch", "-", "--output", "-", "--budget", budget]

    def run(batches):
        first = next(batches, None)
        if first is None:  # An empty partition needs no process.
            return
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
        ) as process:
            for batch in itertools.chain([first], batches):
                texts = batch[text_column].to_pylist()
                queries = batch[query_column].to_pylist() if query_column else [None] * len(texts)
                added = pa.RecordBatch.from_pylist(list(compact(process, texts, queries)), schema=ADDED)
                yield pa.RecordBatch.from_arrays(
                    batch.columns + added.columns, names=batch.schema.names + ADDED.names
                )
            process.stdin.close()
            # 1 and 3: some rows were unusable or could not be compacted. Their `outcome` says so.
            if process.wait() not in (0, 1, 3):
                raise RuntimeError(f"epitome ended with exit code {process.returncode}")

    return run


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("input")
    parser.add_argument("output")
    parser.add_argument("--text-column", default="text")
    parser.add_argument("--query-column", help="without it, texts are compacted for no question")
    parser.add_argument("--budget", default="25%", help="such as 1500, 25%% or floor=0.98")
    parser.add_argument("--partitions", type=int, default=8)
    args = parser.parse_args()

    spark = SparkSession.builder.appName("epitome").getOrCreate()
    rows = spark.read.parquet(args.input)
    missing = {args.text_column, args.query_column} - {None, *rows.columns}
    if missing:
        sys.exit(f"{args.input} has no column {', '.join(sorted(missing))}; it has {', '.join(rows.columns)}")
    taken = set(ADDED.names) & set(rows.columns)
    if taken:
        sys.exit(f"{args.input} already has a column {', '.join(sorted(taken))}")

    schema = StructType([*rows.schema, *spark.createDataFrame(ADDED.empty_table()).schema])
    # Spark reads small files into few partitions, and would leave most workers idle.
    compacted = rows.repartition(args.partitions).mapInArrow(
        compactor(args.text_column, args.query_column, args.budget), schema
    )
    compacted.write.parquet(args.output)

    written = spark.read.parquet(args.output)
    written.groupBy("outcome").agg(
        functions.count("*").alias("rows"), functions.sum("tokens_before"), functions.sum("tokens_after")
    ).show()
    print(f"rows in: {rows.count()}, rows out: {written.count()}")


if __name__ == "__main__":
    main()
