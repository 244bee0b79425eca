#!/usr/bin/env python3
"""The same job in Lagar, DuckDB and Polars, one after the other, and what it cost each of them.

    benches/compare/compare.py --rows 1000000 --rounds 5

The job: 311-like NDJSON, about 1.2 KB a row, read where it lies → every column typed and cleaned →
zstd Parquet → an aggregate over that, as Parquet too. With --dedupe only the newest row of each key is kept
before it is written; 4 % of the rows are later versions of an earlier one.

Each engine is a fresh process in every round, and each round begins with another engine, so that a
change of the machine's mood hits all. Time is wall time from start to end of the process; memory is
the peak resident set that the kernel counted for it. Before any number counts, the engines' results
are compared with each other: rows, sums, and every line of the aggregate.

Needs Python 3.9+ and, on the first call, PyPI: the engines live in a virtual environment of their own.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
VENV = CACHE / "lagar-bench-venv"
PACKAGES = ["duckdb", "polars"]

sys.path.insert(0, str(HERE))
from columns import ALL, aggregate_sql, cleaned_sql  # noqa: E402


# ---- what is needed ----

def python():
    """The interpreter that has the engines, installed when they are missing."""
    program = VENV / "bin" / "python"
    probe = [str(program), "-c", "import " + ", ".join(PACKAGES)]
    if not program.exists() or subprocess.run(probe, capture_output=True).returncode:
        say(f"installing {', '.join(PACKAGES)} into {VENV}")
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
        subprocess.run([str(program), "-m", "pip", "install", "-q", "--disable-pip-version-check", *PACKAGES], check=True)
    return str(program)


def target(name):
    """A release binary of this workspace, beside the one of `--lagar` or built now."""
    folder = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target") / "release"
    if not (folder / name).exists():
        say(f"building {name}")
        subprocess.run(["cargo", "build", "--release", "--workspace", "--bin", name], cwd=ROOT, check=True)
    return folder / name


def data(folder, rows, seed):
    """The input file, generated once a size and seed."""
    path = folder / f"311-{rows}-{seed}.ndjson"
    if not path.exists():
        say(f"generating {rows} rows")
        part = path.with_suffix(".part")
        command = [str(target("lagar-gen")), "311", "--rows", str(rows), "--seed", str(seed), "--out", str(part)]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        part.rename(path)
    return path


# ---- the engines: each returns the command, and where its results lie ----

class Engine:
    """How to run the job in one engine in an empty folder."""

    def __init__(self, name, version, prepare, requests, summary, env=None):
        self.name = name
        self.version = version
        self.prepare = prepare          # (input, folder) → command
        self.requests = requests        # glob inside the folder
        self.summary = summary
        self.env = env or {}
        self.seconds = []
        self.megabytes = []


def lagar_project(program, threads, memory, dedupe):
    def prepare(source, folder):
        for zone in ("trusted", "refined"):
            (folder / zone).mkdir()
        limits = f"{{threads: {threads}" + (f", memory: {memory}" if memory else "") + "}"
        columns = ", ".join(f"{name}: text" for name in ALL)
        (folder / "lagar.yaml").write_text(
            f"name: compare\nlake: ./lake\nlimits: {limits}\nsources:\n  requests:\n    type: file\n"
            f"    url: {json.dumps(str(source))}\n    format: ndjson\n    in_place: true\n    columns: {{{columns}}}\n"
        )
        (folder / "trusted" / "requests.sql").write_text("-- Typed and cleaned.\n" + cleaned_sql("raw.requests", dedupe) + "\n")
        (folder / "refined" / "summary.sql").write_text(
            "-- One row a borough and complaint.\n" + aggregate_sql("trusted.requests") + "\n"
        )
        return [str(program), "run", str(folder)]

    return prepare


def script(interpreter, name, *arguments):
    def prepare(source, folder):
        return [interpreter, str(HERE / name), str(source), str(folder), *arguments]

    return prepare


def engines(asked, interpreter):
    versions = subprocess.run(
        [interpreter, "-c", "import duckdb, polars; print(duckdb.__version__, polars.__version__)"],
        check=True, capture_output=True, text=True,
    ).stdout.split()
    threads, dedupe = str(asked.threads), str(asked.dedupe)
    made = {
        "duckdb": Engine("DuckDB", versions[0], script(interpreter, "duckdb_etl.py", dedupe, threads),
                         "requests.parquet", "summary.parquet"),
        "polars": Engine("Polars", versions[1], script(interpreter, "polars_etl.py", dedupe),
                         "requests.parquet", "summary.parquet", {"POLARS_MAX_THREADS": threads}),
    }
    if "lagar" in asked.engines:
        program = Path(asked.lagar).resolve() if asked.lagar else target("lagar")
        version = subprocess.run([str(program), "--version"], check=True, capture_output=True, text=True).stdout.split()
        made["lagar"] = Engine("Lagar", version[-1], lagar_project(program, threads, asked.memory, asked.dedupe),
                               "lake/trusted/requests/**/*.parquet", "lake/refined/summary/**/*.parquet")
    return [made[name] for name in asked.engines]


# ---- measuring ----

def measure(command, env, log):
    """Seconds and peak megabytes of one process."""
    with open(log, "wb") as output:
        began = time.perf_counter()
        child = subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, **env})
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - began
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        fail(f"{' '.join(command)} ended with {child.returncode}:\n{Path(log).read_text(errors='replace')[-4000:]}")
    # Linux counts in KiB, macOS in bytes.
    return seconds, usage.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def round_of(engine, source, folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    seconds, megabytes = measure(engine.prepare(source, folder), engine.env, folder.parent / f"{folder.name}.log")
    engine.seconds.append(seconds)
    engine.megabytes.append(megabytes)
    say(f"  {engine.name:<7} {seconds:7.2f} s {megabytes:8.0f} MiB")


CHECK = """
import json, sys, duckdb
requests, summary = sys.argv[1:]
db = duckdb.connect()
totals = db.execute(f'''
    SELECT count(*), sum(unique_key), count(closed_date), count(due_date), sum(x_coordinate_state_plane),
           round(sum(latitude), 3), count(facility_type), sum(length(resolution_description)), count(city),
           sum(epoch_ms(created_date))
    FROM read_parquet('{requests}')''').fetchone()
lines = db.execute(f'''
    SELECT borough, complaint_type, requests, closed, epoch_ms(first_created), epoch_ms(last_created), x_sum,
           round(latitude_mean, 9)
    FROM read_parquet('{summary}') ORDER BY ALL''').fetchall()
codec = db.execute(f"SELECT DISTINCT compression FROM parquet_metadata('{requests}')").fetchall()
print(json.dumps({'totals': [str(t) for t in totals], 'lines': [[str(v) for v in line] for line in lines],
                  'codec': sorted(c[0] for c in codec)}))
"""


def results(interpreter, engine, folder):
    command = [interpreter, "-c", CHECK, str(folder / engine.requests), str(folder / engine.summary)]
    found = subprocess.run(command, capture_output=True, text=True)
    if found.returncode:
        fail(f"the results of {engine.name} cannot be read:\n{found.stderr[-2000:]}")
    return json.loads(found.stdout)


def agree(found, rows):
    """Ends the program unless every engine wrote the same rows."""
    (first, expected), *others = found.items()
    if rows is not None and expected["totals"][0] != str(rows):
        fail(f"{first} wrote {expected['totals'][0]} rows of {rows}")
    for name, answer in others:
        for part in ("totals", "codec"):
            if answer[part] != expected[part]:
                fail(f"{part} differ: {first} {expected[part]}, {name} {answer[part]}")
        if answer["lines"] != expected["lines"]:
            both = zip(expected["lines"], answer["lines"])
            where = next(((a, b) for a, b in both if a != b), (len(expected["lines"]), len(answer["lines"])))
            fail(f"the aggregates differ: {first} {where[0]}, {name} {where[1]}")
    say(f"results agree: {expected['totals'][0]} rows, {len(expected['lines'])} lines of aggregate")


def table(made, size):
    """The medians as Markdown. Ratios are to the first engine asked for."""
    base = made[0]
    base_seconds, base_megabytes = statistics.median(base.seconds), statistics.median(base.megabytes)
    lines = [
        f"| engine | version | median s | min–max s | MB/s | peak MiB | time / {base.name} | memory / {base.name} |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for engine in made:
        seconds, megabytes = statistics.median(engine.seconds), statistics.median(engine.megabytes)
        lines.append(
            f"| {engine.name} | {engine.version} | {seconds:.2f} | {min(engine.seconds):.2f}–{max(engine.seconds):.2f} "
            f"| {size / 1e6 / seconds:.0f} | {megabytes:.0f} | {seconds / base_seconds:.2f} | {megabytes / base_megabytes:.2f} |"
        )
    return "\n".join(lines)


def say(text):
    print(text, file=sys.stderr, flush=True)


def fail(text):
    sys.exit(f"error: {text}")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--dedupe", action="store_true", help="keep only the newest row of each key")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--memory", help="memory limit of lagar, e.g. 512MiB; default its own")
    parser.add_argument("--engines", default="duckdb,polars,lagar", help="in this order; the first is the base of the ratios")
    parser.add_argument("--lagar", default=os.environ.get("LAGAR_BIN"), help="the binary; default target/release/lagar")
    parser.add_argument("--dir", type=Path, default=CACHE / "lagar-bench", help="for data and results")
    asked = parser.parse_args()
    asked.engines = asked.engines.split(",")
    unknown = set(asked.engines) - {"duckdb", "polars", "lagar"}
    if unknown or asked.rounds < 1 or asked.rows < 1:
        parser.error(f"no such engine: {', '.join(sorted(unknown))}" if unknown else "--rows and --rounds begin at 1")
    return asked


def main():
    asked = arguments()
    asked.dir.mkdir(parents=True, exist_ok=True)
    interpreter = python()
    source = data(asked.dir, asked.rows, asked.seed)
    size = source.stat().st_size
    made = engines(asked, interpreter)
    with open(source, "rb") as file:  # into the page cache: the disk is nobody's merit
        while file.read(1 << 24):
            pass
    say(f"{asked.rows} rows, {size / 1e6:.0f} MB, {asked.threads} threads, {asked.rounds} rounds")
    for number in range(asked.rounds):
        say(f"round {number + 1}")
        turn = number % len(made)
        for engine in made[turn:] + made[:turn]:
            round_of(engine, source, asked.dir / engine.name.lower())
        agree({e.name: results(interpreter, e, asked.dir / e.name.lower()) for e in made}, None if asked.dedupe else asked.rows)
    job = "the newest row of each key" if asked.dedupe else "every row"
    print(f"{asked.rows} rows, {job}, {size / 1e6:.0f} MB of NDJSON, {asked.threads} threads, median of {asked.rounds} rounds\n")
    print(table(made, size))


if __name__ == "__main__":
    main()
