//! Axes: which number stands where.

/// How numbers are spread along an axis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AxisScale {
    /// Equal differences are equally long.
    #[default]
    Linear,
    /// Equal ratios are.
    Logarithmic,
}

impl AxisScale {
    /// What shows most of numbers: logarithmic where all are above 0 and the largest is more than so many times the smallest.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        const FAR: f64 = 30.0;
        let mut values = values.into_iter().filter(|value| value.is_finite());
        let ends = values.try_fold((f64::INFINITY, 0.0), |(least, most): (f64, f64), value| {
            (value > TINY).then(|| (least.min(value), most.max(value)))
        });
        match ends {
            Some((least, most)) if most / FAR > least => Self::Logarithmic,
            _ => Self::Linear,
        }
    }
}

/// An axis of a [`Panel`](super::Panel). It reaches as far as the panel's points.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Axis {
    /// What its numbers are, with their unit; may be empty.
    pub label: String,
    /// How they are spread.
    pub scale: AxisScale,
    /// Numbers that it reaches beside those of the points.
    pub including: Option<[f64; 2]>,
}

/// Beyond this a number is none that is drawn, and nearer to 0 than its inverse it is 0.
const HUGE: f64 = 1e300;
const TINY: f64 = 1e-300;

impl Axis {
    /// Of numbers of any sign.
    pub fn linear(label: impl Into<String>) -> Self {
        Self { label: label.into(), scale: AxisScale::Linear, including: None }
    }

    /// Of numbers above 0.
    pub fn logarithmic(label: impl Into<String>) -> Self {
        Self { label: label.into(), scale: AxisScale::Logarithmic, including: None }
    }

    /// Reaching from one number to the other at least.
    #[must_use]
    pub fn including(self, least: f64, most: f64) -> Self {
        Self { including: Some([least, most]), ..self }
    }

    /// Whether a number stands anywhere.
    pub(super) fn has(&self, value: f64) -> bool {
        match self.scale {
            AxisScale::Linear => value.abs() < HUGE,
            AxisScale::Logarithmic => value > TINY && value < HUGE,
        }
    }

    /// Where a number stands among those of the axis, in units of its own.
    fn height(&self, value: f64) -> f64 {
        match self.scale {
            AxisScale::Linear => value,
            AxisScale::Logarithmic => value.log10(),
        }
    }
}

/// An axis with its ends.
pub(super) struct Placed<'a> {
    axis: &'a Axis,
    /// The least and largest number, as heights.
    ends: [f64; 2],
    /// Where these stand.
    pixels: [f64; 2],
}

impl<'a> Placed<'a> {
    /// Of numbers that the axis has.
    pub(super) fn new(axis: &'a Axis, values: impl Iterator<Item = f64>, pixels: [f64; 2]) -> Self {
        let including = axis.including.into_iter().flatten().filter(|&value| axis.has(value));
        let heights = values.chain(including).map(|value| axis.height(value));
        let ends = heights
            .fold([f64::INFINITY, f64::NEG_INFINITY], |[least, most], height| [least.min(height), most.max(height)]);
        // The size of what cannot be told apart: of logarithms it is that of ratios.
        let least_size = if axis.scale == AxisScale::Logarithmic { 1.0 } else { 0.0 };
        Self { axis, ends: widened(ends, least_size), pixels }
    }

    /// Where a number stands, if anywhere.
    pub(super) fn at(&self, value: f64) -> Option<f64> {
        let [least, most] = self.ends;
        let share = (self.axis.height(value) - least) / (most - least);
        self.axis.has(value).then(|| self.pixels[0] + share * (self.pixels[1] - self.pixels[0]))
    }

    /// Round numbers along it, hardly more than `most`, each with its place.
    pub(super) fn ticks(&self, most: usize) -> Vec<(f64, String)> {
        let placed = |(value, text): (f64, String)| Some((self.at(value)?, text));
        let ticks = match self.axis.scale {
            AxisScale::Linear => linear(self.ends, most),
            AxisScale::Logarithmic => logarithmic(self.ends, most),
        };
        ticks.into_iter().filter_map(placed).collect()
    }
}

/// Ends that are apart, whatever they were.
fn widened([least, most]: [f64; 2], least_size: f64) -> [f64; 2] {
    if least > most {
        return [0.0, 1.0];
    }
    let size = least.abs().max(most.abs()).max(least_size);
    // Nearer than this they cannot be told apart in a number of usual length.
    if most - least > 1e-9 * size && most - least > TINY {
        return [least, most];
    }
    let by = if size > TINY { 0.1 * size } else { 1.0 };
    [least - by, most + by]
}

/// Multiples of 1, 2 or 5 times a power of ten.
fn linear([least, most]: [f64; 2], count: usize) -> Vec<(f64, String)> {
    let smallest = (most - least) / count as f64;
    let power = smallest.log10().floor();
    let unit = 10.0_f64.powf(power);
    // What rounding takes from a step that is just long enough.
    let step = [1.0, 2.0, 5.0].map(|times| times * unit).into_iter().find(|step| *step >= 0.999_999 * smallest);
    let step = step.unwrap_or(10.0 * unit);
    let [first, last] = [(least / step - 1e-6).ceil(), (most / step + 1e-6).floor()];
    let numbers = (0..=count + 1).map(|index| first + index as f64).take_while(|&number| number <= last);
    let size = least.abs().max(most.abs());
    numbers.map(|number| (number * step, tick(number * step, step, size))).collect()
}

/// Between the least and the largest of all numbers above 0.
const MOST_POWERS: i32 = 640;

/// Powers of ten, every second or third of them and so on if need be; between few of them their multiples.
fn logarithmic(ends: [f64; 2], count: usize) -> Vec<(f64, String)> {
    let powers = |step: i32| {
        let [first, last] = [(ends[0] / f64::from(step) - 1e-6).ceil(), (ends[1] / f64::from(step) + 1e-6).floor()];
        (first as i32..=last as i32).map(move |power| power * step)
    };
    let inside = |value: f64| (ends[0] - 1e-6..=ends[1] + 1e-6).contains(&value.log10());
    let mut found: Vec<f64> = Vec::new();
    for times in [&[1.0, 2.0, 5.0][..], &[1.0, 3.0], &[1.0]] {
        let below = ends[0].floor() as i32;
        let of_power = |power: i32| times.iter().map(move |times| times * 10.0_f64.powi(power));
        found = (below..=ends[1].ceil() as i32).flat_map(of_power).filter(|&value| inside(value)).collect();
        if found.len() <= count + 1 {
            break;
        }
    }
    if found.len() > count + 1 {
        let step = (1..=MOST_POWERS).find(|&step| powers(step).count() <= count + 1).unwrap_or(MOST_POWERS);
        found = powers(step).map(|power| 10.0_f64.powi(power)).collect();
    }
    if found.len() < 2 {
        // Less than from one to the next: round numbers of what there is.
        let [least, most] = ends.map(|end| 10.0_f64.powf(end));
        return linear([least, most], count).into_iter().filter(|&(value, _)| inside(value)).collect();
    }
    found.into_iter().map(|value| (value, tick(value, value, value))).collect()
}

/// A number of an axis, told apart from others that are `step` away; `size` is the largest.
fn tick(value: f64, step: f64, size: f64) -> String {
    let power = |value: f64| (value.log10() + 1e-9).floor() as i32;
    let decimals = usize::try_from(-power(step)).unwrap_or(0);
    if value == 0.0 {
        return "0".to_owned();
    }
    // Longer than the power of ten would be.
    if size >= 1e7 || decimals > 4 {
        let digits = usize::try_from(power(value.abs()) - power(step)).unwrap_or(0);
        return format!("{value:.digits$e}");
    }
    let text = format!("{value:.decimals$}");
    match text.strip_prefix('-') {
        Some(digits) => format!("-{}", with_commas(digits)),
        None => with_commas(&text),
    }
}

fn with_commas(digits: &str) -> String {
    let (whole, rest) = digits.split_at(digits.find('.').unwrap_or(digits.len()));
    let mut text = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(axis: &Axis, values: &[f64], most: usize) -> Vec<String> {
        let placed = Placed::new(axis, values.iter().copied(), [0.0, 100.0]);
        placed.ticks(most).into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn ticks_are_round() {
        let linear = Axis::linear("");
        assert_eq!(ticks(&linear, &[0.0, 1.0], 5), ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(ticks(&linear, &[0.0, 1999.0], 4), ["0", "500", "1,000", "1,500"]);
        assert_eq!(ticks(&linear, &[-3.0, 4.5], 4), ["-2", "0", "2", "4"]);
        assert_eq!(ticks(&linear, &[2e-7, 9e-7], 4), ["2e-7", "4e-7", "6e-7", "8e-7"]);
        let logarithmic = Axis::logarithmic("");
        assert_eq!(ticks(&logarithmic, &[0.002, 300.0], 5), ["0.01", "0.1", "1", "10", "100"]);
        assert_eq!(ticks(&logarithmic, &[1e-12, 300.0], 5), ["1e-12", "1e-9", "1e-6", "0.001", "1"]);
        assert_eq!(ticks(&logarithmic, &[3.0, 60.0], 5), ["5", "10", "20", "50"]);
        assert_eq!(ticks(&logarithmic, &[310.0, 340.0], 5), ["310", "320", "330", "340"]);
    }

    /// Whatever the numbers are, there is an axis, with few ticks that differ.
    #[test]
    fn there_is_always_an_axis() {
        let odd: [&[f64]; 9] = [
            &[],
            &[0.0],
            &[7.0, 7.0],
            &[1.0, 1.0 + f64::EPSILON],
            &[-9e299, 9e299],
            &[5e-324, 1e-323],
            &[1e-299, 1e299],
            &[123_456.0, 123_456.001],
            &[-1e-5, 1e5],
        ];
        for values in odd {
            for axis in [Axis::linear(""), Axis::logarithmic("")] {
                let values: Vec<f64> = values.iter().copied().filter(|&value| axis.has(value)).collect();
                let placed = Placed::new(&axis, values.iter().copied(), [0.0, 100.0]);
                for &value in &values {
                    assert!(placed.at(value).is_some_and(|at| (0.0..=100.0).contains(&at)), "{values:?} {value}");
                }
                let found = ticks(&axis, &values, 5);
                assert!((1..=7).contains(&found.len()), "{values:?}: {found:?}");
                assert!(found.windows(2).all(|pair| pair[0] != pair[1]), "{values:?}: {found:?}");
            }
        }
    }

    #[test]
    fn what_spans_ratios_is_logarithmic() {
        assert_eq!(AxisScale::of([1.0, 2.0, f64::NAN]), AxisScale::Linear);
        assert_eq!(AxisScale::of([0.01, 2.0, f64::INFINITY]), AxisScale::Logarithmic);
        assert_eq!(AxisScale::of([0.0, 0.01, 2.0]), AxisScale::Linear);
        assert_eq!(AxisScale::of([]), AxisScale::Linear);
    }
}
