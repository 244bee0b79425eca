"""duckdb_etl.py INPUT FOLDER DEDUPE THREADS: the job in DuckDB."""

import sys
from pathlib import Path

import duckdb

from columns import ALL, aggregate_sql, cleaned_sql


def main():
    source, folder, dedupe, threads = sys.argv[1], Path(sys.argv[2]), sys.argv[3] == "True", int(sys.argv[4])
    db = duckdb.connect()
    db.execute(f"SET threads = {threads}")
    # Without it DuckDB buffers whole results to keep the order of the input, which nobody here needs.
    db.execute("SET preserve_insertion_order = false")
    columns = ", ".join(f"'{name}': 'VARCHAR'" for name in ALL)
    requests, summary = folder / "requests.parquet", folder / "summary.parquet"
    read = f"read_json('{source}', format = 'newline_delimited', columns = {{{columns}}})"
    db.execute(f"COPY ({cleaned_sql(read, dedupe)}) TO '{requests}' (FORMAT parquet, COMPRESSION zstd)")
    aggregate = aggregate_sql(f"read_parquet('{requests}')")
    db.execute(f"COPY ({aggregate}) TO '{summary}' (FORMAT parquet, COMPRESSION zstd)")


main()
