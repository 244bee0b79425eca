"""Reads one Delta table in a bucket with three readers; prints {"reader", "rows", "total"} a line.

Usage: readers.py s3://BUCKET/TABLE COLUMN, with AWS's variables for keys and endpoint.
"""

import json
import os
import sys

import deltalake
import polars
import pyarrow.compute
import pyarrow.fs
import pyarrow.parquet

url, column = sys.argv[1:]
endpoint = os.environ["AWS_ENDPOINT_URL_S3"]
options = {
    "AWS_ENDPOINT_URL": endpoint,
    "AWS_ACCESS_KEY_ID": os.environ["AWS_ACCESS_KEY_ID"],
    "AWS_SECRET_ACCESS_KEY": os.environ["AWS_SECRET_ACCESS_KEY"],
    "AWS_REGION": "us-east-1",
    "AWS_ALLOW_HTTP": "true",
}


def tell(reader, rows, total):
    print(json.dumps({"reader": reader, "rows": int(rows), "total": float(total)}))


table = deltalake.DeltaTable(url, storage_options=options)
whole = table.to_pyarrow_table()
tell("deltalake", whole.num_rows, pyarrow.compute.sum(whole[column]).as_py())

store = pyarrow.fs.S3FileSystem(
    access_key=options["AWS_ACCESS_KEY_ID"],
    secret_key=options["AWS_SECRET_ACCESS_KEY"],
    endpoint_override=endpoint,
    region="us-east-1",
)
files = [file.removeprefix("s3://") for file in table.file_uris()]
parts = [pyarrow.parquet.read_table(file, filesystem=store, partitioning=None) for file in files]
tell("pyarrow", sum(part.num_rows for part in parts), sum(pyarrow.compute.sum(part[column]).as_py() for part in parts))

lazy = polars.scan_delta(url, storage_options=options).select(polars.len().alias("rows"), polars.col(column).sum().alias("total"))
frame = lazy.collect()
tell("polars", frame["rows"][0], frame["total"][0])
