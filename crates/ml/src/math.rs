//! Exponentials, logarithms and the like, of which every bit is the same on each machine.
//!
//! Those of `std` ask the C library of the system. Their last bit differs from system to system, from version to
//! version, and with glibc from processor to processor, as it looks at run time whether there is an instruction that
//! multiplies and adds at once; where an argument is known, the compiler asks the machine that it runs on. Those of
//! `libm` are Rust that adds and multiplies in one order. `clippy.toml` of this crate refuses those of `std`, and
//! `powi` too, which may be multiplied in any order. (Roots, and what rounds, are exact everywhere.)

pub(crate) use libm::{exp, exp2, hypot, log as ln, log1p as ln_1p, log10, pow};

pub(crate) fn square(value: f64) -> f64 {
    value * value
}

pub(crate) fn cube(value: f64) -> f64 {
    value * value * value
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bits themselves: another version of `libm` may round in another way, and then every record changes.
    #[test]
    fn the_last_bits_are_these() {
        let found = [exp(0.1), exp(-7.3), exp2(-0.3), ln(0.1), ln(7.3), ln_1p(0.1)];
        let expected: [u64; 6] = [
            0x3ff1_aec7_b35a_00d4,
            0x3f46_22d4_792b_6a8d,
            0x3fe9_fdf8_bcce_533e,
            0xc002_6bb1_bbb5_5515,
            0x3fff_ce55_551e_156e,
            0x3fb8_663f_793c_46c7,
        ];
        assert_eq!(found.map(f64::to_bits), expected);
        for (ours, other) in
            [(exp(-7.3), (-7.3_f64).exp()), (ln(7.3), 7.3_f64.ln()), (exp2(0.7), 0.7_f64.exp2())]
        {
            assert!((ours / other - 1.0).abs() < 1e-15, "{ours} {other}");
        }
    }
}
