//! What forecasters share: how wide their intervals are, and what they say about short series.

use lagar_flow::{Error, Result, codes};

use crate::algorithm::Forecast;
use crate::math::ln;

/// So many errors of the past are the least from which a spread is taken.
pub(crate) const ENOUGH: usize = 8;

/// Intervals of a normal distribution around `values`: `value ± z · deviation`.
///
/// # Errors
/// [`codes::PREDICTOR_DATA`] if a number is too large to be one.
pub(crate) fn forecast(
    algorithm: &str,
    values: Vec<f64>,
    deviations: &[f64],
    level: f64,
) -> Result<Forecast> {
    let z = quantile(0.5 + level / 2.0);
    let around = |sign: f64| -> Vec<f64> {
        values.iter().zip(deviations).map(|(value, deviation)| value + sign * z * deviation).collect()
    };
    let (lower, upper) = (around(-1.0), around(1.0));
    if [&values, &lower, &upper].into_iter().flatten().any(|value| !value.is_finite()) {
        return Err(Error::new(
            codes::PREDICTOR_DATA,
            format!("`{algorithm}` cannot forecast so large values: the result is beyond 1.8e308"),
        )
        .hint("divide the column by a constant"));
    }
    Ok(Forecast { values, lower, upper, figures: Vec::new() })
}

/// By this an error of [`at_least`] is known again: errors are told apart by code and text alone, and the code is also
/// that of values which are too large, and of settings that do not fit the values.
const HOW_SHORT: &str = "values of a series, and has";

/// Whether an algorithm says that the series has too few values for it.
pub(crate) fn is_too_short(error: &Error) -> bool {
    error.code() == codes::PREDICTOR_DATA && error.message().contains(HOW_SHORT)
}

/// # Errors
/// [`codes::PREDICTOR_DATA`] if there are fewer than `needs` values.
pub(crate) fn at_least(algorithm: &str, has: usize, needs: usize) -> Result<()> {
    if has >= needs {
        return Ok(());
    }
    Err(Error::new(codes::PREDICTOR_DATA, format!("`{algorithm}` needs at least {needs} {HOW_SHORT} {has}"))
        .hint("wait for more values, or choose a simpler algorithm such as `last_value`"))
}

/// Standard deviations of the first `horizon` steps from errors that were made in the past, those of one step
/// together: the root of their mean square, and never less than that of a step before. Steps for which there
/// are fewer than [`ENOUGH`] errors are taken to get worse as a random walk does, with the root of the step.
pub(crate) fn measured(errors: &[Vec<f64>], horizon: usize) -> Vec<f64> {
    let mut deviations = Vec::with_capacity(horizon);
    let (mut widest, mut last_step) = (0.0_f64, 1);
    for step in 1..=horizon {
        match errors.get(step - 1).filter(|errors| errors.len() >= ENOUGH) {
            Some(errors) => {
                widest = widest.max(root_mean_square(errors));
                last_step = step;
                deviations.push(widest);
            }
            None => deviations.push(widest * (step as f64 / last_step as f64).sqrt()),
        }
    }
    deviations
}

/// `√(Σ error² / count)`.
pub(crate) fn root_mean_square(errors: &[f64]) -> f64 {
    deviation(errors.iter().copied(), errors.len())
}

/// `√(Σ error² / free)`, without overflow where the result is a number.
pub(crate) fn deviation(errors: impl Iterator<Item = f64> + Clone, free: usize) -> f64 {
    let largest = errors.clone().fold(0.0_f64, |largest, error| largest.max(error.abs()));
    if largest == 0.0 {
        return 0.0;
    }
    let squares: f64 = errors.map(|error| (error / largest) * (error / largest)).sum();
    largest * (squares / free.max(1) as f64).sqrt()
}

/// The value below which a normal variable lies with this probability: algorithm AS 241 (PPND16) of Wichura,
/// Applied Statistics 37 (1988), 477-484, good to about 16 digits.
pub(crate) fn quantile(probability: f64) -> f64 {
    let from_middle = probability - 0.5;
    if from_middle.abs() <= 0.425 {
        return from_middle * ratio(0.180_625 - from_middle * from_middle, &MIDDLE);
    }
    let tail = if from_middle < 0.0 { probability } else { 1.0 - probability };
    let far = (-ln(tail)).sqrt();
    let distance = if far <= 5.0 { ratio(far - 1.6, &TAIL) } else { ratio(far - 5.0, &FAR_TAIL) };
    distance.copysign(from_middle)
}

/// Of two polynomials, whose coefficients begin with the constant.
fn ratio(at: f64, [over, under]: &[[f64; 8]; 2]) -> f64 {
    let value = |coefficients: &[f64; 8]| coefficients.iter().rev().fold(0.0, |sum, c| sum * at + c);
    value(over) / value(under)
}

const MIDDLE: [[f64; 8]; 2] = [
    [
        3.387_132_872_796_366_6,
        133.141_667_891_784_38,
        1_971.590_950_306_551_3,
        13_731.693_765_509_46,
        45_921.953_931_549_87,
        67_265.770_927_008_7,
        33_430.575_583_588_13,
        2_509.080_928_730_122_7,
    ],
    [
        1.0,
        42.313_330_701_600_91,
        687.187_007_492_057_9,
        5_394.196_021_424_751,
        21_213.794_301_586_597,
        39_307.895_800_092_71,
        28_729.085_735_721_943,
        5_226.495_278_852_854,
    ],
];

const TAIL: [[f64; 8]; 2] = [
    [
        1.423_437_110_749_683_6,
        4.630_337_846_156_546,
        5.769_497_221_460_691,
        3.647_848_324_763_204_6,
        1.270_458_252_452_368_4,
        0.241_780_725_177_450_6,
        0.022_723_844_989_269_184,
        7.745_450_142_783_414e-4,
    ],
    [
        1.0,
        2.053_191_626_637_759,
        1.676_384_830_183_803_8,
        0.689_767_334_985_1,
        0.148_103_976_427_480_08,
        0.015_198_666_563_616_457,
        5.475_938_084_995_345e-4,
        1.050_750_071_644_416_9e-9,
    ],
];

const FAR_TAIL: [[f64; 8]; 2] = [
    [
        6.657_904_643_501_103,
        5.463_784_911_164_114,
        1.784_826_539_917_291_3,
        0.296_560_571_828_504_87,
        0.026_532_189_526_576_124,
        0.001_242_660_947_388_078_4,
        2.711_555_568_743_487_6e-5,
        2.010_334_399_292_288_1e-7,
    ],
    [
        1.0,
        0.599_832_206_555_887_9,
        0.136_929_880_922_735_8,
        0.014_875_361_290_850_615,
        7.868_691_311_456_133e-4,
        1.846_318_317_510_054_8e-5,
        1.421_511_758_316_446e-7,
        2.044_263_103_389_939_8e-15,
    ],
];

#[cfg(test)]
mod tests {
    use super::*;

    /// `scipy.stats.norm.ppf` of scipy.
    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (probability, expected) in [
            (0.5, 0.0),
            (0.75, 0.674_489_750_196_081_7),
            (0.9, 1.281_551_565_544_600_4),
            (0.95, 1.644_853_626_951_472_2),
            (0.975, 1.959_963_984_540_054),
            (0.001, -3.090_232_306_167_813_5),
            (1e-20, -9.262_340_089_798_41),
        ] {
            let got = quantile(probability);
            assert!((got - expected).abs() < 1e-13, "{probability}: {got}");
        }
    }

    #[test]
    fn a_step_that_was_not_measured_widens_as_a_random_walk() {
        let errors = vec![vec![1.0; ENOUGH], vec![2.0; ENOUGH], vec![1.0; ENOUGH], vec![9.0]];
        let got = measured(&errors, 12);
        assert_eq!(got[..3], [1.0, 2.0, 2.0]);
        assert!((got[11] - 2.0 * 2.0).abs() < 1e-12);
    }

    #[test]
    fn too_short_is_what_says_so() {
        assert!(is_too_short(&at_least("drift", 2, 3).unwrap_err()));
        let large = forecast("drift", vec![f64::INFINITY], &[1.0], 0.9).unwrap_err();
        assert!(large.code() == codes::PREDICTOR_DATA && !is_too_short(&large));
    }

    #[test]
    fn errors_whose_squares_overflow_have_a_spread() {
        assert!((root_mean_square(&[3e200, -4e200]) / 12.5_f64.sqrt() - 1e200).abs() < 1e186);
    }
}
