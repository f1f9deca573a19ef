//! Whether a series grows: the least-squares line through it, over its whole length.
//!
//! An overload is noisy, so neither its last value nor its highest says much. The line does: a leak of a KiB a second
//! is 540 KiB over nine minutes, however much the values move around it.

/// Growth that is none: so much of the level, or so much at all, whichever is more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tolerance {
    pub(super) share: f64,
    pub(super) least: f64,
}

/// What a series did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Growth {
    /// Its mean.
    pub(super) level: f64,
    /// Its highest value.
    pub(super) highest: f64,
    /// By how much the line rises from its begin to its end; negative when it falls.
    pub(super) rise: f64,
}

impl Growth {
    /// Of values taken at equal distances; nothing at all of fewer than two.
    pub(super) fn of(values: &[f64]) -> Self {
        let count = values.len() as f64;
        if values.len() < 2 {
            let only = values.first().copied().unwrap_or(0.0);
            return Self { level: only, highest: only, rise: 0.0 };
        }
        let level = values.iter().sum::<f64>() / count;
        let middle = (count - 1.0) / 2.0;
        let along = |(at, value): (usize, &f64)| (at as f64 - middle) * (value - level);
        let covariance: f64 = values.iter().enumerate().map(along).sum();
        let variance: f64 = (0..values.len()).map(|at| (at as f64 - middle).powi(2)).sum();
        let highest = values.iter().copied().fold(f64::MIN, f64::max);
        Self { level, highest, rise: covariance / variance * (count - 1.0) }
    }

    /// Whether it stays within the tolerance.
    pub(super) fn is_none(&self, tolerance: Tolerance) -> bool {
        self.rise <= (self.level * tolerance.share).max(tolerance.least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_leak_shows_through_noise_ten_times_its_size() {
        let noise = |at: usize| f64::from((at as u32).wrapping_mul(2_654_435_761) >> 22);
        let flat: Vec<f64> = (0..540).map(|at| 50_000.0 + noise(at)).collect();
        let leak: Vec<f64> = flat.iter().enumerate().map(|(at, value)| value + 6.0 * at as f64).collect();
        let tolerance = Tolerance { share: 0.01, least: 2_048.0 };
        assert!(Growth::of(&flat).is_none(tolerance), "{:?}", Growth::of(&flat));
        assert!(!Growth::of(&leak).is_none(tolerance), "{:?}", Growth::of(&leak));
        assert!((Growth::of(&leak).rise - Growth::of(&flat).rise - 6.0 * 539.0).abs() < 1.0);
    }

    #[test]
    fn a_fall_and_a_single_value_are_no_growth() {
        let none = Tolerance { share: 0.0, least: 0.0 };
        assert!(Growth::of(&[3.0, 2.0, 1.0]).is_none(none));
        assert_eq!(Growth::of(&[7.0]), Growth { level: 7.0, highest: 7.0, rise: 0.0 });
        assert_eq!(Growth::of(&[]).highest, 0.0);
    }
}
