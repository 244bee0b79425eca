"""The other side of the ledger: puts rows into a database, and audits a lake without Lagar.

Reads one JSON request a line from stdin, answers with one JSON line each, until stdin ends.

{"insert": DATABASE, "from": N, "to": M}   adds the orders N..M to an SQLite file
{"audit": LAKE, "states": [K, ...],        what the lake holds; each K is a count of rows a source that
 "newest": BOOL}                           a release may show, and the newest versions if they are asked for

Row n of a source has an id, its n, an amount and a checksum over the three, all made from n alone. So whoever
finds a row knows whether it belongs there, and the count says which must be there. Of some sources some rows
are newer versions of older ones: they have an id that was there before.
"""

import csv
import functools
import glob
import hashlib
import json
import os
import sqlite3
import sys
import traceback

import deltalake
import duckdb

SOURCES = ["events", "readings", "orders"]
# In every third round, beginning with this one, the source changes no older row.
UNCHANGED = {"readings": 2, "orders": 1}
ROWS = 5  # of a source in a round


def origin(source, n):
    """The row with which the id of row `n` came."""
    round, place = divmod(n - 1, ROWS)
    if source in UNCHANGED and round > 0 and round % 3 != UNCHANGED[source] and place % 3 == 1:
        return round // 2 * ROWS + 1 + place // 2
    return n


@functools.lru_cache(maxsize=None)
def row(source, n):
    """(id, n, amount, checksum), as the test's generator makes it."""
    id, amount = f"{source}-{origin(source, n)}", n * 7919 % 1000
    checksum = 0xCBF29CE484222325
    for byte in f"{id}|{n}|{amount}".encode():
        checksum = (checksum ^ byte) * 0x100000001B3 % 2**64
    return id, n, amount, f"{checksum:016x}"


def wanted(table, count):
    """The rows of a table when its source has `count` rows: of each id the newest."""
    # Every fifth reading is left out by a check, and takes no other's place.
    keep = [n for n in range(1, count + 1) if table != "readings" or n % 5]
    return sorted({row(table, n)[0]: row(table, n) for n in keep}.values())


def insert(request):
    database = sqlite3.connect(request["insert"])
    database.execute(
        "CREATE TABLE IF NOT EXISTS orders (id TEXT NOT NULL, n INTEGER NOT NULL PRIMARY KEY, amount INTEGER NOT NULL, sum TEXT NOT NULL)"
    )
    rows = [row("orders", n) for n in range(request["from"], request["to"] + 1)]
    database.executemany("INSERT INTO orders VALUES (?, ?, ?, ?)", rows)
    database.commit()
    database.close()
    return {}


def records(folder, problems):
    """The numbered JSON records of a folder, which must have no gap."""
    names = sorted(name for name in os.listdir(folder) if name.endswith(".json")) if os.path.isdir(folder) else []
    found = []
    for number, name in enumerate(names, 1):
        if name != f"{number:020}.json":
            problems.append(f"{folder}: {name} is not record {number}")
        with open(os.path.join(folder, name)) as file:
            found.append(json.load(file))
    return found


def raw_rows(path, kind):
    if kind == "csv":
        with open(path, newline="") as file:
            return [of_text(r) for r in csv.DictReader(file) if not r["id"].startswith("broken")]
    if kind == "json":
        with open(path) as file:
            return [of_text(r) for r in json.load(file)]
    return duckdb.execute("SELECT id, n, amount, sum FROM read_parquet(?)", [path]).fetchall()


def of_text(r):
    return r["id"], int(r["n"]), int(r["amount"]), r["sum"]


def audit_raw(lake, source, most, problems):
    """Each row of the source once, none but the source's, and every byte as the manifests say."""
    folder = os.path.join(lake, "raw", source)
    loads = records(os.path.join(folder, "_loads"), problems)
    named, seen, rejected, newest = set(), [], 0, []
    for load in loads:
        rows = []
        for file in load["files"]:
            named.add(file["path"])
            path = os.path.join(folder, file["path"])
            if not os.path.isfile(path):
                problems.append(f"{path} is named and missing")
                continue
            with open(path, "rb") as opened:
                content = opened.read()
            if len(content) != file["bytes"] or hashlib.sha256(content).hexdigest() != file["sha256"]:
                problems.append(f"{path} is not what was written")
                continue
            kind = next(iter(file["format"]["kind"]), None) if isinstance(file["format"]["kind"], dict) else file["format"]["kind"]
            rows += raw_rows(path, kind)
        if len(rows) != load["rows"]:
            problems.append(f"load {load['number']} of {source} has {len(rows)} rows and says {load['rows']}")
        if load.get("quarantine"):
            path = os.path.join(folder, load["quarantine"])
            with open(path) as file:
                kept = sum(1 for _ in file)
            if kept != load["rejected"]:
                problems.append(f"{path} has {kept} rows, not {load['rejected']}")
        rejected += load["rejected"]
        newest = rows
        seen = rows if source == "readings" else seen + rows
    if source == "readings":
        seen = newest
    # What the source has is a prefix of 1, 2, 3, …: none missing, none twice, none foreign.
    if len(seen) > most or sorted(seen) != sorted(row(source, n) for n in range(1, len(seen) + 1)):
        problems.append(f"raw.{source} has {len(seen)} rows that are not the first ones: {sorted(seen)[:99]}")
    there = {os.path.relpath(path, folder) for path in glob.glob(f"{folder}/load_date=*/[!.]*")}
    # Files of one broken-off load share its id.
    orphans = {os.path.basename(path).rsplit("-", 1)[0] for path in there - named}
    return {"loads": len(loads), "rows": len(seen), "rejected": rejected, "orphans": len(orphans)}


def delta_table(lake, table, version):
    return deltalake.DeltaTable(os.path.join(lake, *table.split(".")), version=version)


def table_rows(lake, table, version, columns, problems):
    delta = delta_table(lake, table, version)
    files = delta.file_uris()
    files = [file.removeprefix("file://") for file in files]
    for file in files:
        if not os.path.isfile(file):
            problems.append(f"{file} is in version {version} of {table} and missing")
            return []
    if not files:
        return []
    names = ", ".join(columns)
    return sorted(duckdb.sql(f"SELECT {names} FROM read_parquet({files!r})").fetchall())


def state_of(lake, versions, states, problems):
    """Which of `states` these versions show together."""
    tables = {}
    for source in SOURCES:
        name = f"trusted.{source}"
        tables[source] = table_rows(lake, name, versions.get(name), ["id", "n", "amount", "sum"], problems)
    totals = table_rows(lake, "refined.totals", versions.get("refined.totals"), ["source", "rows", "amount"], problems)
    # It is not there before a run had a history.
    steps = []
    if "refined.steps" in versions:
        steps = table_rows(lake, "refined.steps", versions["refined.steps"], ["run_id", "name"], problems)
    if len(steps) != len(set(steps)):
        problems.append(f"a step of a run is in refined.steps twice: {steps}")
    for state in states:
        sums = sorted((s, len(wanted(s, state)), sum(r[2] for r in wanted(s, state))) for s in SOURCES)
        if all(tables[s] == wanted(s, state) for s in SOURCES) and [tuple(map(str, t)) for t in totals] == [
            tuple(map(str, t)) for t in sums
        ]:
            return state
    found = {source: [r[:2] for r in rows] for source, rows in tables.items()}
    problems.append(f"versions {versions} show none of the states {states}: {found}, totals {totals}")
    return None


def audit_guesses(lake, release, problems):
    """What was predicted is what the release's version of the predictor says, which learned from the release's rows."""
    number = release["predictors"].get("level")
    versions = release["tables"]
    if number is None:
        problems.append(f"release {release['number']} names no predictor")
        return
    record = records(os.path.join(lake, "refined/_predictors/level"), problems)[number - 1]["predictor"]
    events = table_rows(lake, "trusted.events", versions["trusted.events"], ["id", "n"], problems)
    if record["learned_from"]["rows"] != len(events):
        problems.append(f"version {number} of the predictor did not learn from the {len(events)} events of its release")
    (tree,) = record["fitted"]["trees"]["trees"]
    guesses = table_rows(lake, "refined.guesses", versions["refined.guesses"], ["id", "n", "guess"], problems)
    if guesses != [(id, n, guess(tree, n)) for id, n in events]:
        problems.append(f"guesses are not those of version {number} of the predictor: {guesses}")


def guess(tree, n):
    """Of a tree that asks nothing but n: from 0 on a split, below it a leaf."""
    at = 0 if tree["threshold"] else -1
    while at >= 0:
        at = tree["left" if n <= tree["threshold"][at] else "right"][at]
    return tree["values"][-1 - at]


def rewritten(lake, table):
    """How many versions of a table took files of the one before away."""
    entries = glob.glob(os.path.join(lake, *table.split("."), "_delta_log", "*.json"))
    return sum(removes(entry) for entry in entries)


def removes(entry):
    with open(entry) as file:
        return any("remove" in json.loads(line) for line in file)


def audit(request):
    lake, states, problems = request["audit"], request["states"], []
    raw = {source: audit_raw(lake, source, max(states), problems) for source in SOURCES}
    releases = records(os.path.join(lake, "releases"), problems)
    released = newest = None
    if releases:
        released = state_of(lake, releases[-1]["tables"], states, problems)
        audit_guesses(lake, releases[-1], problems)
    if releases and request["newest"]:
        # What a reader sees that knows nothing of releases.
        versions = {name: delta_table(lake, name, None).version() for name in releases[-1]["tables"]}
        same = versions == releases[-1]["tables"]
        newest = released if same else state_of(lake, versions, states, problems)
    merged = {source: rewritten(lake, f"trusted.{source}") for source in UNCHANGED}
    counts = {"releases": len(releases), "rewritten": merged}
    return {"problems": problems, "raw": raw, "state": released, "newest": newest, **counts}


for line in sys.stdin:
    request = json.loads(line)
    try:
        answer = insert(request) if "insert" in request else audit(request)
    except Exception:
        answer = {"problems": [traceback.format_exc()]}
    print(json.dumps(answer), flush=True)
