//! Output probabilities, set by set.

use rayon::prelude::*;
use tributary_backend::{AttributionBackend, BackendError, Element};
use tributary_model::{AliveEntries, Thresholds, reaching};

use crate::exponential::exp;
use crate::lanes::{self, dot_shifted, largest, sum};
use crate::last::Last;

/// Logits of one set on the host.
pub(crate) struct Logits<T, E> {
    /// `[positions, vocab]`
    values: Vec<E>,
    /// What was unembedded, of one item.
    last: Last<T>,
    vocab: usize,
}

/// What the logits of one set become.
pub(crate) struct SetOutput<E> {
    /// Their softmax, `[positions, vocab]` in row-major order.
    pub(crate) probs: Vec<E>,
    /// The tokens whose probability is at least the threshold.
    pub(crate) alive: AliveEntries,
    /// Logit of each of these.
    pub(crate) logits: Vec<E>,
    /// Likeliest token, by position; of equals the first.
    pub(crate) likeliest: Vec<u32>,
    /// Cross-entropy in nats relative to the reference, by position.
    pub(crate) cross_entropy: Vec<f64>,
}

impl<E> SetOutput<E> {
    /// Leaves no entries after a position.
    pub(crate) fn cut(&mut self, last: usize) {
        self.alive = self.alive.until(last);
        self.logits.truncate(self.alive.len());
    }
}

impl<T: Clone, E: Element> Logits<T, E> {
    /// The logits of one set; `last` is what is unembedded of all.
    pub(crate) fn compute<B: AttributionBackend<Tensor = T, Element = E>>(
        b: &B,
        last: &Last<T>,
        set: usize,
    ) -> Result<Self, BackendError> {
        let last = last.item(b, set)?;
        let [_, positions, width] = b.shape(&last.rows)[..] else { panic!("what is unembedded has three axes") };
        let rows = b.reshape(&last.rows, &[positions, width])?;
        let vocab = b.shape(&last.matrix)[0];
        let mut logits = b.matmul(&rows, &b.permute(&last.matrix, &[1, 0])?)?;
        if let Some(constant) = &last.constant {
            logits = b.add(&logits, &b.reshape(constant, &[positions, vocab])?)?;
        }
        Ok(Self { values: b.download_vec(logits)?, last, vocab })
    }

    /// `[positions, vocab]` in row-major order.
    pub(crate) fn into_values(self) -> Vec<E> {
        self.values
    }
}

/// Tokens of at least this probability have their logits computed again, as those that are alive: see
/// [`Logits::normalise`].
const LIKELY: f64 = 1.0 / 128.0;

impl<T: Clone, E: Element> Logits<T, E> {
    /// Tokens are alive where their probability passes its threshold, rounded to the element type. The cross-entropy is
    /// that of `reference`, probabilities `[positions, vocab]`; without one that of the probabilities themselves, which is
    /// their entropy.
    ///
    /// Logits are large sums of many terms, and libraries add the terms one by one: in f32, of 768 terms and a logit of 14,
    /// that may lose 1e-5, and a probability as many times its own size, where 1e-6 is wanted. So the likely tokens' logits,
    /// which are few, are summed again, in float64. The others' error is a hundredth of theirs.
    pub(crate) fn normalise<B: AttributionBackend<Tensor = T, Element = E>>(
        self,
        b: &B,
        thresholds: &Thresholds,
        reference: Option<&[E]>,
    ) -> Result<SetOutput<E>, BackendError> {
        let Self { values: mut probs, last, vocab } = self;
        let (unembedded, width) = (b.download(&last.rows)?, b.shape(&last.rows)[2]);
        let of_position = |position: usize| reference.map(|reference| &reference[position * vocab..][..vocab]);
        // What is alive with its logit summed again need not be so before: a hundredth is more than any rounding.
        let likely = LIKELY.min(0.99 * thresholds.output_prob);
        let rows: Vec<Row<E>> = probs
            .par_chunks_exact_mut(vocab)
            .enumerate()
            .map_init(Vec::new, |exponentials, (position, row)| {
                softmax(row, of_position(position), likely, exponentials)
            })
            .collect();
        let mut tokens: Vec<usize> = rows.iter().flat_map(|row| &row.likely).map(|&(token, _)| token).collect();
        tokens.sort_unstable();
        tokens.dedup();
        let constant = match &last.constant {
            Some(constant) => b.download_vec(b.select(constant, 2, &tokens)?)?,
            None => Vec::new(),
        };
        let readers = Readers { rows: b.download_vec(b.select(&last.matrix, 0, &tokens)?)?, tokens, width };
        let refined: Vec<Refined<E>> = (probs.par_chunks_exact_mut(vocab), rows)
            .into_par_iter()
            .enumerate()
            .map(|(position, (probs, row))| {
                let x = &unembedded[position * width..][..width];
                let constant = constant.get(position * readers.tokens.len()..);
                refine(probs, &row, of_position(position), (x, constant), &readers, thresholds)
            })
            .collect();
        let alive = AliveEntries::from_positions(refined.iter().map(|row| row.alive.iter().map(|&(token, _)| token)));
        let logits = refined.iter().flat_map(|row| &row.alive).map(|&(_, logit)| logit).collect();
        let (likeliest, cross_entropy) = refined.iter().map(|row| (row.likeliest, row.cross_entropy)).unzip();
        Ok(SetOutput { probs, alive, logits, likeliest, cross_entropy })
    }
}

/// What the logits `z` of one position become, beside their softmax.
struct Row<E> {
    /// The largest logit.
    largest: f64,
    /// `sum exp(z - largest)`
    sum: f64,
    /// `sum w (z - largest)`, with `w` the reference, or `exp(z - largest)` without one.
    expected: f64,
    /// Where no token is likely, the first with the largest logit.
    likeliest: u32,
    /// The likely tokens with their logits.
    likely: Vec<(usize, E)>,
}

/// The same with the logits of the likely tokens summed again.
struct Refined<E> {
    /// The tokens that reach the threshold, with their logits.
    alive: Vec<(usize, E)>,
    likeliest: u32,
    cross_entropy: f64,
}

/// Rows of the unembedding.
struct Readers<E> {
    /// Ascending.
    tokens: Vec<usize>,
    /// `[tokens, width]`
    rows: Vec<E>,
    width: usize,
}

/// Turns one position's logits into their softmax.
///
/// In float64 whatever the element type: summed one by one in float32, the thousands of terms of a vocabulary lose more
/// than the 1e-6 that a probability is wanted to, and backends would disagree on what passes a threshold.
fn softmax<E: Element>(row: &mut [E], reference: Option<&[E]>, likely: f64, exponentials: &mut Vec<f64>) -> Row<E> {
    let largest_logit = largest(row);
    let largest = largest_logit.to_f64();
    exponentials.resize(row.len(), 0.0);
    lanes::exponentials(exponentials, row, largest);
    let sum = sum(exponentials);
    let expected = match reference {
        Some(reference) => dot_shifted(reference, row, largest),
        None => dot_shifted(exponentials, row, largest),
    };
    let likely: Vec<(usize, E)> = reaching(exponentials, likely * sum).map(|token| (token, row[token])).collect();
    let unlikely = || row.iter().position(|&logit| logit == largest_logit).unwrap_or_default();
    let likeliest = if likely.is_empty() { unlikely() as u32 } else { 0 };
    let inverse = 1.0 / sum;
    for (value, exponential) in row.iter_mut().zip(exponentials) {
        *value = E::from_f64(*exponential * inverse);
    }
    Row { largest, sum, expected, likeliest, likely }
}

/// Sums the likely tokens' logits again, from what is unembedded and, if anything is, what is added to the logits of the
/// readers' tokens; and corrects their probabilities.
fn refine<E: Element>(
    probs: &mut [E],
    row: &Row<E>,
    reference: Option<&[E]>,
    (x, constant): (&[E], Option<&[E]>),
    readers: &Readers<E>,
    thresholds: &Thresholds,
) -> Refined<E> {
    let (mut sum, mut expected) = (row.sum, row.expected);
    let mut likely = Vec::with_capacity(row.likely.len());
    for &(token, logit) in &row.likely {
        let index =
            readers.tokens.binary_search(&token).unwrap_or_else(|_| unreachable!("every likely token has a row"));
        let constant = constant.and_then(|constant| constant.get(index)).map_or(0.0, |constant| constant.to_f64());
        let exact = dot_shifted(x, &readers.rows[index * readers.width..][..readers.width], 0.0) + constant;
        let (from, to) = (logit.to_f64() - row.largest, exact - row.largest);
        sum += exp(to) - exp(from);
        expected += match reference {
            Some(reference) => reference[token].to_f64() * (to - from),
            None => exp(to) * to - exp(from) * from,
        };
        likely.push((token, exact));
    }
    let mut alive = Vec::new();
    let mut likeliest = (row.likeliest, f64::NEG_INFINITY);
    for (token, exact) in likely {
        let prob = E::from_f64(exp(exact - row.largest) / sum);
        probs[token] = prob;
        if thresholds.passes(prob, E::from_f64(thresholds.output_prob)) {
            alive.push((token, E::from_f64(exact)));
        }
        if exact > likeliest.1 {
            likeliest = (token as u32, exact);
        }
    }
    if let Some(top) = thresholds.output_top {
        keep_largest(&mut alive, top);
    }
    let expected = if reference.is_some() { expected } else { expected / sum };
    Refined { alive, likeliest: likeliest.0, cross_entropy: sum.ln() - expected }
}

/// Leaves of tokens with their logits, in the order of tokens, the `count` with the largest; of equals those that come first.
fn keep_largest<E: Element>(tokens: &mut Vec<(usize, E)>, count: usize) {
    if tokens.len() > count {
        tokens.sort_by(|(_, a), (_, b)| b.to_f64().total_cmp(&a.to_f64()));
        tokens.truncate(count);
        tokens.sort_unstable_by_key(|&(token, _)| token);
    }
}
