"""What each algorithm of Lagar is compared with, on which data, and how much worse it may be. See predictors.py."""

import warnings
from functools import cache
from typing import Any, Callable, NamedTuple

import numpy as np
import pandas
from scipy.stats import spearmanr
from sklearn import cluster, datasets, decomposition, ensemble, linear_model, metrics, mixture, naive_bayes, neighbors, svm, tree
from sklearn.compose import TransformedTargetRegressor
from sklearn.cross_decomposition import PLSRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from statsforecast import models
from statsmodels import datasets as series_sets
from statsmodels.regression.linear_model import OLS
from statsmodels.tsa.api import ExponentialSmoothing, Holt, SimpleExpSmoothing

# Of searches that are not done, and of where they begin.
warnings.filterwarnings("ignore", module="statsmodels")

# ---- the data ----


def of_rows(x, target):
    frame = pandas.DataFrame({f"f{i}": np.asarray(x)[:, i] for i in range(np.shape(x)[1])})
    return frame.assign(target=target, t=np.arange(len(frame), dtype="int64"))


def of_series(**series):
    frames = [pandas.DataFrame({"series": name, "t": np.arange(len(y)), "target": np.asarray(y, "float64")}) for name, y in series.items()]
    return pandas.concat(frames, ignore_index=True)


def by_the_others(frame, column):
    others = frame.filter(regex=r"^f\d+$").drop(columns=column)
    return of_rows(others.to_numpy(), frame[column].to_numpy())


def with_few(frame, usual, rare, rows):
    few = pandas.concat([frame[frame.target == usual], frame[frame.target == rare][:rows]]).sort_values("t")
    return few.assign(target=(few.target == rare).astype("int64")).reset_index(drop=True)


@cache
def tables():
    """The last three are made from a seed, the others come with scikit-learn and statsmodels."""
    tables = {}
    for name in ("iris", "breast_cancer", "wine", "digits", "diabetes"):
        data = getattr(datasets, f"load_{name}")()
        order = np.random.RandomState(7).permutation(len(data.target))
        tables[name] = of_rows(data.data[order], data.target[order].astype("float64" if name == "diabetes" else "int64"))
    longley = series_sets.longley.load_pandas()
    tables["longley"] = of_rows(longley.exog, longley.endog)
    # A number of each flower and wine by the others.
    tables["sepals"], tables["proline"] = by_the_others(tables["iris"], "f1"), by_the_others(tables["wine"], "f12")
    # The benign tumours with a few malignant ones among them, and the like.
    tables["few_malignant"] = with_few(tables["breast_cancer"], 1, 0, 20)
    tables["few_virginica"] = with_few(tables["iris"], 0, 2, 5)
    tables["few_barolo"] = with_few(tables["wine"], 1, 0, 7)
    macro, co2 = series_sets.macrodata.load_pandas().data, series_sets.co2.load_pandas().data.co2
    tables["yearly"] = of_series(sunspots=series_sets.sunspots.load_pandas().data.SUNACTIVITY, nile=series_sets.nile.load_pandas().data.volume)
    tables["quarterly"] = of_series(gdp=macro.realgdp, prices=macro.cpi, unemployment=macro.unemp)
    tables["monthly"] = of_series(co2=co2.resample("MS").mean().interpolate(), el_nino=series_sets.elnino.load_pandas().data.set_index("YEAR").to_numpy().ravel())
    tables["friedman"] = of_rows(*datasets.make_friedman1(1000, noise=1.0, random_state=7))
    tables["moons"] = of_rows(*datasets.make_moons(600, noise=0.07, random_state=7))
    tables["blobs"] = of_rows(*datasets.make_blobs([150, 250, 400], 2, cluster_std=[0.3, 0.7, 1.3], random_state=11))
    return tables


# How many steps ahead, and after how many things repeat. It is forecast from four times, the last values of each series.
AHEAD = {"yearly": (10, 1), "quarterly": (8, 4), "monthly": (24, 12)}
TIMES = 4

# ---- the comparisons ----


class Comparison(NamedTuple):
    algorithm: str
    data: str
    # Makes the peer; of forecasts, what is given the known values, the steps and the season.
    peer: Callable[..., Any]
    # Of each measure, how much worse ours may be: a share of the peer's if it is in RELATIVE.
    tolerance: dict[str, float]
    # Lagar's parameters, where they are not the default.
    params: str = ""


# Of these more is better, of all others less.
HIGHER = ("accuracy", "r2", "silhouette", "log likelihood", "same groups", "true groups", "roc auc", "rank correlation")
RELATIVE = ("rmse", "inertia", "true groups", "mae", "mase")
# How far it is from the peer, which by this has 0, or of the last two 1.
ALONE = ("coefficients", "standard errors", "explained ratios", "other flags", "scores", "same groups", "rank correlation")

SAME = 1e-9

# Where ours is worse: how much more of a RELATIVE measure it may be, and why.
CORNER = "ours begins in a corner, whatever the order of the rows, and groups follow from where it begins"
BETTER_FIT = "ours finds a kind that is likelier (see aicc), which forecasts worse here"
LOSSES = {
    ("optics", "moons"): (0.4, CORNER),
    ("optics", "blobs"): (0.9, CORNER),
    ("auto_ets", "sunspots"): (2.5, BETTER_FIT),
    ("auto_ets", "prices"): (0.7, BETTER_FIT),
    ("auto_ets", "gdp"): (0.3, BETTER_FIT),
    ("mstl", "prices"): (0.7, BETTER_FIT),
    ("mstl", "gdp"): (0.1, BETTER_FIT),
}


def exactly(*names):
    return dict.fromkeys(names, SAME)


def scaled_target(model):
    """Of a target brought to a deviation of 1, as ours is."""
    return lambda: TransformedTargetRegressor(model(), transformer=StandardScaler())


class SortedOptics(cluster.OPTICS):
    """Its groups follow from which row it begins with, the first. Ours begins with the one of the smallest coordinates."""

    def fit_predict(self, x):
        order = np.lexsort(x.T[::-1])
        return super().fit_predict(x[order])[np.argsort(order)]


def up_to(share):
    return {"r2": share, "rmse": share}


CLASSES = "iris breast_cancer wine digits"
NUMBERS = "diabetes proline sepals friedman"

CLASSIFICATION = [
    Comparison("logistic", CLASSES, lambda: linear_model.LogisticRegression(max_iter=5000), {"accuracy": 0.02}),
    Comparison("gaussian_naive_bayes", CLASSES, naive_bayes.GaussianNB, {"accuracy": 0.01}),
    Comparison("nearest_neighbours", CLASSES, neighbors.KNeighborsClassifier, {"accuracy": 0.01}),
    Comparison("svm", CLASSES, svm.SVC, {"accuracy": 0.02}),
    Comparison("decision_tree", CLASSES, lambda: tree.DecisionTreeClassifier(random_state=1), {"accuracy": 0.06}),
    Comparison("random_forest", CLASSES, lambda: ensemble.RandomForestClassifier(random_state=1), {"accuracy": 0.04}),
    Comparison("gradient_boosting_classifier", CLASSES, lambda: ensemble.HistGradientBoostingClassifier(random_state=1), {"accuracy": 0.04}),
]
# Counts are not scaled.
COUNTS = [Comparison("multinomial_naive_bayes", "digits wine iris", naive_bayes.MultinomialNB, exactly("accuracy"))]

REGRESSION = [
    Comparison("linear", NUMBERS, linear_model.LinearRegression, exactly("r2", "rmse")),
    Comparison("ridge", NUMBERS, linear_model.Ridge, exactly("r2", "rmse")),
    Comparison("lasso", NUMBERS, scaled_target(lambda: linear_model.Lasso(0.01)), up_to(1e-4)),
    Comparison("elastic_net", NUMBERS, scaled_target(lambda: linear_model.ElasticNet(0.01)), up_to(1e-4)),
    Comparison("pls", NUMBERS, lambda: PLSRegression(2), exactly("r2", "rmse")),
    Comparison("svr", NUMBERS, scaled_target(svm.SVR), up_to(0.005)),
    # Ours cuts columns of more than 256 different values into as many bins; of fewer both are the same.
    Comparison("regression_tree", NUMBERS, lambda: tree.DecisionTreeRegressor(max_depth=4, random_state=1), up_to(0.02), "max_depth: 4"),
    Comparison("regression_forest", NUMBERS, lambda: ensemble.RandomForestRegressor(random_state=1, max_features=1 / 3), up_to(0.05)),
    Comparison("gradient_boosting_regressor", NUMBERS, lambda: ensemble.HistGradientBoostingRegressor(random_state=1), up_to(0.05)),
]
LEAST_SQUARES = [Comparison("linear", "diabetes longley", OLS, {"coefficients": 1e-8, "standard errors": 1e-8})]

CLUSTERING = [
    Comparison("k_means", "iris wine", lambda: cluster.KMeans(3, n_init=10, random_state=1), {"inertia": 0.01, "silhouette": 0.02}, "clusters: 3"),
    Comparison("k_means", "digits", lambda: cluster.KMeans(10, n_init=10, random_state=1), {"inertia": 0.01, "silhouette": 0.02}, "clusters: 10"),
    Comparison("gaussian_mixture", "iris wine blobs", lambda: mixture.GaussianMixture(3, n_init=5, tol=1e-4, max_iter=200, random_state=1), {"log likelihood": 0.02, "silhouette": 0.05}),
    Comparison("dbscan", "iris", cluster.DBSCAN, exactly("same groups")),
    Comparison("dbscan", "wine", lambda: cluster.DBSCAN(eps=2.2), exactly("same groups"), "eps: 2.2"),
    Comparison("dbscan", "moons", lambda: cluster.DBSCAN(eps=0.2), exactly("same groups"), "eps: 0.2"),
    Comparison("optics", "iris moons blobs", lambda: cluster.OPTICS(min_samples=20), {"true groups": 0.1}, "min_points: 20"),
    Comparison("optics from the same row", "iris wine moons blobs", lambda: SortedOptics(min_samples=20), exactly("same groups"), "min_points: 20"),
]

REDUCTION = [Comparison("pca", "iris breast_cancer wine digits", lambda: decomposition.PCA(4), {"explained ratios": 1e-8}, "components: 4")]


def fences(x):
    low, high = np.quantile(x, [0.25, 0.75], axis=0)
    return np.maximum(low - x, x - high), high - low, 1.5


def deviations(x):
    return np.abs(x - x.mean(axis=0)), x.std(axis=0, ddof=1), 3.0


def median_deviations(x):
    apart = np.abs(x - np.median(x, axis=0))
    return apart, 1.4826 * np.median(apart, axis=0), 3.5


FORMULAS = [
    Comparison("iqr", "iris breast_cancer wine", fences, exactly("scores", "other flags")),
    Comparison("z_score", "iris breast_cancer wine", deviations, exactly("scores", "other flags")),
    Comparison("mad", "iris breast_cancer wine", median_deviations, exactly("scores", "other flags")),
]
OUTLIERS = [
    Comparison("isolation_forest", "few_malignant few_virginica few_barolo", lambda: ensemble.IsolationForest(random_state=1), {"roc auc": 0.02, "rank correlation": 0.05}),
    Comparison("local_outlier_factor", "few_malignant few_virginica few_barolo", neighbors.LocalOutlierFactor, exactly("roc auc", "rank correlation")),
]


def of_model(model):
    return lambda known, steps, season: model(season).forecast(y=known, h=steps)["mean"]


def of_statsmodels(model, **how):
    return lambda known, steps, season: model(known, initialization_method="estimated", **how).fit().forecast(steps)


def on_lags(known, steps, season):
    """What is not known yet is what was forecast."""
    lags = [*range(1, 8), *([season] if season > 7 else [])]
    rows = np.arange(max(lags), len(known))
    model = linear_model.LinearRegression().fit(np.stack([known[rows - lag] for lag in lags], axis=1), known[rows])
    ahead = list(known)
    for _ in range(steps):
        ahead.append(model.predict([[ahead[-lag] for lag in lags]])[0])
    return np.array(ahead[-steps:])


def best_aicc(y, season):
    """The constant that it leaves out is added."""
    return models.AutoETS(season).fit(y).model_["aicc"] + len(y) * (1 + np.log(2 * np.pi / len(y)))


def errors(share):
    return {"mae": share, "mase": share}


ALL_SERIES = "yearly quarterly monthly"
FORECASTS = [
    Comparison("last_value", ALL_SERIES, of_model(lambda _: models.Naive()), errors(SAME)),
    Comparison("seasonal_last_value", "quarterly monthly", of_model(models.SeasonalNaive), errors(SAME)),
    Comparison("drift", ALL_SERIES, of_model(lambda _: models.RandomWalkWithDrift()), errors(SAME)),
    Comparison("moving_mean", ALL_SERIES, of_model(lambda _: models.WindowAverage(7)), errors(SAME)),
    Comparison("lag_regression", ALL_SERIES, on_lags, errors(1e-6)),
    Comparison("auto_ets", ALL_SERIES, of_model(models.AutoETS), {"aicc": 0.5, **errors(0.1)}),
    Comparison("auto_ets ANN", "yearly", of_statsmodels(SimpleExpSmoothing), errors(0.01), "spec: ANN"),
    Comparison("auto_ets AAN", "yearly", of_statsmodels(Holt), errors(0.05), "spec: AAN, damped: false"),
    Comparison("auto_ets AAA", "monthly", of_statsmodels(ExponentialSmoothing, trend="add", seasonal="add", seasonal_periods=12), errors(0.05), "spec: AAA, damped: false"),
    Comparison("mstl", "quarterly monthly", of_model(models.MSTL), errors(0.1)),
]

# ---- what is asked of Lagar, and how it is compared: one function for each kind ----


def features(frame):
    return frame.filter(regex=r"^f\d+$").to_numpy()


def scaled(frame):
    return StandardScaler().fit_transform(features(frame))


def answers_of_both(comparison, frame, rows, scale=True):
    """What the peer answers for the rows that judge, and what is right."""
    model = make_pipeline(StandardScaler(), comparison.peer()) if scale else comparison.peer()
    x, y = features(frame), frame.target.to_numpy()
    return model.fit(x[:rows], y[:rows]).predict(x[rows:]).ravel(), y[rows:]


def classification(comparison, frame, lagar, name, scale=True):
    shown = lagar.shown(name)
    theirs, truth = answers_of_both(comparison, frame, shown["learned_from"]["rows"], scale)
    yield "accuracy", shown["judged"]["measures"]["accuracy"], metrics.accuracy_score(truth, theirs)


def counts(comparison, frame, lagar, name):
    return classification(comparison, frame, lagar, name, scale=False)


def regression(comparison, frame, lagar, name):
    shown = lagar.shown(name)
    theirs, truth = answers_of_both(comparison, frame, shown["learned_from"]["rows"])
    ours = shown["judged"]["measures"]
    yield "r2", ours["r2"], metrics.r2_score(truth, theirs)
    yield "rmse", ours["rmse"], metrics.root_mean_squared_error(truth, theirs)


def least_squares(comparison, frame, lagar, name):
    ours = {c["name"]: c for c in lagar.shown(name)["explanation"]["coefficients"]}
    ours = [ours[column] for column in ["intercept", *frame.filter(regex=r"^f\d+$")]]
    x = np.column_stack([np.ones(len(frame)), features(frame)])
    theirs = comparison.peer(frame.target.to_numpy(), x).fit()
    for measure, key, expected in [("coefficients", "value", theirs.params), ("standard errors", "standard_error", theirs.bse)]:
        yield measure, np.max(np.abs([c[key] for c in ours] / expected - 1)), 0.0


def clustering(comparison, frame, lagar, name):
    shown, x = lagar.shown(name), scaled(frame)
    figures = dict(shown["explanation"]["figures"])
    # Rows in no group are one, as the peer has it.
    ours = [-1 if group is None else group for group in lagar.answers(name)]
    model = comparison.peer()
    theirs = model.fit_predict(x)
    if "inertia" in comparison.tolerance:
        yield "inertia", figures["inertia"], model.inertia_
    if "log likelihood" in comparison.tolerance:
        yield "log likelihood", figures["mean log-likelihood"], model.score(x)
    if "silhouette" in comparison.tolerance:
        yield "silhouette", shown["judged"]["measures"]["silhouette"], metrics.silhouette_score(x, theirs)
    # Adjusted Rand indices.
    if "same groups" in comparison.tolerance:
        yield "same groups", metrics.adjusted_rand_score(theirs, ours), 1.0
    if "true groups" in comparison.tolerance:
        yield "true groups", metrics.adjusted_rand_score(frame.target, ours), metrics.adjusted_rand_score(frame.target, theirs)


def reduction(comparison, frame, lagar, name):
    ours, theirs = lagar.shown(name)["judged"]["measures"]["shares"], comparison.peer().fit(scaled(frame)).explained_variance_ratio_
    yield "explained ratios", np.max(np.abs(ours - theirs)), 0.0


def formulas(comparison, frame, lagar, name):
    flags, scores = np.array(lagar.answers(name)), np.array(lagar.answers(name, "predict_proba"))
    apart, unit, limit = comparison.peer(features(frame))
    theirs = np.maximum(apart / unit, 0).max(axis=1)
    yield "scores", np.max(np.abs(scores - theirs)), 0.0
    yield "other flags", np.sum(flags != (theirs > limit)), 0.0


def outliers(comparison, frame, lagar, name):
    ours = lagar.answers(name, "predict_proba")
    # The lower theirs is, the more unusual the row.
    model = comparison.peer().fit(scaled(frame))
    theirs = -(model.score_samples(scaled(frame)) if hasattr(model, "score_samples") else model.negative_outlier_factor_)
    yield "roc auc", metrics.roc_auc_score(frame.target, ours), metrics.roc_auc_score(frame.target, theirs)
    yield "rank correlation", spearmanr(ours, theirs).statistic, 1.0


def forecasts(comparison, frame, lagar, name):
    (steps, season), shown = AHEAD[comparison.data], lagar.shown(name)
    learned = {one["key"][0]: dict(one["forecast"].get("figures", [])) for one in shown["forecasts"]["series"]}
    for judged in shown["judged"]["forecast"]["series"]:
        column, ours = judged["key"], judged["comparison"]["scores"]["overall"]
        y = frame[frame.series == column].target.to_numpy()
        absolute, relative = [], []
        for end in range(len(y) - TIMES * steps, len(y), steps):
            known, later = y[:end], y[end : end + steps]
            absolute.append(np.mean(np.abs(comparison.peer(known, steps, season) - later)))
            relative.append(absolute[-1] / np.mean(np.abs(known[season:] - known[:-season])))
        yield "mae", ours["mae"], np.mean(absolute), column
        yield "mase", ours["mase"], np.mean(relative), column
        if "aicc" in comparison.tolerance:
            yield "aicc", learned[column]["aicc"], best_aicc(y, season), column


class Kind(NamedTuple):
    title: str
    compare: Callable[..., Any]
    comparisons: list[Comparison]
    # Lagar's predictor, beside algorithm, table and parameters.
    asks: str


# The last 15 % of the rows judge.
JUDGED = "target: target, time: t, seed: 1"
# All rows are learned from, and asked.
WHOLE = "split: {validate: 0, test: 0}, seed: 1"
COLUMNS = "features: {except: [t, target]}"

KINDS = [
    Kind("classification", classification, CLASSIFICATION, f"{JUDGED}, scale: standard"),
    Kind("classification of counts", counts, COUNTS, JUDGED),
    Kind("regression", regression, REGRESSION, f"{JUDGED}, scale: standard"),
    Kind("least squares, largest difference", least_squares, LEAST_SQUARES, f"target: target, features: {{except: [t]}}, {WHOLE}"),
    Kind("clustering", clustering, CLUSTERING, f"{COLUMNS}, {WHOLE}, scale: standard"),
    Kind("reduction, largest difference", reduction, REDUCTION, f"{COLUMNS}, {WHOLE}, scale: standard"),
    Kind("outliers by formulas, largest difference", formulas, FORMULAS, f"{COLUMNS}, {WHOLE}"),
    Kind("outliers", outliers, OUTLIERS, f"{COLUMNS}, {WHOLE}, scale: standard"),
    Kind("forecasts", forecasts, FORECASTS, "target: target, time: t, series: [series], seed: 1"),
]


def each():
    """Each comparison on each data set by itself, with the name of Lagar's predictor."""
    for number, kind in enumerate(KINDS):
        for comparison in kind.comparisons:
            for data in comparison.data.split():
                yield kind, comparison._replace(data=data), f"p{number}_{comparison.algorithm.replace(' ', '_').lower()}_{data}"


def predictor(kind, comparison):
    """As it stands in lagar.yaml. What follows the algorithm's name tells two comparisons of one algorithm apart."""
    text = f"algorithm: {comparison.algorithm.split()[0]}, from: trusted.{comparison.data}, params: {{{comparison.params}}}, {kind.asks}"
    if comparison.data in AHEAD:
        steps, season = AHEAD[comparison.data]
        # A share of the longest series, and a bit, as it is rounded down.
        share = (TIMES * steps + 0.5) / tables()[comparison.data].series.value_counts().max()
        text += f", horizon: {steps}, season: {season}, split: {{validate: 0, test: {share}}}"
    return text


class Result(NamedTuple):
    kind: Kind
    comparison: Comparison
    measure: str
    column: str
    ours: float
    theirs: float

    @property
    def behind(self):
        """How much worse ours is, in the unit of the tolerance."""
        behind = self.theirs - self.ours if self.measure in HIGHER else self.ours - self.theirs
        return behind / abs(self.theirs) if self.measure in RELATIVE else behind

    @property
    def too_bad(self):
        may_be = self.comparison.tolerance[self.measure]
        if self.measure in RELATIVE:
            may_be += LOSSES.get((self.comparison.algorithm, self.column), (0, ""))[0]
        # What is no number is worse than any.
        return not self.behind <= may_be

    def cell(self):
        if self.measure in ALONE:
            text = f"{self.ours:.3f}" if self.measure in HIGHER else f"{self.ours:.0e}" if self.ours else "0"
        else:
            digits = 3 if abs(self.theirs) < 100 else 1
            ours, theirs = f"{self.ours:.{digits}f}", f"{self.theirs:.{digits}f}"
            text = f"{ours} / {theirs}"
            if self.behind > SAME and ours != theirs:
                text = f"**{text}**"
        return f"{text} WORSE" if self.too_bad else text


def compared(lagar):
    """What came of all comparisons."""
    for name, frame in tables().items():
        lagar.table(name, frame)
    for kind, comparison, name in each():
        lagar.predictor(name, predictor(kind, comparison))
    lagar.run()
    for kind, comparison, name in each():
        for measure, ours, theirs, *column in kind.compare(comparison, tables()[comparison.data], lagar, name):
            yield Result(kind, comparison, measure, *(column or [comparison.data]), float(ours), float(theirs))


def show(results):
    """Markdown, a table for each kind: Lagar / peer, what is worse in bold."""
    for kind in KINDS:
        own = [result for result in results if result.kind == kind]
        columns = list(dict.fromkeys(result.column for result in own))
        print(f"\n| {kind.title} | measure | may be worse by | {' | '.join(columns)} |\n{'|---' * (len(columns) + 3)}|")
        rows = {}
        for result in own:
            tolerance = result.comparison.tolerance[result.measure]
            tolerance = f"{tolerance:.0%}" if result.measure in RELATIVE and tolerance >= 0.01 else f"{tolerance:g}"
            rows.setdefault((result.comparison.algorithm, result.measure, tolerance), {})[result.column] = result.cell()
        for row, cells in rows.items():
            print(f"| {' | '.join(row)} | {' | '.join(cells.get(column, '') for column in columns)} |")
    print()
    for (algorithm, column), (more, why) in LOSSES.items():
        print(f"- {algorithm} of {column} may be worse by {more:.0%} more: {why}")


def uncovered(lagar):
    names = {comparison.algorithm.split()[0] for kind in KINDS for comparison in kind.comparisons}
    return sorted(set(lagar.algorithms()) - names)
