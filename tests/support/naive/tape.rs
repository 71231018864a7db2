//! Reverse-mode differentiation: a record of the operations, replayed backwards.

use std::cell::RefCell;
use std::rc::Rc;

/// Takes the gradient of a result to the gradients of its operands.
type Pullback = Box<dyn Fn(&[f64]) -> Vec<Vec<f64>>>;

/// One operation: where its operands stand on the tape (`None` for constants), and how to go back to them.
struct Step {
    operands: Vec<Option<usize>>,
    pullback: Pullback,
}

/// The operations of one function in the order in which they were done. The tensors that are tracked hold it, and
/// with the last of them it goes.
#[derive(Clone, Default)]
pub(super) struct Tape(Rc<RefCell<Vec<Step>>>);

/// A tracked tensor's entry on its tape.
#[derive(Clone)]
pub(super) struct Entry {
    tape: Tape,
    at: usize,
}

impl Tape {
    /// A variable to differentiate by.
    pub(super) fn leaf(&self) -> Entry {
        self.push(Step { operands: Vec::new(), pullback: Box::new(|_| Vec::new()) })
    }

    fn push(&self, step: Step) -> Entry {
        let mut steps = self.0.borrow_mut();
        steps.push(step);
        Entry { tape: self.clone(), at: steps.len() - 1 }
    }

    /// The gradient of the single number at `result` with respect to every entry of the tape, `None` where there is
    /// none; an untracked result has none anywhere.
    pub(super) fn gradients(&self, result: Option<&Entry>) -> Vec<Option<Vec<f64>>> {
        let steps = self.0.borrow();
        let mut gradients = vec![None; steps.len()];
        let Some(result) = result else { return gradients };
        gradients[result.at] = Some(vec![1.0]);
        // Operands stand before their results, so each gradient is complete when its turn comes.
        for at in (0..=result.at).rev() {
            let Some(gradient) = &gradients[at] else { continue };
            let shares = (steps[at].pullback)(gradient);
            for (&operand, share) in steps[at].operands.iter().zip(shares) {
                let Some(operand) = operand else { continue };
                match &mut gradients[operand] {
                    Some(sum) => sum.iter_mut().zip(share).for_each(|(sum, share)| *sum += share),
                    none => *none = Some(share),
                }
            }
        }
        gradients
    }
}

/// Records an operation on the tape of its operands, of which those that are constants have no entry; nothing is
/// recorded when all are.
pub(super) fn record(
    operands: Vec<Option<Entry>>,
    pullback: impl Fn(&[f64]) -> Vec<Vec<f64>> + 'static,
) -> Option<Entry> {
    let tape = operands.iter().flatten().next()?.tape.clone();
    let operands = operands.into_iter().map(|operand| operand.map(|entry| entry.at)).collect();
    Some(tape.push(Step { operands, pullback: Box::new(pullback) }))
}
