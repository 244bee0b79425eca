//! Exponential smoothing as a family of state space models, as in Hyndman, Koehler, Ord & Snyder, Forecasting
//! with Exponential Smoothing (Springer 2008); "HKOS" below.
//!
//! Own code, because augurs-ets 0.10.3 panics (`unimplemented!`) for every model with a season, adds up φ, φ, φ²…
//! for a damped trend where the model says φ, φ², φ³…, and keeps what it fitted to itself.

use serde_json::Value;

use super::simplex::minimum;
use crate::math::{exp, ln, square};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trend {
    None,
    Additive,
    Damped,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Season {
    None,
    Additive,
    Multiplicative,
}

/// Which of the models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind {
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
        season.saturating_add(3 + trend)
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
pub(crate) struct Weights {
    pub alpha: f64,
    pub beta: f64,
    pub gamma: f64,
    pub phi: f64,
}

/// Level, slope and the season's part at one time. `season[t % length]` belongs to time `t`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct State {
    pub level: f64,
    pub slope: f64,
    pub season: Vec<f64>,
}

/// A model with its numbers, of values that were divided by `scale`.
#[derive(Debug, Clone)]
pub(crate) struct Ets {
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
pub(crate) fn best(values: &[f64], season: usize, kinds: &[Kind]) -> Option<Ets> {
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

/// By the greatest likelihood. The season's parts at the beginning are not searched for, which with a season of 24
/// would be 23 dimensions more, but follow from the weights: the model goes through the series from its end to its
/// beginning first.
fn fit(kind: Kind, values: &[f64], season: usize, scale: f64) -> Option<Ets> {
    let backward: Vec<f64> = values.iter().rev().copied().collect();
    let mut search = Search {
        kind,
        values,
        start: beginning(kind, values, season)?,
        end: beginning(kind, &backward, season)?,
        backward,
        unit: unit(values),
        state: State::default(),
    };
    let first = search.first();
    let steps: Vec<f64> = (0..first.len()).map(|place| search.step(place)).collect();
    let (at, cost) = minimum(&first, &steps, 1e-7, 400 * first.len(), |at| search.cost(at));
    if !cost.is_finite() {
        return None;
    }
    let mut state = State::default();
    let weights = search.read(&at, &mut state);
    let errors = run(kind, weights, &mut state, values)?;
    let (n, unknowns) = (values.len() as f64, kind.unknowns(season) as f64);
    // Those of the normal distribution, and those that undo the scale.
    let constants = n * (1.0 + ln(std::f64::consts::TAU / n) + 2.0 * ln(scale));
    Some(Ets {
        kind,
        weights,
        state,
        length: values.len(),
        variance: errors.squares / (n - unknowns + 1.0),
        scale,
        aicc: cost + constants + 2.0 * unknowns * n / (n - unknowns - 1.0),
    })
}

/// The size of what the start of the level is moved by while searching.
fn unit(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares: f64 = values.iter().map(|v| square(v - mean)).sum();
    (squares / values.len() as f64).sqrt().max(1e-6)
}

/// What the search is about: the weights, each moved to the whole line by a logistic function so that it cannot
/// leave its bounds, and the first level and slope.
struct Search<'a> {
    kind: Kind,
    values: &'a [f64],
    /// Before the first value, as far as it is not searched for.
    start: State,
    /// The values from the last to the first, and what is before them.
    backward: Vec<f64>,
    end: State,
    unit: f64,
    /// Kept for its memory.
    state: State,
}

/// The usual region (HKOS 2.4): 0 < α < 1, 0 < β < α, 0 < γ < 1 - α, and a slope that is damped neither so little
/// that it does not show nor so much that it is gone at once.
const WEIGHTS: (f64, f64) = (0.0001, 0.9999);
const DAMPED: (f64, f64) = (0.8, 0.98);

fn within((low, high): (f64, f64), at: f64) -> f64 {
    low + (high - low) / (1.0 + exp(-at))
}

impl Search<'_> {
    /// Where it begins: the best of a coarse grid, as there is often more than one valley.
    fn first(&mut self) -> Vec<f64> {
        let grid: &[f64] = &[-3.0, 0.0, 2.0];
        let only_if = |there: bool| if there { grid } else { &grid[..1] };
        let (with_trend, with_season) = (self.kind.trend != Trend::None, self.kind.season != Season::None);
        let mut best = (Vec::new(), f64::INFINITY);
        for alpha in grid {
            for beta in only_if(with_trend) {
                for gamma in only_if(with_season) {
                    let mut at = vec![*alpha];
                    at.extend(with_trend.then_some(*beta));
                    at.extend(with_season.then_some(*gamma));
                    at.extend((self.kind.trend == Trend::Damped).then_some(1.0));
                    at.push(0.0);
                    at.extend(with_trend.then_some(0.0));
                    let cost = self.cost(&at);
                    if best.0.is_empty() || cost < best.1 {
                        best = (at, cost);
                    }
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

    /// The weights at this place of the search, and into `state` the states before the first value.
    fn read(&self, at: &[f64], state: &mut State) -> Weights {
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
        self.first_season(weights, state);
        state.level = self.start.level + self.unit * next();
        state.slope = self.start.slope;
        if self.kind.trend != Trend::None {
            state.slope += 0.1 * self.unit * next();
        }
        weights
    }

    /// With a large γ the parts of the first seasons, with a small one the mean of all.
    fn first_season(&self, weights: Weights, state: &mut State) {
        if self.kind.season == Season::None {
            return;
        }
        state.clone_from(&self.end);
        if run(self.kind, weights, state, &self.backward).is_none() {
            state.season.clone_from(&self.start.season);
            return;
        }
        // Backward, time `t` is `n - 1 - t`.
        let length = state.season.len();
        state.season.reverse();
        state.season.rotate_right(self.values.len() % length);
    }

    /// Minus twice the logarithm of the likelihood, without its constants (HKOS 5.1).
    fn cost(&mut self, at: &[f64]) -> f64 {
        let mut state = std::mem::take(&mut self.state);
        let weights = self.read(at, &mut state);
        let errors = run(self.kind, weights, &mut state, self.values);
        self.state = state;
        let Some(errors) = errors else { return f64::INFINITY };
        let n = self.values.len() as f64;
        // Values that are met exactly would have an infinite likelihood, and any number of unknowns be worth it.
        let squares = errors.squares.max(n * 1e-20);
        n * ln(squares) + 2.0 * errors.logarithms
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
            errors.logarithms += ln(expected);
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

/// The states before the first value, to begin with (HKOS 2.6.1): the season from a classical decomposition, level and slope from
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
    fn echoes(&self, horizon: usize) -> Vec<f64> {
        let Weights { alpha, beta, gamma, phi } = self.weights;
        let season = self.state.season.len();
        let (mut power, mut damped) = (1.0, 0.0);
        (1..horizon)
            .map(|later| {
                power *= phi;
                damped += power;
                let again = season > 0 && later % season == 0;
                alpha + beta * damped + if again { gamma } else { 0.0 }
            })
            .collect()
    }

    /// `σ² (1 + Σ c²)` (HKOS 6.2).
    fn additive_variances(&self, horizon: usize) -> Vec<f64> {
        let echoes = self.echoes(horizon);
        let mut sum = 1.0;
        let mut variances = vec![self.variance; horizon];
        for (variance, echo) in variances.iter_mut().skip(1).zip(&echoes) {
            sum += echo * echo;
            *variance *= sum;
        }
        variances
    }

    /// `θ₁ = μ₁²`, `θₕ = μₕ² + σ² Σ c² θₕ₋ⱼ`, and from it `(1 + σ²) θₕ - μₕ²` (HKOS 6.3). For a multiplicative
    /// season the same of the values without it, times its square: exact within the first season, as is the
    /// formula of HKOS 6.4, and near to it later, where it also counts that one error moves level and season.
    fn relative_variances(&self, values: &[f64], base: &[f64], season: &[f64]) -> Vec<f64> {
        let multiplicative = self.kind.season == Season::Multiplicative;
        let means = if multiplicative { base } else { values };
        let echoes = self.echoes(means.len());
        let mut thetas: Vec<f64> = Vec::with_capacity(means.len());
        let mut variances = Vec::with_capacity(means.len());
        for (mean, season) in means.iter().zip(season) {
            let before = echoes.iter().zip(thetas.iter().rev());
            let before: f64 = before.map(|(echo, theta)| echo * echo * theta).sum();
            let theta = mean * mean + self.variance * before;
            thetas.push(theta);
            let variance = theta * (1.0 + self.variance) - mean * mean;
            variances.push(if multiplicative { season * season * variance } else { variance });
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

#[cfg(test)]
pub(crate) mod tests {
    use rand::{Rng, SeedableRng};
    use rand_xoshiro::Xoshiro256Plus;

    use super::*;

    /// The yearly flow of the Nile at Aswan, 1871-1970 (Cobb 1978).
    pub const NILE: [f64; 100] = [
        1120., 1160., 963., 1210., 1160., 1160., 813., 1230., 1370., 1140., 995., 935., 1110., 994., 1020.,
        960., 1180., 799., 958., 1140., 1100., 1210., 1150., 1250., 1260., 1220., 1030., 1100., 774., 840.,
        874., 694., 940., 833., 701., 916., 692., 1020., 1050., 969., 831., 726., 456., 824., 702., 1120.,
        1100., 832., 764., 821., 768., 845., 864., 862., 698., 845., 744., 796., 1040., 759., 781., 865.,
        845., 944., 984., 897., 822., 1010., 771., 676., 649., 846., 812., 742., 801., 1040., 860., 874.,
        848., 890., 744., 749., 838., 1050., 918., 986., 797., 923., 975., 815., 1020., 906., 901., 1170.,
        912., 746., 919., 718., 714., 740.,
    ];

    /// Passengers of airlines in thousands, 1949-1960 by month (Box & Jenkins 1976).
    pub const AIR: [f64; 144] = [
        112., 118., 132., 129., 121., 135., 148., 148., 136., 119., 104., 118., 115., 126., 141., 135., 125.,
        149., 170., 170., 158., 133., 114., 140., 145., 150., 178., 163., 172., 178., 199., 199., 184., 162.,
        146., 166., 171., 180., 193., 181., 183., 218., 230., 242., 209., 191., 172., 194., 196., 196., 236.,
        235., 229., 243., 264., 272., 237., 211., 180., 201., 204., 188., 235., 227., 234., 264., 302., 293.,
        259., 229., 203., 229., 242., 233., 267., 269., 270., 315., 364., 347., 312., 274., 237., 278., 284.,
        277., 317., 313., 318., 374., 413., 405., 355., 306., 271., 306., 315., 301., 356., 348., 355., 422.,
        465., 467., 404., 347., 305., 336., 340., 318., 362., 348., 363., 435., 491., 505., 404., 359., 310.,
        337., 360., 342., 406., 396., 420., 472., 548., 559., 463., 407., 362., 405., 417., 391., 419., 461.,
        472., 535., 622., 606., 508., 461., 390., 432.,
    ];

    const ADDED: Kind = Kind { relative: false, trend: Trend::None, season: Season::None };

    /// `ETSModel(NILE, …, initialization_method="estimated").fit()` of statsmodels 0.15, which searches for the
    /// same numbers: its `aicc` and `forecast_variance`.
    #[test]
    fn fits_as_well_as_statsmodels() {
        for (relative, trend, aicc, value) in [
            (false, Trend::None, 1282.4654, 804.997),
            (false, Trend::Additive, 1286.1071, 802.471),
            (true, Trend::None, 1281.8536, 839.170),
            (true, Trend::Additive, 1285.3640, 832.335),
        ] {
            let kind = Kind { relative, trend, ..ADDED };
            let ets = best(&NILE, 1, &[kind]).unwrap();
            assert!(ets.aicc < aicc + 0.02, "{}: {} and {aicc}", kind.name(), ets.aicc);
            let (values, _) = ets.ahead(1);
            assert!((values[0] / value - 1.0).abs() < 0.01, "{}: {} and {value}", kind.name(), values[0]);
        }
        let simple = best(&NILE, 1, &[ADDED]).unwrap();
        assert!((simple.weights.alpha - 0.246_68).abs() < 2e-3, "{:?}", simple.weights);
        let (_, deviations) = simple.ahead(5);
        // statsmodels divides by n, and this by n less the two numbers fitted.
        for (step, variance) in [(0, 20420.1356), (4, 25390.6243)] {
            let expected: f64 = variance * 100.0 / 98.0;
            assert!((deviations[step].powi(2) / expected - 1.0).abs() < 5e-3, "{deviations:?}");
        }
    }

    /// `ETSModel(AIR, …, seasonal_periods=12, initialization_method="estimated").fit()` of statsmodels 0.15: its
    /// `llf`, `forecast(1)` and `smoothing_level`. It searches for the first season too, and finds a little more.
    #[test]
    fn fits_seasons_nearly_as_well_as_statsmodels() {
        for (relative, trend, season, likelihood, value, alpha) in [
            (false, Trend::Additive, Season::Additive, -564.984, 451.579, 0.2526),
            (true, Trend::Additive, Season::Multiplicative, -522.490, 442.769, 0.7410),
            (true, Trend::Damped, Season::Multiplicative, -525.617, 441.911, 0.7607),
            (true, Trend::Damped, Season::Additive, -550.608, 450.233, 0.2978),
        ] {
            let kind = Kind { relative, trend, season };
            let ets = best(&AIR, 12, &[kind]).unwrap();
            let (n, k) = (144.0, kind.unknowns(12) as f64);
            let found = k * n / (n - k - 1.0) - ets.aicc / 2.0;
            assert!(found > likelihood - 1.2, "{}: {found} and {likelihood}", kind.name());
            let got = ets.ahead(1).0[0];
            assert!((got / value - 1.0).abs() < 2e-3, "{}: {got} and {value}", kind.name());
            assert!((ets.weights.alpha - alpha).abs() < 5e-3, "{}: {:?}", kind.name(), ets.weights);
        }
    }

    /// Each formula against many futures drawn from the equations of the model.
    #[test]
    fn deviations_are_those_of_simulated_futures() {
        let horizon = 9;
        for trend in [Trend::None, Trend::Additive, Trend::Damped] {
            for (relative, season) in [
                (false, Season::None),
                (false, Season::Additive),
                (true, Season::None),
                (true, Season::Additive),
                (true, Season::Multiplicative),
            ] {
                let kind = Kind { relative, trend, season };
                let with_trend = trend != Trend::None;
                let ets = Ets {
                    kind,
                    weights: Weights {
                        alpha: 0.4,
                        beta: if with_trend { 0.1 } else { 0.0 },
                        gamma: 0.3,
                        phi: if trend == Trend::Damped { 0.9 } else { 1.0 },
                    },
                    state: State {
                        level: 10.0,
                        slope: if with_trend { 0.5 } else { 0.0 },
                        season: match season {
                            Season::None => vec![],
                            Season::Additive => vec![1.0, -2.0, 0.0, 1.0],
                            Season::Multiplicative => vec![1.2, 0.7, 1.0, 1.1],
                        },
                    },
                    length: 8,
                    variance: if relative { 0.01 } else { 1.0 },
                    scale: 1.0,
                    aicc: 0.0,
                };
                let (values, deviations) = ets.ahead(horizon);
                let simulated = spread_of_futures(&ets, &values);
                for (step, (formula, drawn)) in deviations.iter().zip(&simulated).enumerate() {
                    // After a multiplicative season the formula is only near.
                    let allowed = if season == Season::Multiplicative && step >= 4 { 0.05 } else { 0.02 };
                    let near = (formula / drawn - 1.0).abs() < allowed;
                    assert!(near, "{} step {step}: {formula} and {drawn}", kind.name());
                }
            }
        }
    }

    fn spread_of_futures(ets: &Ets, values: &[f64]) -> Vec<f64> {
        let mut random = Xoshiro256Plus::seed_from_u64(3);
        let mut squares = vec![0.0; values.len()];
        let draws = 20_000;
        for _ in 0..draws {
            let mut state = ets.state.clone();
            for (step, square) in squares.iter_mut().enumerate() {
                // Of twelve even numbers: nearly normal, with variance 1.
                let error = (0..12).map(|_| random.gen_range(-0.5..0.5)).sum::<f64>() * ets.variance.sqrt();
                // One step as `run` does it, of the value that this error makes.
                let base = state.level + ets.weights.phi * state.slope;
                let place =
                    if state.season.is_empty() { 0 } else { (ets.length + step) % state.season.len() };
                let season = state.season.get(place).copied().unwrap_or(0.0);
                let expected = match ets.kind.season {
                    Season::Multiplicative => base * season,
                    _ => base + season,
                };
                let value = if ets.kind.relative { expected * (1.0 + error) } else { expected + error };
                state.season.rotate_left(place);
                run(ets.kind, ets.weights, &mut state, &[value]).unwrap();
                state.season.rotate_right(place);
                *square += (value - values[step]).powi(2);
            }
        }
        squares.into_iter().map(|sum| (sum / f64::from(draws)).sqrt()).collect()
    }

    /// Of a straight line, a constant and zeros nothing is left to be unsure about.
    #[test]
    fn what_is_met_exactly_is_the_simplest() {
        let kinds = [ADDED, Kind { trend: Trend::Additive, ..ADDED }, Kind { trend: Trend::Damped, ..ADDED }];
        let line: Vec<f64> = (0..40).map(|t| 7.0 - 3.0 * f64::from(t)).collect();
        let ets = best(&line, 1, &kinds).unwrap();
        assert_eq!(ets.kind.name(), "ETS(A,A,N)");
        assert!((ets.ahead(2).0[1] + 116.0).abs() < 1e-6);
        for constant in [0.0, 4.5, -1e300, 1e-300] {
            let ets = best(&[constant; 40], 1, &kinds).unwrap();
            assert_eq!(ets.kind.name(), "ETS(A,N,N)");
            assert!(ets.ahead(3).0.iter().all(|value| (value - constant).abs() <= constant.abs() * 1e-9));
        }
    }

    #[test]
    fn the_unit_of_the_values_changes_nothing() {
        let kinds = [Kind { season: Season::Multiplicative, relative: true, trend: Trend::Damped }];
        let (values, deviations) = best(&AIR, 12, &kinds).unwrap().ahead(3);
        let millions: Vec<f64> = AIR.iter().map(|v| v / 1024.0).collect();
        let (scaled, narrow) = best(&millions, 12, &kinds).unwrap().ahead(3);
        for step in 0..3 {
            assert!((scaled[step] * 1024.0 / values[step] - 1.0).abs() < 1e-9);
            assert!((narrow[step] * 1024.0 / deviations[step] - 1.0).abs() < 1e-9);
        }
    }
}
