//! Numbers judged by their value: a float that is exactly a whole number is that integer. JavaScript's encoders write
//! integers from 2³² on as floats, and Lua has no other numbers.

/// Floats from here on leave out integers: 2⁵³ for 64 bits, 2²⁴ for 32 bits. A number read as one of them may have been
/// written as its neighbour.
const FLOAT64_EXACT_BELOW: f64 = 9_007_199_254_740_992.0;
const FLOAT32_EXACT_BELOW: f32 = 16_777_216.0;
/// 2⁶⁴: no count or clock is as great.
const U64_END: f64 = 18_446_744_073_709_551_616.0;

/// Reason why a number is not the wanted integer, as a predicate: "is not a whole number".
pub(crate) type Reason = &'static str;

pub(crate) const OUT_OF_RANGE: Reason = "is out of range";

/// The integer that a 64-bit float is.
pub(crate) fn integer_of_f64(number: f64) -> Result<i64, Reason> {
    if number.is_nan() {
        Err("is not a number")
    } else if number.is_infinite() {
        Err(OUT_OF_RANGE)
    } else if number.fract() != 0.0 {
        Err("is not a whole number")
    } else if number.abs() >= FLOAT64_EXACT_BELOW {
        Err("is a float from 2^53 on, which may have lost its last digits, and not an integer")
    } else {
        Ok(number as i64)
    }
}

/// The integer that a 32-bit float is.
pub(crate) fn integer_of_f32(number: f32) -> Result<i64, Reason> {
    if number.is_finite() && number.abs() >= FLOAT32_EXACT_BELOW {
        return Err("is a 32-bit float from 2^24 on, which may have lost its last digits, and not an integer");
    }
    integer_of_f64(f64::from(number))
}

/// The clock that a 64-bit float stands for. From 2⁵³ on it may have lost its low bits, so it is rounded up by half the
/// distance to the next float: then it is at least the clock that was meant, and a clock may be too great, but not too
/// small.
pub(crate) fn clock_of_f64(number: f64) -> Result<u64, Reason> {
    if number.is_finite() && number >= FLOAT64_EXACT_BELOW {
        if number >= U64_END {
            return Err(OUT_OF_RANGE);
        }
        let half_spacing = (number.next_up() - number) as u64 / 2;
        return Ok((number as u64).saturating_add(half_spacing));
    }
    u64::try_from(integer_of_f64(number)?).map_err(|_| OUT_OF_RANGE)
}

/// Reason why a 32-bit float is no clock, whatever its value.
pub(crate) const NO_CLOCK_OF_F32: Reason =
    "is a 32-bit float, which loses most of a clock, and neither an integer nor a 64-bit float";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_float_is_the_integer_that_it_exactly_is() {
        for (number, integer) in [(0.0, 0), (-0.0, 0), (42.0, 42), (-3.0, -3), (4_294_967_296.0, 1 << 32)] {
            assert_eq!(integer_of_f64(number), Ok(integer));
        }
        assert_eq!(integer_of_f64(FLOAT64_EXACT_BELOW - 1.0), Ok((1 << 53) - 1));
        assert_eq!((integer_of_f32(7.0), integer_of_f32(16_777_215.0)), (Ok(7), Ok(16_777_215)));
    }

    #[test]
    fn a_float_that_is_no_integer_is_told_why() {
        for (number, reason) in [
            (f64::NAN, "is not a number"),
            (f64::INFINITY, "is out of range"),
            (1.5, "is not a whole number"),
            (FLOAT64_EXACT_BELOW, "from 2^53 on"),
            (-1e300, "from 2^53 on"),
        ] {
            assert!(integer_of_f64(number).unwrap_err().contains(reason), "{number}");
        }
        assert!(integer_of_f32(16_777_216.0).unwrap_err().contains("32-bit float from 2^24 on"));
        assert!(integer_of_f32(0.5).unwrap_err().contains("is not a whole number"));
        assert!(integer_of_f32(f32::NAN).unwrap_err().contains("is not a number"));
        for number in [1e20, -1.0, U64_END, f64::INFINITY] {
            assert_eq!(clock_of_f64(number), Err(OUT_OF_RANGE), "{number}");
        }
        assert!(clock_of_f64(0.5).unwrap_err().contains("whole") && clock_of_f64(f64::NAN).is_err());
    }

    proptest! {
        #[test]
        fn a_clock_that_was_a_float_is_never_below_the_one_that_was_meant(bits in 0u32..=64, low: u64) {
            let clock = low.checked_shr(64 - bits).unwrap_or(0);
            match clock_of_f64(clock as f64) {
                Ok(read) => {
                    prop_assert!(read >= clock);
                    prop_assert!(read - clock <= (clock >> 52).max(1) - u64::from(clock < 1 << 53), "{clock} {read}");
                }
                // Rounded to 2⁶⁴.
                Err(_) => prop_assert!(clock > u64::MAX - 2048),
            }
        }
    }
}
