#!/usr/bin/env python3
"""Every algorithm beside its peer: the same rows, the same split, the same measure.

    python3 benches/compare/predictors.py [--binary target/release/lagar] [--rows 1000000]

The peers are scikit-learn, statsmodels, statsforecast and, of three, a line of numpy. The data are those that come with
them, and some made from a seed. Rows are put in an order by chance, which stands in a column `t`: Lagar splits by it, and
the peer gets the same first and last rows; forecasts are judged by the last values of each series. What is compared, and
how much worse ours may be, stands in peers.py. An algorithm that is missing there or is worse than it may be is an error.

Then some are trained and asked on more, made-up rows, and both are timed, each with the machine's processors. Lagar's times
are those of `lagar run` and `lagar sql`: they read the table, and training judges, too.
Makes a virtual environment for the peers where it runs if they are not there.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ["scikit-learn", "pandas", "pyarrow", "statsmodels", "statsforecast"]


def inside_environment():
    try:
        import pyarrow, sklearn, statsforecast, statsmodels  # noqa: F401
        return
    except ImportError:
        pass
    folder = Path(os.environ.get("LAGAR_BENCH_CACHE", Path.home() / ".cache/lagar-bench")) / "predictors"
    python = folder / "bin/python"
    there = python.exists()
    if not there:
        venv.create(folder, with_pip=True)
    # Inside of it something is missing: it was made for an older list.
    if not there or Path(sys.executable) == python:
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    os.execv(python, [str(python), *sys.argv])


class Lagar:
    def __init__(self, binary, folder):
        self.binary, self.folder = Path(binary).resolve(), Path(folder)
        (self.folder / "trusted").mkdir(parents=True)
        self.yaml = {"sources": [], "predictors": []}

    def table(self, name, frame):
        frame.to_parquet(self.folder / f"{name}.parquet")
        self.yaml["sources"].append(f"  {name}: {{type: file, url: {name}.parquet, in_place: true}}")
        (self.folder / f"trusted/{name}.sql").write_text(f"SELECT * EXCLUDE (_source_file, _load, _loaded_at, _row, _newest) FROM raw.{name} WHERE _newest\n")

    def predictor(self, name, text):
        self.yaml["predictors"].append(f"  {name}: {{{text}}}")

    def __call__(self, *args):
        began = time.monotonic()
        done = subprocess.run([self.binary, *args], cwd=self.folder, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"lagar {' '.join(args)}: {done.stderr}")
        return done.stdout, time.monotonic() - began

    def run(self):
        text = "name: bench\nsources:\n" + "\n".join(self.yaml["sources"])
        text += "\npredictors:\n" + "\n".join(self.yaml["predictors"]) + "\n"
        (self.folder / "lagar.yaml").write_text(text)
        out, _ = self("run", "--json", "-q")
        return {step["name"]: step for step in json.loads(out.splitlines()[-1])["steps"]}

    def algorithms(self):
        return [entry["name"] for entry in json.loads(self("predictors", "algorithms", "--json")[0])]

    def shown(self, name):
        """What was learned. From its record: a process for each would take as long as the training of all."""
        record = next((self.folder / "lake/refined/_predictors" / name).glob("*.json"))
        return json.loads(record.read_text())["predictor"]

    def answers(self, name, question="predict"):
        """For each row of the table that it learned from, in the order of `t`."""
        table = self.shown(name)["learned_from"]["table"]
        out, _ = self("sql", f"SELECT {question}('{name}') AS answer FROM {table} ORDER BY t", "--format", "csv")
        return [json.loads(line) if line != '""' else None for line in out.splitlines()[1:]]


def speed(binary, rows):
    """Of the algorithms that are used on many rows; and of two that compare rows with each other, on fewer."""
    import numpy as np
    import pandas
    from sklearn import cluster, decomposition, ensemble, linear_model, naive_bayes, neighbors

    random = np.random.RandomState(3)

    def made(n, columns):
        x = random.normal(size=(n, columns))
        frame = pandas.DataFrame({f"f{i}": x[:, i] for i in range(columns)})
        return frame.assign(target=x[:, :5].sum(axis=1) + random.normal(size=n) > 0, t=np.arange(n, dtype="int64"))

    many, few = (made(100_000, 20), made(rows, 20)), (made(20_000, 3), made(rows // 100, 3))
    supervised = "target: target, time: t, features: {except: [t]}"
    alone = "features: {except: [t, target]}, split: {validate: 0, test: 0}"
    timed = [
        ("random_forest", supervised, "trees: 100, max_depth: 12", many, ensemble.RandomForestClassifier(n_estimators=100, max_depth=12, random_state=1, n_jobs=-1)),
        ("gradient_boosting_classifier", supervised, "", many, ensemble.HistGradientBoostingClassifier(random_state=1, early_stopping=False)),
        ("logistic", supervised, "", many, linear_model.LogisticRegression()),
        ("gaussian_naive_bayes", supervised, "", many, naive_bayes.GaussianNB()),
        ("k_means", alone, "clusters: 8, runs: 3", many, cluster.KMeans(8, n_init=3, random_state=1)),
        ("pca", alone, "components: 5", many, decomposition.PCA(5)),
        ("isolation_forest", alone, "", many, ensemble.IsolationForest(random_state=1, n_jobs=-1)),
        ("dbscan", alone, "eps: 0.2", few, cluster.DBSCAN(eps=0.2, n_jobs=-1)),
        ("local_outlier_factor", alone, "", few, neighbors.LocalOutlierFactor(novelty=True, n_jobs=-1)),
    ]
    columns = "| trained on | Lagar | peer | ratio | asked for | Lagar | peer | ratio | of it, for one row | ratio of the rest |"
    print(f"\n| {columns}\n{'|---' * 11}|")
    with tempfile.TemporaryDirectory() as folder:
        lagar = Lagar(binary, folder)
        for name, (train, asked) in (("many", many), ("few", few)):
            lagar.table(name, train)
            lagar.table(f"{name}_asked", asked)
            lagar.table(f"{name}_one", asked.head(1))
        for name, asks, params, data, model in timed:
            table = "many" if data is many else "few"
            # One after the other: in one run they share the processors.
            lagar.predictor(name, f"algorithm: {name}, from: trusted.{table}, params: {{{params}}}, {asks}, seed: 1")
            trained = lagar.run()[f"predictors.{name}"]["seconds"]
            train, asked = data
            x, new = (frame.filter(regex=r"^f\d+$").to_numpy() for frame in data)
            began = time.monotonic()
            model.fit(x, train.target.to_numpy() if asks is supervised else None)
            cells = [f"{len(train):,}", *ratio(trained, time.monotonic() - began)]
            # scikit-learn's places no new rows.
            if name != "dbscan":
                # That a process starts, and reads the predictor, is no matter of rows.
                started, answered = (
                    fastest(lambda: lagar("sql", f"SELECT count(predict('{name}')) FROM trusted.{table}_{rows}", "--format", "csv"))
                    for rows in ("one", "asked")
                )
                theirs = fastest(lambda: getattr(model, "transform" if name == "pca" else "predict")(new))
                rest = f"{theirs / (answered - started):.1f}" if answered > started else ""
                cells += [f"{len(asked):,}", *ratio(answered, theirs), f"{started:.2f} s", rest]
            print(f"| {name} | {' | '.join(cells + [''] * (10 - len(cells)))} |", flush=True)


def fastest(work):
    """The seconds of the fastest of three times."""
    seconds = []
    for _ in range(3):
        began = time.monotonic()
        work()
        seconds.append(time.monotonic() - began)
    return min(seconds)


def ratio(ours, theirs):
    return f"{ours:.2f} s", f"{theirs:.2f} s", f"{theirs / ours:.1f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=str(ROOT / "target/release/lagar"))
    parser.add_argument("--rows", type=int, default=1_000_000, help="how many the timed ones are asked for; 0: nothing is timed")
    options = parser.parse_args()
    inside_environment()
    import peers
    from threadpoolctl import threadpool_limits

    print("beside", ", ".join(f"{package} {version(package)}" for package in PACKAGES if package not in ("pandas", "pyarrow")))
    # Of so few rows threads mostly wait for each other, ten times as long beside another program.
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1):
        lagar = Lagar(options.binary, folder)
        results = list(peers.compared(lagar))
        uncovered = peers.uncovered(lagar)
    peers.show(results)
    if options.rows:
        speed(options.binary, options.rows)
    too_bad = [f"{r.comparison.algorithm} of {r.column}: {r.measure} {r.ours:.6g}, peer {r.theirs:.6g}" for r in results if r.too_bad]
    too_bad += [f"{name} is compared with nothing" for name in uncovered]
    sys.exit("\n".join(["worse than it may be:", *too_bad]) if too_bad else 0)


if __name__ == "__main__":
    main()
