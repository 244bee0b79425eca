# Answers {"setup": [statements], "queries": [...]} with one list: for each query its rows, or its error.
import datetime, decimal, json, sys
import duckdb


def cell(value):
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if isinstance(value, (datetime.datetime, datetime.date)):
        return value.isoformat()
    return value if isinstance(value, str) else repr(value)


def answer(connection, sql):
    try:
        return {"rows": [[cell(value) for value in row] for row in connection.execute(sql).fetchall()]}
    except Exception as error:
        return {"error": str(error)}


for line in sys.stdin:
    question = json.loads(line)
    connection = duckdb.connect()
    connection.execute("SET threads = 1")
    for statement in question["setup"]:
        connection.execute(statement)
    print(json.dumps([answer(connection, sql) for sql in question["queries"]]), flush=True)
    connection.close()
