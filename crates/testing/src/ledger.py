"""Says whether a lake holds exactly the rows that a ledger says, by delta-rs, DuckDB and pyarrow.

Reads one question a line from stdin, as JSON, and answers each with one line:
{"lake": FOLDER, "loads": {SOURCE: NUMBER}, "releases": NUMBER or null,
 "tables": {NAME: {"columns": [...], "rows": [[...], ...]}}}
The answer is the list of what is wrong; an empty one is a pass.
"""
import collections, hashlib, json, os, sys, traceback, urllib.parse

import deltalake, duckdb, pyarrow


def records(folder):
    names = sorted(n for n in os.listdir(folder) if n.endswith(".json")) if os.path.isdir(folder) else []
    found = [json.load(open(os.path.join(folder, name))) for name in names]
    assert [r["number"] for r in found] == list(range(1, len(found) + 1)), f"{folder}: numbers with a gap: {names}"
    return found


def check_loads(lake, source, wanted, wrong):
    folder = f"{lake}/raw/{source}"
    loads = records(f"{folder}/_loads")
    if len(loads) != wanted:
        wrong.append(f"raw.{source} has {len(loads)} loads, not {wanted}")
    for load in loads:
        for file in load["files"]:
            data = open(f"{folder}/{file['path']}", "rb").read()
            if len(data) != file["bytes"] or hashlib.sha256(data).hexdigest() != file["sha256"]:
                wrong.append(f"{folder}/{file['path']} is not what its manifest says")


def check_table(connection, lake, name, version, expected, wrong):
    folder = f"{lake}/{name.replace('.', '/')}"
    table = deltalake.DeltaTable(folder, version=version)
    actions = pyarrow.table(table.get_add_actions(flatten=True)).to_pylist()
    for action in actions:
        action["path"] = urllib.parse.unquote(action["path"])
        found = os.path.getsize(f"{folder}/{action['path']}")
        if found != action["size_bytes"]:
            wrong.append(f"{folder}/{action['path']} has {found} bytes, the log says {action['size_bytes']}")
    columns = expected["columns"]
    files = [f"{folder}/{action['path']}" for action in actions]
    quoted = ", ".join('"' + column + '"' for column in columns)
    got = connection.execute(f"SELECT {quoted} FROM read_parquet(?, union_by_name=true)", [files]).fetchall() if files else []
    if sum(a["num_records"] for a in actions) != len(got):
        wrong.append(f"{name}: the log counts other rows than are there")
    have = collections.Counter(tuple(row) for row in got)
    want = collections.Counter(tuple(row) for row in expected["rows"])
    for word, rows in (("lost", want - have), ("too many", have - want)):
        if rows:
            some = sorted(rows.elements(), key=str)
            wrong.append(f"{name}, version {version}: {len(some)} rows {word}, as {some[:5]}")


def check(connection, question):
    wrong, lake = [], question["lake"]
    for source, wanted in question.get("loads", {}).items():
        check_loads(lake, source, wanted, wrong)
    releases = records(f"{lake}/releases")
    if question.get("releases") is not None and len(releases) != question["releases"]:
        wrong.append(f"there are {len(releases)} releases, not {question['releases']}")
    current = releases[-1]["tables"] if releases else {}
    for name, expected in question["tables"].items():
        if name not in current:
            wrong.append(f"{name} is not released")
        else:
            check_table(connection, lake, name, current[name], expected, wrong)
    return wrong


def main():
    connection = duckdb.connect()
    for line in sys.stdin:
        try:
            wrong = check(connection, json.loads(line))
        except Exception:
            wrong = [traceback.format_exc()]
        print(json.dumps(wrong), flush=True)


main()
