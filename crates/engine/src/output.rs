//! Output probabilities, set by set.

use rayon::prelude::*;
use tributary_backend::{AttributionBackend, BackendError, Element};
use tributary_model::{AliveEntries, Contrast, Thresholds, reaching};

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
    /// The tokens whose probability passes the threshold, and what was asked for.
    pub(crate) alive: AliveEntries,
    /// Logit of each of these, or difference of logits.
    pub(crate) logits: Vec<E>,
    /// Probability of each of these.
    pub(crate) importance: Vec<E>,
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
        self.importance.truncate(self.alive.len());
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
    /// Tokens are alive where their probability passes its threshold, rounded to the element type, and so are the entries
    /// `wanted`, (position, component). The cross-entropy is that of `reference`, probabilities `[positions, vocab]`; without one
    /// that of the probabilities themselves, which is their entropy.
    ///
    /// Logits are large sums of many terms, and libraries add the terms one by one: in f32, of 768 terms and a logit of 14,
    /// that may lose 1e-5, and a probability as many times its own size, where 1e-6 is wanted. So the likely tokens' logits,
    /// which are few, are summed again, in float64. The others' error is a hundredth of theirs.
    pub(crate) fn normalise<B: AttributionBackend<Tensor = T, Element = E>>(
        self,
        b: &B,
        thresholds: &Thresholds,
        wanted: &[(usize, usize)],
        reference: Option<&[E]>,
    ) -> Result<SetOutput<E>, BackendError> {
        let Self { values: mut probs, last, vocab } = self;
        let (unembedded, width) = (b.download(&last.rows)?, b.shape(&last.rows)[2]);
        let of_position = |position: usize| reference.map(|reference| &reference[position * vocab..][..vocab]);
        let wanted = by_position(b, &last, wanted, probs.len() / vocab);
        // What is alive with its logit summed again need not be so before: a hundredth is more than any rounding.
        let likely = LIKELY.min(0.99 * thresholds.output_prob);
        let rows: Vec<Row<E>> = (probs.par_chunks_exact_mut(vocab), &wanted)
            .into_par_iter()
            .enumerate()
            .map_init(Vec::new, |exponentials, (position, (row, wanted))| {
                softmax(row, of_position(position), likely, wanted, exponentials)
            })
            .collect();
        let mut tokens: Vec<usize> = rows.iter().flat_map(|row| &row.exactly).map(|&(token, _)| token).collect();
        tokens.sort_unstable();
        tokens.dedup();
        let constant = match &last.constant {
            Some(constant) => b.download_vec(b.select(constant, 2, &tokens)?)?,
            None => Vec::new(),
        };
        let readers = Readers { rows: b.download_vec(b.select(&last.matrix, 0, &tokens)?)?, tokens, width };
        let rows: Vec<(Refined, Vec<Alive<E>>)> = (probs.par_chunks_exact_mut(vocab), rows, &wanted)
            .into_par_iter()
            .enumerate()
            .map(|(position, (probs, row, wanted))| {
                let x = &unembedded[position * width..][..width];
                let constant = constant.get(position * readers.tokens.len()..);
                let refined = refine(probs, &row, of_position(position), (x, constant), &readers);
                let alive = alive(probs, &refined, thresholds, wanted);
                (refined, alive)
            })
            .collect();
        let alive = || rows.iter().map(|(_, alive)| alive.iter());
        Ok(SetOutput {
            alive: AliveEntries::from_positions(alive().map(|alive| alive.map(|alive| alive.component))),
            logits: alive().flatten().map(|alive| alive.logit).collect(),
            importance: alive().flatten().map(|alive| alive.prob).collect(),
            likeliest: rows.iter().map(|(row, _)| row.likeliest).collect(),
            cross_entropy: rows.iter().map(|(row, _)| row.cross_entropy).collect(),
            probs,
        })
    }
}

/// A component of the output that is alive whatever its probability, and which tokens' logits it is made of.
struct Wanted {
    component: usize,
    token: usize,
    against: Option<usize>,
}

fn by_position<B: AttributionBackend>(
    b: &B,
    last: &Last<B::Tensor>,
    wanted: &[(usize, usize)],
    positions: usize,
) -> Vec<Vec<Wanted>> {
    let mut of_positions: Vec<Vec<Wanted>> = (0..positions).map(|_| Vec::new()).collect();
    for &(position, component) in wanted {
        let (token, against) = last.tokens(b, component);
        of_positions[position].push(Wanted { component, token, against });
    }
    of_positions
}

/// What the logits `z` of one position become, beside their softmax.
struct Row<E> {
    /// The largest logit.
    largest: f64,
    /// `sum exp(z - largest)`
    sum: f64,
    /// `sum w (z - largest)`, with `w` the reference, or `exp(z - largest)` without one.
    expected: f64,
    /// The tokens whose logits are to be summed again, ascending: the likely ones, or where there are none the first with the
    /// largest logit, and those that were asked for.
    exactly: Vec<(usize, E)>,
}

/// The same with these logits summed again.
struct Refined {
    logits: Vec<(usize, f64)>,
    likeliest: u32,
    cross_entropy: f64,
}

impl Refined {
    fn logit(&self, token: usize) -> f64 {
        let found = self.logits.binary_search_by_key(&token, |&(token, _)| token);
        self.logits[found.unwrap_or_else(|_| unreachable!("what was asked for was summed again"))].1
    }
}

/// A component of the output that is alive.
struct Alive<E> {
    component: usize,
    logit: E,
    prob: E,
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
fn softmax<E: Element>(
    row: &mut [E],
    reference: Option<&[E]>,
    likely: f64,
    wanted: &[Wanted],
    exponentials: &mut Vec<f64>,
) -> Row<E> {
    let largest_logit = largest(row);
    let largest = largest_logit.to_f64();
    exponentials.resize(row.len(), 0.0);
    lanes::exponentials(exponentials, row, largest);
    let sum = sum(exponentials);
    let expected = match reference {
        Some(reference) => dot_shifted(reference, row, largest),
        None => dot_shifted(exponentials, row, largest),
    };
    let mut exactly: Vec<usize> = reaching(exponentials, likely * sum).collect();
    if exactly.is_empty() {
        exactly.push(row.iter().position(|&logit| logit == largest_logit).unwrap_or_default());
    }
    if !wanted.is_empty() {
        exactly.extend(wanted.iter().flat_map(|wanted| std::iter::once(wanted.token).chain(wanted.against)));
        exactly.sort_unstable();
        exactly.dedup();
    }
    let exactly = exactly.into_iter().map(|token| (token, row[token])).collect();
    let inverse = 1.0 / sum;
    for (value, exponential) in row.iter_mut().zip(exponentials) {
        *value = E::from_f64(*exponential * inverse);
    }
    Row { largest, sum, expected, exactly }
}

/// Sums some tokens' logits again, from what is unembedded and, if anything is, what is added to the logits of the readers'
/// tokens; and corrects their probabilities.
fn refine<E: Element>(
    probs: &mut [E],
    row: &Row<E>,
    reference: Option<&[E]>,
    (x, constant): (&[E], Option<&[E]>),
    readers: &Readers<E>,
) -> Refined {
    let (mut sum, mut expected) = (row.sum, row.expected);
    let mut logits = Vec::with_capacity(row.exactly.len());
    for &(token, logit) in &row.exactly {
        let index =
            readers.tokens.binary_search(&token).unwrap_or_else(|_| unreachable!("every one of them has a row"));
        let constant = constant.and_then(|constant| constant.get(index)).map_or(0.0, |constant| constant.to_f64());
        let exact = dot_shifted(x, &readers.rows[index * readers.width..][..readers.width], 0.0) + constant;
        let (from, to) = (logit.to_f64() - row.largest, exact - row.largest);
        sum += exp(to) - exp(from);
        expected += match reference {
            Some(reference) => reference[token].to_f64() * (to - from),
            None => exp(to) * to - exp(from) * from,
        };
        logits.push((token, exact));
    }
    let mut likeliest = (0, f64::NEG_INFINITY);
    for &(token, exact) in &logits {
        probs[token] = E::from_f64(exp(exact - row.largest) / sum);
        if exact > likeliest.1 {
            likeliest = (token as u32, exact);
        }
    }
    let expected = if reference.is_some() { expected } else { expected / sum };
    Refined { logits, likeliest: likeliest.0, cross_entropy: sum.ln() - expected }
}

/// The tokens that pass the threshold, and what was asked for, ascending.
fn alive<E: Element>(probs: &[E], row: &Refined, thresholds: &Thresholds, wanted: &[Wanted]) -> Vec<Alive<E>> {
    let threshold = E::from_f64(thresholds.output_prob);
    let of_token =
        |&(token, logit): &(usize, f64)| Alive { component: token, logit: E::from_f64(logit), prob: probs[token] };
    let mut alive: Vec<Alive<E>> =
        row.logits.iter().map(of_token).filter(|alive| thresholds.passes(alive.prob, threshold)).collect();
    if let Some(top) = thresholds.output_top {
        keep_largest(&mut alive, top);
    }
    if !wanted.is_empty() {
        alive.extend(wanted.iter().map(|&Wanted { component, token, against }| match against {
            None => of_token(&(token, row.logit(token))),
            Some(against) => {
                let difference = row.logit(token) - row.logit(against);
                let prob = E::from_f64(Contrast::probability(difference));
                Alive { component, logit: E::from_f64(difference), prob }
            }
        }));
        alive.sort_by_key(|alive| alive.component);
        alive.dedup_by_key(|alive| alive.component);
    }
    alive
}

/// Leaves of tokens, in their order, the `count` with the largest logits; of equals those that come first.
fn keep_largest<E: Element>(tokens: &mut Vec<Alive<E>>, count: usize) {
    if tokens.len() > count {
        tokens.sort_by(|a, b| b.logit.to_f64().total_cmp(&a.logit.to_f64()));
        tokens.truncate(count);
        tokens.sort_unstable_by_key(|alive| alive.component);
    }
}
