//! Axes: from figures to places on paper, and the marks beside them.

/// How figures are spread over an axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scale {
    /// Evenly, from 0.
    Linear,
    /// By their logarithm.
    Log,
    /// Quantiles by how rare what lies beyond them is, as HdrHistogram plots them.
    Quantile,
}

/// An axis that holds all of its figures.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
}

/// The rarest that a quantile axis shows: 99.99 %.
const RAREST: f64 = 1e-4;

impl Axis {
    /// An axis for these figures. A log axis leaves out what is not positive.
    #[must_use]
    pub fn new(scale: Scale, figures: impl Iterator<Item = f64>) -> Self {
        let usable = figures.filter(|f| f.is_finite() && (scale != Scale::Log || *f > 0.0));
        let (low, high) =
            usable.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), f| (low.min(f), high.max(f)));
        let empty = low > high;
        match scale {
            Scale::Linear => {
                Self { scale, low: 0.0, high: if empty || high <= 0.0 { 1.0 } else { high * 1.05 } }
            }
            Scale::Log if empty => Self { scale, low: 1.0, high: 10.0 },
            Scale::Log => Self { scale, low: below(low), high: above(high).max(below(low) * 10.0) },
            Scale::Quantile => Self { scale, low: 0.0, high: 1.0 - RAREST },
        }
    }

    /// Where a figure is, 0 at the low end, 1 at the high end; what is beyond an end is at it.
    #[must_use]
    pub fn place(&self, figure: f64) -> f64 {
        let share = match self.scale {
            Scale::Linear => figure / self.high,
            Scale::Log => (figure.max(self.low) / self.low).ln() / (self.high / self.low).ln(),
            Scale::Quantile => (1.0 - figure).max(RAREST).ln() / RAREST.ln(),
        };
        share.clamp(0.0, 1.0)
    }

    /// Marks: figures and what stands beside them; 3 to 10 of them.
    #[must_use]
    pub fn marks(&self) -> Vec<(f64, String)> {
        match self.scale {
            Scale::Linear => {
                let step = nice_step(self.high / 5.0);
                let count = (self.high / step).floor() as u32;
                (0..=count).map(|n| f64::from(n) * step).map(|f| (f, label(f))).collect()
            }
            Scale::Log => self.log_marks(),
            Scale::Quantile => {
                let marks = [(0.5, "50 %"), (0.9, "90 %"), (0.99, "99 %"), (0.999, "99.9 %")];
                marks.into_iter().map(|(f, text)| (f, text.to_owned())).collect()
            }
        }
    }

    /// Powers of ten; with halves and doubles where there are few, every other where there are many.
    fn log_marks(&self) -> Vec<(f64, String)> {
        let decades = (self.high / self.low).log10();
        let (steps, every): (&[f64], i32) = match decades {
            d if d <= 2.0 => (&[1.0, 2.0, 5.0], 1),
            d if d <= 6.0 => (&[1.0], 1),
            _ => (&[1.0], 2),
        };
        let first = self.low.log10().floor() as i32;
        let last = self.high.log10().ceil() as i32;
        let powers = (first..=last).filter(|power| (power - first) % every == 0);
        let figures = powers.flat_map(|power| steps.iter().map(move |step| step * 10_f64.powi(power)));
        let inside = figures.filter(|f| *f >= self.low * 0.999 && *f <= self.high * 1.001);
        inside.map(|f| (f, label(f))).collect()
    }
}

/// The next of 1, 2, 5 times a power of ten, downwards and upwards.
fn below(figure: f64) -> f64 {
    let power = 10_f64.powf(figure.log10().floor());
    let step = [5.0, 2.0, 1.0].into_iter().find(|step| step * power <= figure * 1.000_001).unwrap_or(1.0);
    step * power
}

fn above(figure: f64) -> f64 {
    let power = 10_f64.powf(figure.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().find(|step| step * power >= figure * 0.999_999);
    step.unwrap_or(10.0) * power
}

fn nice_step(rough: f64) -> f64 {
    above(rough)
}

/// A figure beside an axis, as short as can be.
fn label(figure: f64) -> String {
    match figure {
        f if f >= 1_000_000.0 => format!("{}M", trimmed(f / 1_000_000.0)),
        f if f >= 1_000.0 => format!("{}k", trimmed(f / 1_000.0)),
        f => trimmed(f),
    }
}

fn trimmed(figure: f64) -> String {
    let text = format!("{figure:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: Scale, figures: &[f64]) -> Vec<String> {
        Axis::new(scale, figures.iter().copied()).marks().into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn marks_are_round_figures() {
        assert_eq!(labels(Scale::Linear, &[50.0, 200.0]), ["0", "50", "100", "150", "200"]);
        assert_eq!(labels(Scale::Linear, &[0.3]), ["0", "0.1", "0.2", "0.3"]);
        assert_eq!(labels(Scale::Log, &[3.0, 90.0]), ["2", "5", "10", "20", "50", "100"]);
        assert_eq!(labels(Scale::Log, &[0.2, 2_500.0]), ["1", "10", "100", "1k"]);
        assert_eq!(labels(Scale::Linear, &[]), ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
    }

    #[test]
    fn every_figure_is_on_the_paper() {
        for (scale, figures) in [
            (Scale::Linear, vec![0.0, 1.0, 7.0]),
            (Scale::Log, vec![0.0, -1.0, 0.004, 12.0, 80_000.0]),
            (Scale::Log, vec![]),
            (Scale::Log, vec![5.0]),
            (Scale::Quantile, vec![0.0, 0.5, 0.999_999, 1.0]),
        ] {
            let axis = Axis::new(scale, figures.iter().copied());
            let places: Vec<f64> = figures.iter().map(|f| axis.place(*f)).collect();
            assert!(places.iter().all(|place| (0.0..=1.0).contains(place)), "{places:?}");
            assert!(places.is_sorted() || scale == Scale::Log, "{places:?}");
        }
        let quantiles = Axis::new(Scale::Quantile, std::iter::empty());
        assert!((quantiles.place(0.99) - 0.5).abs() < 1e-9);
    }
}
