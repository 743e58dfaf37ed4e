"""Compacts a Parquet data set with Spark through a running `epitome serve`.

Needs Java 17, and: pip install pyspark pyarrow pandas requests

    epitome serve &
    spark-submit examples/spark_serve.py in.parquet out.parquet \\
        --query-column query --budget 25% --server http://127.0.0.1:8080

The server answers 429 to more than serve.max_concurrent (8) requests at once. Tasks that run at once times --requests
should not be much above that. Every row keeps its columns and gets `compacted`, `outcome`, `reason`, `tokens_before`
and `tokens_after`. The order of rows is not kept.
"""

import argparse
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import requests
from pyspark.sql import SparkSession, functions
from pyspark.sql.types import StructType
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

ADDED = pa.schema(
    [
        ("compacted", pa.string()),
        ("outcome", pa.string()),
        ("reason", pa.string()),
        ("tokens_before", pa.int64()),
        ("tokens_after", pa.int64()),
    ]
)
# 429 comes with `retry-after`, which urllib3 obeys. 503, while the models load, comes without.
RETRY = Retry(
    total=60,
    status_forcelist=[429, 503],
    allowed_methods=["POST"],
    backoff_factor=0.5,
    backoff_max=5,
    raise_on_status=False,
)


def compact(session, url, text, query, budget):
    if text is None:
        return {"outcome": "error", "reason": "no text"}
    answer = session.post(url, json={"text": text, "query": query, "budget": budget}, timeout=300)
    # Too long, a budget that holds no sentence, or past the deadline: keep the text as it is, as `epitome batch` does.
    if answer.status_code in (413, 422, 504):
        return {"compacted": text, "outcome": "failed-open", "reason": answer.json()["error"]["message"]}
    if not answer.ok:
        raise RuntimeError(f"{url} answered {answer.status_code}: {answer.text[:500]}")
    result = answer.json()
    figures = result["figures"]
    return {
        "compacted": result["text"],
        "outcome": result["outcome"],
        "reason": result.get("reason"),
        "tokens_before": figures["tokens_before"],
        "tokens_after": figures["tokens_after"],
    }


def compactor(text_column, query_column, budget, url, key, at_once):
    def run(batches):
        with requests.Session() as session, ThreadPoolExecutor(at_once) as pool:
            session.mount(url, HTTPAdapter(max_retries=RETRY, pool_maxsize=at_once))
            if key:
                session.headers["x-epitome-key"] = key
            for batch in batches:
                texts = batch[text_column].to_pylist()
                queries = batch[query_column].to_pylist() if query_column else [None] * len(texts)
                results = pool.map(lambda row: compact(session, url, *row, budget), zip(texts, queries))
                added = pa.RecordBatch.from_pylist(list(results), schema=ADDED)
                yield pa.RecordBatch.from_arrays(
                    batch.columns + added.columns, names=batch.schema.names + ADDED.names
                )

    return run


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("input")
    parser.add_argument("output")
    parser.add_argument("--text-column", default="text")
    parser.add_argument("--query-column", help="without it, texts are compacted for no question")
    parser.add_argument("--budget", default="25%", help="such as 1500, 25%% or floor=0.98")
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--server", default="http://127.0.0.1:8080", help="its key, if any: $EPITOME_KEY")
    parser.add_argument("--requests", type=int, default=2, help="requests at once of each task")
    args = parser.parse_args()

    url = args.server.rstrip("/") + "/v1/compact"
    try:
        requests.get(args.server.rstrip("/") + "/healthz", timeout=10).raise_for_status()
    except requests.RequestException as error:
        sys.exit(f"no epitome at {args.server}: {error}")
    spark = SparkSession.builder.appName("epitome").getOrCreate()
    rows = spark.read.parquet(args.input)
    missing = {args.text_column, args.query_column} - {None, *rows.columns}
    if missing:
        sys.exit(f"{args.input} has no column {', '.join(sorted(missing))}; it has {', '.join(rows.columns)}")
    taken = set(ADDED.names) & set(rows.columns)
    if taken:
        sys.exit(f"{args.input} already has a column {', '.join(sorted(taken))}")

    schema = StructType([*rows.schema, *spark.createDataFrame(ADDED.empty_table()).schema])
    function = compactor(
        args.text_column, args.query_column, args.budget, url, os.environ.get("EPITOME_KEY"), args.requests
    )
    # Spark reads small files into few partitions.
    rows.repartition(args.partitions).mapInArrow(function, schema).write.parquet(args.output)

    written = spark.read.parquet(args.output)
    written.groupBy("outcome").agg(
        functions.count("*").alias("rows"), functions.sum("tokens_before"), functions.sum("tokens_after")
    ).show()
    print(f"rows in: {rows.count()}, rows out: {written.count()}")


if __name__ == "__main__":
    main()
