#!/usr/bin/env python3
"""Predictors beside scikit-learn: the same rows, the same split, the same measure.

    python3 benches/compare/predictors.py [--binary target/release/lagar] [--rows 1000000]

The data sets are those that come with scikit-learn (iris, breast cancer, wine, digits, diabetes). Rows are put in an
order by chance, which stands in a column `t`: Lagar splits by it, and scikit-learn gets the same first and last rows.
Then a forest is trained and asked on made-up rows, and both are timed, each with the machine's processors. Lagar's
times are those of `lagar run` and `lagar sql`: they read the table, and training judges, too.
Needs scikit-learn, pandas and pyarrow; makes a virtual environment for them where it runs if they are not there.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ["scikit-learn", "pandas", "pyarrow"]
# The name here, the name there, and how far below the other a measure may be (accuracy, R²), seeds being seeds.
CLASSIFIERS = {
    "logistic": ("LogisticRegression", {"max_iter": 5000}, 0.02),
    "gaussian_naive_bayes": ("GaussianNB", {}, 0.01),
    "nearest_neighbours": ("KNeighborsClassifier", {}, 0.01),
    "svm": ("SVC", {}, 0.02),
    "decision_tree": ("DecisionTreeClassifier", {"random_state": 1}, 0.06),
    "random_forest": ("RandomForestClassifier", {"random_state": 1, "n_jobs": -1}, 0.04),
    "gradient_boosting_classifier": ("HistGradientBoostingClassifier", {"random_state": 1}, 0.04),
}
REGRESSIONS = {
    "linear": ("LinearRegression", {}, 0.001),
    "ridge": ("Ridge", {}, 0.01),
    "svr": ("SVR", {}, 0.03),
    "regression_forest": ("RandomForestRegressor", {"random_state": 1, "n_jobs": -1, "max_features": 1 / 3}, 0.05),
    "gradient_boosting_regressor": ("HistGradientBoostingRegressor", {"random_state": 1}, 0.08),
}


def inside_environment():
    try:
        import pandas, pyarrow, sklearn  # noqa: F401
        return
    except ImportError:
        pass
    folder = Path(os.environ.get("LAGAR_BENCH_CACHE", Path.home() / ".cache/lagar-bench")) / "predictors"
    python = folder / "bin/python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    os.execv(python, [str(python), *sys.argv])


class Lagar:
    def __init__(self, binary, folder):
        self.binary, self.folder = binary, Path(folder)
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

    def shown(self, name):
        return json.loads(self("predictors", "show", name, "--json")[0])["predictor"]


def measures(binary):
    import numpy as np
    import sklearn
    from sklearn import datasets, ensemble, linear_model, metrics, naive_bayes, neighbors, pipeline, preprocessing, svm, tree

    homes = [ensemble, linear_model, naive_bayes, neighbors, svm, tree]
    sets = {name: getattr(datasets, f"load_{name}")() for name in ("iris", "breast_cancer", "wine", "digits", "diabetes")}
    with tempfile.TemporaryDirectory() as folder:
        lagar = Lagar(binary, folder)
        frames = {}
        for name, data in sets.items():
            import pandas
            order = np.random.RandomState(7).permutation(len(data.target))
            frame = pandas.DataFrame({f"f{i}": data.data[order, i] for i in range(data.data.shape[1])})
            frame["target"] = data.target[order].astype("float64" if name == "diabetes" else "int64")
            frame["t"] = np.arange(len(order), dtype="int64")
            frames[name] = frame
            lagar.table(name, frame)
            for algorithm in REGRESSIONS if name == "diabetes" else CLASSIFIERS:
                lagar.predictor(f"{name}_{algorithm}", f"algorithm: {algorithm}, from: trusted.{name}, target: target, time: t, scale: standard, seed: 1")
        lagar.run()
        print(f"{'data':14} {'algorithm':30} {'measure':9} {'lagar':>8} {'sklearn':>8}   (scikit-learn {sklearn.__version__})")
        worse = 0
        for name, frame in frames.items():
            for algorithm, (peer, params, tolerance) in (REGRESSIONS if name == "diabetes" else CLASSIFIERS).items():
                shown = lagar.shown(f"{name}_{algorithm}")
                rows = shown["learned_from"]["rows"]
                columns = [c for c in frame.columns if c.startswith("f")]
                x, y = frame[columns].to_numpy(), frame["target"].to_numpy()
                model = pipeline.make_pipeline(preprocessing.StandardScaler(), next(getattr(h, peer) for h in homes if hasattr(h, peer))(**params))
                model.fit(x[:rows], y[:rows])
                answers = model.predict(x[rows:])
                if name == "diabetes":
                    ours, theirs, measure = shown["judged"]["measures"]["r2"], metrics.r2_score(y[rows:], answers), "r2"
                else:
                    ours, theirs, measure = shown["judged"]["measures"]["accuracy"], metrics.accuracy_score(y[rows:], answers), "accuracy"
                bad = ours < theirs - tolerance
                worse += bad
                print(f"{name:14} {algorithm:30} {measure:9} {ours:8.4f} {theirs:8.4f}{'   WORSE' if bad else ''}")
    return worse


def speed(binary, rows):
    import numpy as np
    import pandas
    from sklearn.ensemble import RandomForestClassifier

    random = np.random.RandomState(3)
    def made(n):
        x = random.normal(size=(n, 20))
        y = (x[:, :5].sum(axis=1) + random.normal(size=n) > 0)
        frame = pandas.DataFrame({f"f{i}": x[:, i] for i in range(20)})
        frame["target"] = y
        frame["t"] = np.arange(n, dtype="int64")
        return frame
    with tempfile.TemporaryDirectory() as folder:
        lagar = Lagar(binary, folder)
        train, asked = made(100_000), made(rows)
        lagar.table("train", train)
        lagar.table("asked", asked)
        lagar.predictor("forest", "algorithm: random_forest, from: trusted.train, target: target, time: t, features: {except: [t]}, params: {trees: 100, max_depth: 12}, seed: 1")
        steps = lagar.run()
        ours = steps["predictors.forest"]["seconds"]
        _, answered = lagar("sql", "SELECT count(*) FROM (SELECT predict('forest') AS p FROM trusted.asked) WHERE p", "--format", "csv")
        columns = [f"f{i}" for i in range(20)]
        model = RandomForestClassifier(n_estimators=100, max_depth=12, random_state=1, n_jobs=-1)
        began = time.monotonic()
        model.fit(train[columns].to_numpy(), train["target"].to_numpy())
        theirs = time.monotonic() - began
        x = asked[columns].to_numpy()
        began = time.monotonic()
        model.predict(x)
        theirs_answered = time.monotonic() - began
    print(f"\n{'forest of 100 trees, depth 12, 20 features':48} {'lagar':>9} {'sklearn':>9} {'ratio':>7}")
    print(f"{'trained on 100,000 rows (ours: and judged, twice)':48} {ours:8.2f}s {theirs:8.2f}s {theirs / ours:6.1f}x")
    print(f"{f'asked for {rows:,} rows (ours: and read)':48} {answered:8.2f}s {theirs_answered:8.2f}s {theirs_answered / answered:6.1f}x")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=str(ROOT / "target/release/lagar"))
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    inside_environment()
    worse = measures(options.binary)
    if options.rows:
        speed(options.binary, options.rows)
    sys.exit(f"{worse} measures are worse than they may be" if worse else 0)


if __name__ == "__main__":
    main()
