//! How time grows, on generated runs.

use tributary_engine::{Cost, Method, Model, Request, Sets, Sink, SinkError, stream};
use tributary_model::SetAttributions;

use crate::Failure;
use crate::definition::DefinitionArgs;
use crate::generated::{Alive, Size};
use crate::median::median;

#[derive(Debug, clap::Args)]
pub(crate) struct GrowthArgs {
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    #[arg(long, default_value_t = 1)]
    pub(crate) threads: usize,
    #[command(flatten)]
    definition: DefinitionArgs,
}

const BASE: Size = Size {
    n_blocks: 2,
    d_model: 128,
    components: 650,
    vocab: 1000,
    positions: 48,
    sets: 4,
    alive: Alive { mlp: 12, o_proj: 4, qkv: 2 },
};

pub(crate) fn run(args: &GrowthArgs) -> Result<(), Failure> {
    println!(
        "generated runs on flex, {} threads, {:?}, median of {} rounds\n",
        args.threads,
        args.definition.forward(),
        args.rounds
    );
    let sets = [1, 2, 4, 8, 16, 32, 64].map(|sets| (sets, Size { sets, ..BASE }));
    series("sets", &sets, args)?;
    let positions = [16, 32, 64, 128, 256, 512].map(|positions| (positions, Size { positions, sets: 1, ..BASE }));
    series("positions", &positions, args)?;
    let alive = [1, 2, 4, 8, 16].map(|times| {
        let Alive { mlp, o_proj, qkv } = BASE.alive;
        let alive = Alive { mlp: times * mlp, o_proj: times * o_proj, qkv: times * qkv };
        (times, Size { alive, ..BASE })
    });
    series("alive components, times", &alive, args)
}

/// What one size costs.
struct Point {
    x: f64,
    edges: f64,
    /// Of them, from keys and values.
    crossing: f64,
    attribution: f64,
    attention: f64,
    rest: f64,
}

fn series(name: &str, sizes: &[(usize, Size)], args: &GrowthArgs) -> Result<(), Failure> {
    println!(
        "{name:>24}  {:>11}  {:>11}  {:>12}  {:>12}  {:>12}",
        "edges", "k, v -> o", "attribution", "attention", "rest"
    );
    let mut points = Vec::new();
    for &(x, size) in sizes {
        let point = measure(x as f64, size, args)?;
        println!(
            "{x:>24}  {:>11}  {:>11}  {:>9.2} ms  {:>9.2} ms  {:>9.2} ms",
            point.edges,
            point.crossing,
            1e3 * point.attribution,
            1e3 * point.attention,
            1e3 * point.rest
        );
        points.push(point);
    }
    // Small sizes are overhead: the exponents are those of the larger half.
    let larger = &points[points.len() / 2..];
    let exponent = |x: fn(&Point) -> f64, y: fn(&Point) -> f64| slope(larger.iter().map(|point| (x(point), y(point))));
    println!(
        "exponents by {name}: edges {:.2}, attribution {:.2}, attention {:.2}, rest {:.2}; attribution by edges {:.2}\n",
        exponent(|p| p.x, |p| p.edges),
        exponent(|p| p.x, |p| p.attribution),
        exponent(|p| p.x, |p| p.attention),
        exponent(|p| p.x, |p| p.rest),
        exponent(|p| p.edges, |p| p.attribution),
    );
    Ok(())
}

fn measure(x: f64, size: Size, args: &GrowthArgs) -> Result<Point, Failure> {
    let weights = size.weights();
    let model = Model::upload(tributary_flex::f32(), weights.clone())?;
    let sets = size.ci_sets(&weights.architecture.linear_layers().collect::<Vec<_>>());
    let (forward, thresholds) = (args.definition.forward(), args.definition.thresholds());
    let request = Request { method: Method::ClosedForm, forward, thresholds, ..Request::new(Sets::Given(&sets)) };
    let mut counter = Counter::default();
    let mut costs: Vec<Cost> = Vec::new();
    for _ in 0..=args.rounds {
        counter = Counter::default();
        costs.push(stream(&model, &request, &mut counter, &mut |_| {})?);
    }
    let of = |stage: fn(&Cost) -> f64| median(costs[1..].iter().map(stage).collect());
    Ok(Point {
        x,
        edges: counter.edges as f64,
        crossing: counter.crossing as f64,
        attribution: of(|cost| cost.timings.attribution),
        attention: of(|cost| cost.timings.stages.attention),
        rest: of(|cost| cost.timings.stages.residual + cost.timings.stages.elementwise),
    })
}

/// Counts edges.
#[derive(Default)]
struct Counter {
    edges: usize,
    crossing: usize,
}

impl Sink<f32> for Counter {
    fn begin(&mut self, _set: usize, graph: SetAttributions<f32>) -> Result<(), SinkError> {
        for pair in &graph.pairs {
            self.edges += pair.edge_count();
            self.crossing += if pair.pair.crosses_positions { pair.edge_count() } else { 0 };
        }
        Ok(())
    }

    fn values(&mut self, _set: usize, _pair: usize, _values: &[f32]) -> Result<(), SinkError> {
        Ok(())
    }

    fn end(&mut self, _set: usize) -> Result<(), SinkError> {
        Ok(())
    }
}

/// Slope of the straight line through the logarithms, by least squares.
fn slope(points: impl Iterator<Item = (f64, f64)>) -> f64 {
    let points: Vec<(f64, f64)> = points.map(|(x, y)| (x.ln(), y.ln())).collect();
    let count = points.len() as f64;
    let (x_mean, y_mean) =
        (points.iter().map(|p| p.0).sum::<f64>() / count, points.iter().map(|p| p.1).sum::<f64>() / count);
    let covariance: f64 = points.iter().map(|(x, y)| (x - x_mean) * (y - y_mean)).sum();
    let variance: f64 = points.iter().map(|(x, _)| (x - x_mean).powi(2)).sum();
    covariance / variance
}

#[cfg(test)]
mod tests {
    use super::slope;

    #[test]
    fn a_square_has_the_exponent_2() {
        assert!((slope([1.0, 2.0, 4.0, 7.0].map(|x: f64| (x, 3.0 * x * x)).into_iter()) - 2.0).abs() < 1e-12);
    }
}
