//! Exponential smoothing as a family of state space models, as in Hyndman, Koehler, Ord & Snyder, Forecasting
//! with Exponential Smoothing (Springer 2008); "HKOS" below.
//!
//! Own code, because augurs-ets 0.10.3 panics (`unimplemented!`) for every model with a season, adds up φ, φ, φ²…
//! for a damped trend where the model says φ, φ², φ³…, and keeps what it fitted to itself.

use serde_json::Value;

use super::simplex::minimum;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trend {
    None,
    Additive,
    Damped,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Season {
    None,
    Additive,
    Multiplicative,
}

/// Which of the models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    /// The error is a share of the value that was expected, and not added to it.
    pub relative: bool,
    pub trend: Trend,
    pub season: Season,
}

impl Kind {
    /// As the book writes it, such as `ETS(A,Ad,M)`.
    pub fn name(self) -> String {
        let error = if self.relative { "M" } else { "A" };
        let trend = match self.trend {
            Trend::None => "N",
            Trend::Additive => "A",
            Trend::Damped => "Ad",
        };
        let season = match self.season {
            Season::None => "N",
            Season::Additive => "A",
            Season::Multiplicative => "M",
        };
        format!("ETS({error},{trend},{season})")
    }

    /// The numbers that are fitted: weights, the states at the beginning (of the season one follows from the
    /// others), and the variance.
    pub fn unknowns(self, season: usize) -> usize {
        let trend = match self.trend {
            Trend::None => 0,
            Trend::Additive => 2,
            Trend::Damped => 3,
        };
        let season = if self.season == Season::None { 0 } else { season };
        3 + trend + season
    }

    /// How many values a series must have: more than the numbers that are fitted, so that something is left to
    /// see the spread in, and two whole seasons.
    pub fn needs(self, season: usize) -> usize {
        let seasons = if self.season == Season::None { 0 } else { season.saturating_mul(2) };
        self.unknowns(season).saturating_add(4).max(seasons)
    }

    /// Whether it is for positive values only.
    fn positive(self) -> bool {
        self.relative || self.season == Season::Multiplicative
    }
}

/// Between 0 and 1: how fast the level, the slope and the season follow the values, and how much of the slope
/// remains after a step (1 where it is not damped).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Weights {
    pub alpha: f64,
    pub beta: f64,
    pub gamma: f64,
    pub phi: f64,
}

/// Level, slope and the season's part at one time. `season[t % length]` belongs to time `t`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct State {
    pub level: f64,
    pub slope: f64,
    pub season: Vec<f64>,
}

/// A model with its numbers, of values that were divided by `scale`.
#[derive(Debug, Clone)]
pub(super) struct Ets {
    pub kind: Kind,
    pub weights: Weights,
    /// After the last value.
    state: State,
    /// The number of values.
    length: usize,
    /// Of the one-step errors.
    variance: f64,
    scale: f64,
    /// Akaike's criterion, corrected for short series: the smaller, the better.
    pub aicc: f64,
}

/// Below this a value that others are divided by counts as 0; the largest value of the series is 1.
const TINY: f64 = 1e-10;

/// The best of `kinds` by AICc (HKOS 7.2); `None` if the series is too short for all, or has values that none of
/// them is for. Equal ones: the first.
pub(super) fn best(values: &[f64], season: usize, kinds: &[Kind]) -> Option<Ets> {
    let scale = match values.iter().fold(0.0_f64, |largest, v| largest.max(v.abs())) {
        0.0 => 1.0,
        largest => largest,
    };
    let scaled: Vec<f64> = values.iter().map(|v| v / scale).collect();
    let positive = scaled.iter().all(|v| *v > TINY);
    let fitted = kinds
        .iter()
        .filter(|kind| scaled.len() >= kind.needs(season) && (positive || !kind.positive()))
        .filter_map(|kind| fit(*kind, &scaled, season, scale));
    fitted.reduce(|best, other| if other.aicc < best.aicc { other } else { best })
}

/// By the greatest likelihood. The season's part at the beginning is not searched for but taken from the series
/// (HKOS 2.6.1, here from all of its seasons): with a season of 24 the search would have 23 dimensions more.
fn fit(kind: Kind, values: &[f64], season: usize, scale: f64) -> Option<Ets> {
    let start = beginning(kind, values, season)?;
    let mut search = Search { kind, values, start: &start, unit: unit(values), state: start.clone() };
    let first = search.first();
    let steps: Vec<f64> = first.iter().enumerate().map(|(place, _)| search.step(place)).collect();
    let (at, cost) = minimum(&first, &steps, 1e-7, 400 * first.len(), |at| search.cost(at));
    if !cost.is_finite() {
        return None;
    }
    let (weights, mut state) = search.read(&at);
    let errors = run(kind, weights, &mut state, values)?;
    let (n, unknowns) = (values.len() as f64, kind.unknowns(season) as f64);
    Some(Ets {
        kind,
        weights,
        state,
        length: values.len(),
        variance: errors.squares / (n - unknowns + 1.0),
        scale,
        aicc: cost
            + 2.0 * unknowns
            + 2.0 * unknowns * (unknowns + 1.0) / (n - unknowns - 1.0)
            + 2.0 * n * scale.ln(),
    })
}

/// The size of what the start of the level is moved by while searching.
fn unit(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    (squares / values.len() as f64).sqrt().max(1e-6)
}

/// What the search is about: the weights, each moved to the whole line by a logistic function so that it cannot
/// leave its bounds, and the first level and slope.
struct Search<'a> {
    kind: Kind,
    values: &'a [f64],
    start: &'a State,
    unit: f64,
    state: State,
}

/// The usual region (HKOS 2.4): 0 < α < 1, 0 < β < α, 0 < γ < 1 - α, and a slope that is damped neither so little
/// that it does not show nor so much that it is gone at once.
const WEIGHTS: (f64, f64) = (0.0001, 0.9999);
const DAMPED: (f64, f64) = (0.8, 0.98);

fn within((low, high): (f64, f64), at: f64) -> f64 {
    low + (high - low) / (1.0 + (-at).exp())
}

impl Search<'_> {
    /// Where it begins: the best of a coarse grid.
    fn first(&mut self) -> Vec<f64> {
        let mut best = (Vec::new(), f64::INFINITY);
        for alpha in [-3.0, -0.5, 1.5] {
            for other in [-3.0, -1.0] {
                let mut at = vec![alpha];
                if self.kind.trend != Trend::None {
                    at.push(other);
                }
                if self.kind.season != Season::None {
                    at.push(other);
                }
                if self.kind.trend == Trend::Damped {
                    at.push(1.0);
                }
                at.push(0.0);
                if self.kind.trend != Trend::None {
                    at.push(0.0);
                }
                let cost = self.cost(&at);
                if best.0.is_empty() || cost < best.1 {
                    best = (at, cost);
                }
            }
        }
        best.0
    }

    /// Of the simplex: weights by one on their line; level and slope, which come last, by less.
    fn step(&self, place: usize) -> f64 {
        let weights = 1
            + usize::from(self.kind.trend != Trend::None)
            + usize::from(self.kind.season != Season::None)
            + usize::from(self.kind.trend == Trend::Damped);
        if place < weights { 1.0 } else { 0.1 }
    }

    fn read(&self, at: &[f64]) -> (Weights, State) {
        let mut state = self.start.clone();
        let weights = self.unpack(at, &mut state);
        (weights, state)
    }

    fn unpack(&self, at: &[f64], state: &mut State) -> Weights {
        let mut at = at.iter().copied();
        let mut next = || at.next().unwrap_or(0.0);
        let alpha = within(WEIGHTS, next());
        let mut weights = Weights { alpha, phi: 1.0, ..Weights::default() };
        if self.kind.trend != Trend::None {
            weights.beta = alpha * within(WEIGHTS, next());
        }
        if self.kind.season != Season::None {
            weights.gamma = (1.0 - alpha) * within(WEIGHTS, next());
        }
        if self.kind.trend == Trend::Damped {
            weights.phi = within(DAMPED, next());
        }
        state.level = self.start.level + self.unit * next();
        state.slope = self.start.slope;
        if self.kind.trend != Trend::None {
            state.slope += 0.1 * self.unit * next();
        }
        weights
    }

    /// Minus twice the logarithm of the likelihood, without its constants (HKOS 5.1).
    fn cost(&mut self, at: &[f64]) -> f64 {
        let mut state = std::mem::take(&mut self.state);
        let weights = self.unpack(at, &mut state);
        state.season.clone_from(&self.start.season);
        let errors = run(self.kind, weights, &mut state, self.values);
        self.state = state;
        let Some(errors) = errors else { return f64::INFINITY };
        let n = self.values.len() as f64;
        // Values that are met exactly would have an infinite likelihood, and any number of unknowns be worth it.
        let squares = errors.squares.max(n * 1e-20);
        n * squares.ln() + 2.0 * errors.logarithms
    }
}

struct Errors {
    /// The sum of the squared errors, which are shares if they are relative.
    squares: f64,
    /// The sum of the logarithms of the expected values if errors are relative.
    logarithms: f64,
}

/// Through all values, from the state before the first to that after the last; `None` if on the way something is
/// no longer positive that must be.
fn run(kind: Kind, weights: Weights, state: &mut State, values: &[f64]) -> Option<Errors> {
    let Weights { alpha, beta, gamma, phi } = weights;
    let mut errors = Errors { squares: 0.0, logarithms: 0.0 };
    let mut place = 0;
    for value in values {
        let base = state.level + phi * state.slope;
        let of_season = state.season.get(place).copied();
        // What the value says about the level, and what about the season.
        let (expected, for_level, for_season) = match (kind.season, of_season) {
            (Season::Additive, Some(season)) => (base + season, value - season, value - base),
            (Season::Multiplicative, Some(season)) => {
                if base <= TINY || season <= TINY {
                    return None;
                }
                (base * season, value / season, value / base)
            }
            _ => (base, *value, 0.0),
        };
        let mut error = value - expected;
        if kind.relative {
            if expected <= TINY {
                return None;
            }
            error /= expected;
            errors.logarithms += expected.ln();
        }
        errors.squares += error * error;
        state.level = base + alpha * (for_level - base);
        state.slope = phi * state.slope + beta * (for_level - base);
        if let Some(season) = state.season.get_mut(place) {
            *season += gamma * (for_season - *season);
            place = (place + 1) % state.season.len();
        }
    }
    errors.squares.is_finite().then_some(errors)
}

/// The states before the first value (HKOS 2.6.1): the season from a classical decomposition, level and slope from
/// a line through the first values without their season.
fn beginning(kind: Kind, values: &[f64], season: usize) -> Option<State> {
    let parts = match kind.season {
        Season::None => Vec::new(),
        _ if season < 2 => return None,
        Season::Additive => seasonal_parts(values, season, |value, mean| value - mean, 0.0),
        Season::Multiplicative => seasonal_parts(values, season, |value, mean| value / mean, 1.0),
    };
    let adjusted = |(time, value): (usize, &f64)| match kind.season {
        Season::None => *value,
        Season::Additive => value - parts[time % season],
        Season::Multiplicative => value / parts[time % season].max(TINY),
    };
    let first = if parts.is_empty() { 10 } else { (2 * season).max(10) };
    let first: Vec<f64> = values.iter().enumerate().take(first).map(adjusted).collect();
    let (level, slope) = line(&first);
    Some(match kind.trend {
        Trend::None => {
            State { level: first.iter().sum::<f64>() / first.len() as f64, slope: 0.0, season: parts }
        }
        _ => State { level, slope, season: parts },
    })
}

/// The value at time -1 and the slope of the least squares line through the values at 0, 1, 2…
fn line(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let middle = (n - 1.0) / 2.0;
    let mean = values.iter().sum::<f64>() / n;
    let from_middle = || (0..values.len()).map(|time| time as f64 - middle);
    let squares: f64 = from_middle().map(|t| t * t).sum();
    if squares == 0.0 {
        return (mean, 0.0);
    }
    let slope = from_middle().zip(values).map(|(t, v)| t * (v - mean)).sum::<f64>() / squares;
    (mean - slope * (middle + 1.0), slope)
}

/// What remains of each place of the season when the mean of one season around is taken `off`, so that on the mean
/// nothing (`nothing`: 0 or 1) remains.
fn seasonal_parts(values: &[f64], season: usize, off: fn(f64, f64) -> f64, nothing: f64) -> Vec<f64> {
    let half = season / 2;
    let mut sums = vec![(0.0, 0.0); season];
    for time in half..values.len() - half {
        // Of an even season the values at both ends count half, so that it is centred.
        let around = &values[time - half..=time + half];
        let mut sum: f64 = around.iter().sum();
        if season.is_multiple_of(2) {
            sum -= (around[0] + around[season]) / 2.0;
        }
        let (total, count) = &mut sums[time % season];
        *total += off(values[time], sum / season as f64);
        *count += 1.0;
    }
    let mut parts: Vec<f64> =
        sums.iter().map(|(total, count)| if *count > 0.0 { total / count } else { nothing }).collect();
    let mean = parts.iter().sum::<f64>() / season as f64;
    for part in &mut parts {
        *part = off(*part, mean);
    }
    parts
}

impl Ets {
    /// The next values and their standard deviations.
    pub fn ahead(&self, horizon: usize) -> (Vec<f64>, Vec<f64>) {
        let (base, season) = self.path(horizon);
        let with_season = |place: usize| match self.kind.season {
            Season::None => base[place],
            Season::Additive => base[place] + season[place],
            Season::Multiplicative => base[place] * season[place],
        };
        let values: Vec<f64> = (0..horizon).map(with_season).collect();
        let variances = if self.kind.relative {
            self.relative_variances(&values, &base, &season)
        } else {
            self.additive_variances(horizon)
        };
        let scaled = |v: f64| v * self.scale;
        (
            values.into_iter().map(scaled).collect(),
            variances.into_iter().map(|v| scaled(v.max(0.0).sqrt())).collect(),
        )
    }

    /// Level with slope, and the season's part.
    fn path(&self, horizon: usize) -> (Vec<f64>, Vec<f64>) {
        let (mut level, mut slope) = (self.state.level, self.state.slope);
        let mut base = Vec::with_capacity(horizon);
        let mut season = Vec::with_capacity(horizon);
        for step in 0..horizon {
            slope *= self.weights.phi;
            level += slope;
            base.push(level);
            let length = self.state.season.len();
            season.push(if length == 0 { 0.0 } else { self.state.season[(self.length + step) % length] });
        }
        (base, season)
    }

    /// What an error of 1 does to the value `j` steps later, for `j` from 1: `α + β (φ + … + φʲ)`, and γ where a
    /// whole number of seasons is between (HKOS table 6.2).
    fn echoes(&self, horizon: usize, with_season: bool) -> Vec<f64> {
        let Weights { alpha, beta, gamma, phi } = self.weights;
        let season = self.state.season.len();
        let (mut power, mut damped) = (1.0, 0.0);
        (1..horizon)
            .map(|later| {
                power *= phi;
                damped += power;
                let again = with_season && season > 0 && later % season == 0;
                alpha + beta * damped + if again { gamma } else { 0.0 }
            })
            .collect()
    }

    /// `σ² (1 + Σ c²)` (HKOS 6.2).
    fn additive_variances(&self, horizon: usize) -> Vec<f64> {
        let echoes = self.echoes(horizon, true);
        let mut sum = 1.0;
        let mut variances = vec![self.variance; horizon];
        for (variance, echo) in variances.iter_mut().skip(1).zip(&echoes) {
            sum += echo * echo;
            *variance *= sum;
        }
        variances
    }

    /// `θ₁ = μ₁²`, `θₕ = μₕ² + σ² Σ c² θₕ₋ⱼ`, and from it `(1 + σ²) θₕ - μₕ²` (HKOS 6.3). For a multiplicative
    /// season the same of the values without it, times its square, `(1 + γ²σ²)ᵏ` for the `k` seasons passed
    /// (HKOS 6.4: exact within the first season, near to it later).
    fn relative_variances(&self, values: &[f64], base: &[f64], season: &[f64]) -> Vec<f64> {
        let multiplicative = self.kind.season == Season::Multiplicative;
        let means = if multiplicative { base } else { values };
        let echoes = self.echoes(means.len(), !multiplicative);
        let mut thetas: Vec<f64> = Vec::with_capacity(means.len());
        let mut variances = Vec::with_capacity(means.len());
        for (ahead, mean) in means.iter().enumerate() {
            let before: f64 =
                echoes.iter().zip(thetas.iter().rev()).map(|(echo, theta)| echo * echo * theta).sum();
            let theta = mean * mean + self.variance * before;
            thetas.push(theta);
            variances.push(if multiplicative {
                let passed = (ahead / self.state.season.len()) as f64;
                let more = (1.0 + self.weights.gamma.powi(2) * self.variance).powf(passed);
                season[ahead].powi(2) * (theta * (1.0 + self.variance) * more - mean * mean)
            } else {
                theta * (1.0 + self.variance) - mean * mean
            });
        }
        variances
    }

    /// What was chosen, for people.
    pub fn figures(&self) -> Vec<(String, Value)> {
        let Weights { alpha, beta, gamma, phi } = self.weights;
        let mut figures =
            vec![("model".to_owned(), Value::from(self.kind.name())), ("alpha".to_owned(), alpha.into())];
        if self.kind.trend != Trend::None {
            figures.push(("beta".to_owned(), beta.into()));
        }
        if self.kind.season != Season::None {
            figures.push(("gamma".to_owned(), gamma.into()));
        }
        if self.kind.trend == Trend::Damped {
            figures.push(("phi".to_owned(), phi.into()));
        }
        figures.push(("aicc".to_owned(), self.aicc.into()));
        figures
    }
}
