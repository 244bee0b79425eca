"""Prints the columns of every Parquet file below a folder as pyarrow sees them, one line a file."""

import pathlib
import sys

import pyarrow.parquet

for path in sorted(pathlib.Path(sys.argv[1]).rglob("*.parquet")):
    # What lies in the log (checkpoints) is no data.
    if "_delta_log" not in path.parts:
        schema = pyarrow.parquet.read_schema(path).remove_metadata()
        print(", ".join(f"{field.name}: {field.type}" for field in schema))
