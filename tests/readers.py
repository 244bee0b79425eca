"""Reads one Delta table with four readers; prints {"reader", "rows", "total"} a line.

Usage: readers.py TABLE_FOLDER COLUMN
"""

import json
import sys

import deltalake
import duckdb
import polars
import pyarrow.compute

folder, column = sys.argv[1:]


def tell(reader, rows, total):
    print(json.dumps({"reader": reader, "rows": int(rows), "total": float(total)}))


table = deltalake.DeltaTable(folder)
arrow = table.to_pyarrow_table()
tell("pyarrow", arrow.num_rows, pyarrow.compute.sum(arrow[column]).as_py())

files = table.file_uris()
((rows, total),) = duckdb.sql(f'SELECT count(*), sum("{column}") FROM read_parquet({files!r})').fetchall()
tell("duckdb", rows, total)

frame = polars.read_parquet(files)
tell("polars", frame.height, frame[column].sum())

lazy = polars.scan_delta(folder).select(polars.len().alias("rows"), polars.col(column).sum().alias("total")).collect()
tell("polars over the log", lazy["rows"][0], lazy["total"][0])
