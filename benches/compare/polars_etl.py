"""polars_etl.py INPUT FOLDER DEDUPE: the job in Polars, with its streaming engine. Threads: POLARS_MAX_THREADS."""

import sys
from pathlib import Path

import polars as pl

from columns import ALL, KEY, NEWER, NULLS, NUMBERS, TEXTS, TIMES

TYPES = {"BIGINT": pl.Int64, "DOUBLE": pl.Float64}


def typed():
    for name, kind in NUMBERS.items():
        yield pl.col(name).cast(TYPES[kind], strict=False)
    for name in TIMES:
        yield pl.col(name).str.to_datetime("%Y-%m-%dT%H:%M:%S%.3f", time_unit="us", strict=False)
    for name in TEXTS:
        text = pl.col(name).str.strip_chars(" ").str.to_lowercase()
        yield pl.when(~text.is_in(NULLS)).then(text).alias(name)


def main():
    source, folder, dedupe = sys.argv[1], Path(sys.argv[2]), sys.argv[3] == "True"
    requests, summary = folder / "requests.parquet", folder / "summary.parquet"
    schema = {name: pl.String for name in ALL}
    read = pl.scan_ndjson(source, schema=schema)
    cleaned = read.select(*typed())
    if dedupe:
        cleaned = cleaned.sort(NEWER, descending=True, nulls_last=True).unique(KEY, keep="first", maintain_order=True)
    cleaned.sink_parquet(requests, compression="zstd", engine="streaming")
    pl.scan_parquet(requests).group_by("borough", "complaint_type").agg(
        pl.len().cast(pl.Int64).alias("requests"),
        pl.col("closed_date").count().cast(pl.Int64).alias("closed"),
        pl.col("created_date").min().alias("first_created"),
        pl.col("created_date").max().alias("last_created"),
        # As in SQL: the sum of no number is null.
        pl.when(pl.col("x_coordinate_state_plane").count() > 0)
        .then(pl.col("x_coordinate_state_plane").sum())
        .alias("x_sum"),
        pl.col("latitude").mean().alias("latitude_mean"),
    ).sink_parquet(summary, compression="zstd", engine="streaming")


main()
