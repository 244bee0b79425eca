#!/usr/bin/env python3
"""The 22 queries of TPC-H in Lagar and in DuckDB: whether the answers are equal, and what they took.

    benches/tpch/tpch.py --lagar target/release/lagar --scale 1

tpchgen-cli makes the data as Parquet. A project reads them where they lie (`in_place`) and makes 8 typed
tables of them in a Delta lake; the queries run over those, each as a process `lagar sql`, first with
`--memory`, then with a quarter of it. DuckDB answers the same SQL over the generated files. Rows are
compared one by one, in order, numbers to a millionth: the average of decimals has other digits in each.
At scale 1 the first line of each answer is compared with the figure that the benchmark's answer set has.

TPC-H is a benchmark of the TPC (tpc.org). These are not its audited results and must not be called so.

Needs duckdb, pyarrow and tpchgen-cli from PyPI. Exits 1 if an answer differs.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow.parquet

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lagar-bench"
TOLERANCE = 1e-6

# What a table is made of, and the key that its rows are known by.
MONEY, TEXT, KEY, COUNT, DAY = "DECIMAL(15, 2)", "TEXT", "BIGINT", "INT", "DATE"
TABLES = {
    "region": (["r_regionkey"], {"r_regionkey": KEY, "r_name": TEXT, "r_comment": TEXT}),
    "nation": (["n_nationkey"], {"n_nationkey": KEY, "n_name": TEXT, "n_regionkey": KEY, "n_comment": TEXT}),
    "supplier": (["s_suppkey"], {
        "s_suppkey": KEY, "s_name": TEXT, "s_address": TEXT, "s_nationkey": KEY, "s_phone": TEXT,
        "s_acctbal": MONEY, "s_comment": TEXT,
    }),
    "customer": (["c_custkey"], {
        "c_custkey": KEY, "c_name": TEXT, "c_address": TEXT, "c_nationkey": KEY, "c_phone": TEXT,
        "c_acctbal": MONEY, "c_mktsegment": TEXT, "c_comment": TEXT,
    }),
    "part": (["p_partkey"], {
        "p_partkey": KEY, "p_name": TEXT, "p_mfgr": TEXT, "p_brand": TEXT, "p_type": TEXT, "p_size": COUNT,
        "p_container": TEXT, "p_retailprice": MONEY, "p_comment": TEXT,
    }),
    "partsupp": (["ps_partkey", "ps_suppkey"], {
        "ps_partkey": KEY, "ps_suppkey": KEY, "ps_availqty": COUNT, "ps_supplycost": MONEY, "ps_comment": TEXT,
    }),
    "orders": (["o_orderkey"], {
        "o_orderkey": KEY, "o_custkey": KEY, "o_orderstatus": TEXT, "o_totalprice": MONEY, "o_orderdate": DAY,
        "o_orderpriority": TEXT, "o_clerk": TEXT, "o_shippriority": COUNT, "o_comment": TEXT,
    }),
    "lineitem": (["l_orderkey", "l_linenumber"], {
        "l_orderkey": KEY, "l_partkey": KEY, "l_suppkey": KEY, "l_linenumber": COUNT, "l_quantity": MONEY,
        "l_extendedprice": MONEY, "l_discount": MONEY, "l_tax": MONEY, "l_returnflag": TEXT,
        "l_linestatus": TEXT, "l_shipdate": DAY, "l_commitdate": DAY, "l_receiptdate": DAY,
        "l_shipinstruct": TEXT, "l_shipmode": TEXT, "l_comment": TEXT,
    }),
}

# Rows at scale 1 (where we know them) and the first line (a part of it), as the benchmark's answers have them. Without them two
# engines could agree about a query that we wrote down wrongly.
KNOWN_AT_1 = {
    "q01": (4, {"sum_qty": "37734107.00", "sum_charge": "55909065222.83", "count_order": 1478493}),
    "q02": (100, {"s_acctbal": "9938.53", "p_partkey": 185358}),
    "q03": (10, {"l_orderkey": 2456423, "revenue": "406181.01"}),
    "q04": (5, {"order_count": 10594}),
    "q05": (5, {"n_name": "INDONESIA", "revenue": "55502041.17"}),
    "q06": (1, {"revenue": "123141078.23"}),
    "q07": (4, {"cust_nation": "GERMANY", "revenue": "54639732.73"}),
    "q08": (2, {"mkt_share": "0.03"}),
    "q09": (175, {"nation": "ALGERIA", "o_year": 1998, "sum_profit": "27136900.18"}),
    "q10": (20, {"c_custkey": 57040, "revenue": "734235.25"}),
    "q11": (1048, {"ps_partkey": 129760, "value": "17538456.86"}),
    "q12": (2, {"l_shipmode": "MAIL", "high_line_count": 6202, "low_line_count": 9324}),
    "q13": (42, {"c_count": 0, "custdist": 50005}),
    "q14": (1, {"promo_revenue": "16.38"}),
    "q15": (1, {"s_suppkey": 8449, "total_revenue": "1772627.21"}),
    "q16": (18314, {"p_brand": "Brand#41", "supplier_cnt": 28}),
    "q17": (1, {"avg_yearly": "348406.05"}),
    "q18": (57, {"c_custkey": 128120, "o_totalprice": "544089.09"}),
    "q19": (1, {"revenue": "3083843.06"}),
    "q20": (None, {"s_name": "Supplier#000000020"}),
    "q21": (100, {"s_name": "Supplier#000002829", "numwait": 20}),
    "q22": (7, {"cntrycode": "13", "numcust": 888, "totacctbal": "6737713.99"}),
}


# ---- the data ----

def generated(folder, scale):
    """The folder with the 8 Parquet files of a scale; made when it is not there."""
    done = folder / "complete"
    if not done.exists():
        program = Path(sys.executable).parent / "tpchgen-cli"
        command = [str(program), "parquet", "-s", str(scale), "--output-dir", str(folder), "--overwrite", "-q"]
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(command, check=True)
        done.touch()
    return folder


def project(folder, data):
    """A project whose trusted tables are the benchmark's."""
    sources = "".join(
        f"  {table}: {{type: file, url: '{data}/{table}.parquet', in_place: true}}\n" for table in TABLES
    )
    (folder / "trusted").mkdir(parents=True)
    (folder / "lagar.yaml").write_text(f"name: tpch\nlake: ./lake\nsources:\n{sources}")
    for table, (key, columns) in TABLES.items():
        typed = ",\n".join(f"    CAST({column} AS {kind}) AS {column}" for column, kind in columns.items())
        (folder / f"trusted/{table}.sql").write_text(
            f"-- {table.capitalize()} of TPC-H.\n/*---\nkey: [{', '.join(key)}]\nchecks:\n  - rows > 0\n---*/\n"
            f"SELECT\n{typed}\nFROM raw.{table}\nWHERE _newest\n"
        )


def queries(scale):
    """Name and text of each query. One constant depends on the scale."""
    for path in sorted((HERE / "queries").glob("q*.sql")):
        yield path.stem, path.read_text().replace("{fraction}", f"{Decimal('0.0001') / Decimal(str(scale)):f}")


# ---- the engines ----

class Lagar:
    """`lagar` in a project, within a memory limit."""

    def __init__(self, binary, folder, memory):
        self.binary, self.folder = binary, folder
        self.environment = {**os.environ, "LAGAR__LIMITS__MEMORY": str(memory)}

    def command(self, *arguments, sql=None):
        command = [self.binary, *arguments, "-q", "--project", str(self.folder)]
        done = subprocess.run(command, env=self.environment, input=sql, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"exit {done.returncode}: {(done.stderr or done.stdout).strip()}")

    def run(self):
        self.command("run")

    def answer(self, sql):
        """Columns and rows."""
        with tempfile.TemporaryDirectory() as out:
            path = Path(out) / "answer.parquet"
            self.command("sql", "-", "--format", "parquet", "-o", str(path), sql=sql)
            table = pyarrow.parquet.read_table(path)
        return table.column_names, [tuple(row.values()) for row in table.to_pylist()]


class DuckDB:
    """The same tables as views over the generated files."""

    def __init__(self, data):
        self.connection = duckdb.connect()
        self.connection.execute("CREATE SCHEMA trusted")
        for table in TABLES:
            self.connection.execute(
                f"CREATE VIEW trusted.{table} AS SELECT * FROM read_parquet('{data}/{table}.parquet')"
            )

    def answer(self, sql):
        result = self.connection.execute(sql)
        return [column[0] for column in result.description], result.fetchall()


def timed(work, *arguments):
    began = time.monotonic()
    result = work(*arguments)
    return result, time.monotonic() - began


# ---- whether answers are equal ----

def is_number(value):
    return isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)


def same(ours, theirs):
    if is_number(ours) and is_number(theirs):
        tolerance = Decimal(TOLERANCE) * max(abs(Decimal(ours)), abs(Decimal(theirs)))
        if isinstance(ours, Decimal) and isinstance(theirs, float):
            # The average of decimals: ours ends at a digit, theirs where a double does.
            tolerance = max(tolerance, Decimal(1).scaleb(ours.as_tuple().exponent))
        return abs(Decimal(ours) - Decimal(theirs)) <= tolerance
    return ours == theirs


def difference(ours, theirs):
    """The first thing in which two answers differ; None if they are equal."""
    (our_columns, our_rows), (their_columns, their_rows) = ours, theirs
    if our_columns != their_columns:
        return f"columns {our_columns} and {their_columns}"
    if len(our_rows) != len(their_rows):
        return f"{len(our_rows)} rows, and {len(their_rows)} in DuckDB"
    for number, (our_row, their_row) in enumerate(zip(our_rows, their_rows), 1):
        for column, our, their in zip(our_columns, our_row, their_row):
            if not same(our, their):
                return f"row {number}, {column}: {our!r}, and {their!r} in DuckDB"
    return None


def difference_from_known(name, answer):
    """As `difference`, from what the benchmark says about scale 1, to the digits that it says."""
    count, first = KNOWN_AT_1[name]
    columns, rows = answer
    if count is not None and len(rows) != count:
        return f"{len(rows)} rows, the benchmark has {count}"
    for column, known in first.items():
        ours = rows[0][columns.index(column)]
        if isinstance(known, str) and is_number(ours):
            equal = abs(Decimal(ours) - Decimal(known)) <= Decimal("0.01")
        else:
            equal = ours.strip() == known if isinstance(ours, str) else ours == known
        if not equal:
            return f"first row, {column}: {ours!r}, the benchmark has {known}"
    return None


# ---- all of it ----

def cases(options, data, folder):
    """One dict a query and memory."""
    project(folder, data)
    reference = DuckDB(data)
    full = Lagar(options.lagar, folder, options.memory)
    _, seconds = timed(full.run)
    print(f"8 tables made in {seconds:.1f} s", file=sys.stderr)
    for memory in (options.memory, options.memory // 4):
        lagar = Lagar(options.lagar, folder, memory)
        for name, sql in queries(options.scale):
            if options.only and name not in options.only:
                continue
            theirs, their_seconds = timed(reference.answer, sql)
            case = {"query": name, "memory": memory, "rows": len(theirs[1]), "duckdb_seconds": their_seconds}
            try:
                ours, case["lagar_seconds"] = timed(lagar.answer, sql)
                case["differs"] = difference(ours, theirs)
                if case["differs"] is None and options.scale == 1:
                    case["differs"] = difference_from_known(name, ours)
            except RuntimeError as error:
                case["differs"] = str(error)
            yield case


def line(case):
    ours, theirs = case.get("lagar_seconds"), case["duckdb_seconds"]
    seconds = f"{ours:8.2f} {theirs:8.2f} {ours / theirs:7.2f}" if ours else f"{'-':>8} {theirs:8.2f} {'-':>7}"
    equal = "equal" if case["differs"] is None else f"DIFFERS: {case['differs']}"
    return f"{case['query']:6} {case['memory'] >> 20:6} {case['rows']:7} {seconds}  {equal}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lagar", required=True, help="the binary")
    parser.add_argument("--scale", type=float, default=1, help="scale factor: 1 is about 1 GB of text")
    parser.add_argument("--memory", type=int, default=1 << 30, help="`limits.memory` in bytes; then a quarter of it")
    parser.add_argument("--data", type=Path, help="where the generated files are kept; default in the cache")
    parser.add_argument("--only", nargs="*", help="some queries: q01 q17")
    parser.add_argument("--json", action="store_true", help="one JSON object a case on stdout")
    options = parser.parse_args()
    options.lagar = str(Path(options.lagar).resolve())
    data = generated((options.data or CACHE / f"tpch-{options.scale:g}").resolve(), options.scale)
    failed = 0
    if not options.json:
        print(f"{'query':6} {'MiB':>6} {'rows':>7} {'lagar s':>8} {'duckdb s':>8} {'ratio':>7}")
    with tempfile.TemporaryDirectory(prefix="lagar-tpch-") as folder:
        for case in cases(options, data, Path(folder) / "project"):
            failed += case["differs"] is not None
            print(json.dumps(case) if options.json else line(case), flush=True)
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
