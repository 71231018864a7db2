//! The naive float64 backend against the conformance suite, which also tries every default method on it.

use tributary_backend::{AttributionBackend, BackendError};
use tributary_tests::naive::{NaiveBackend, NaiveTensor};

tributary_backend::conformance!(NaiveBackend);

/// What other suites rely on: an item of a batch has the same bits alone and among others, forwards and backwards.
#[test]
fn batch_items_do_not_touch_each_other() -> Result<(), BackendError> {
    const ITEM: usize = 3 * 4;
    let backend = NaiveBackend;
    let values: Vec<f64> = (0..3 * ITEM).map(|i| (i as f64 * 0.7).sin()).collect();
    let weights = backend.upload(&(0..4 * 5).map(|i| f64::from(i).cos()).collect::<Vec<_>>(), &[4, 5])?;
    let layer = |x: &NaiveTensor| backend.softmax(&backend.gelu_erf(&backend.matmul(x, &weights)?)?, 2);
    let run = |values: &[f64]| -> Result<_, BackendError> {
        let x = backend.upload(values, &[values.len() / ITEM, 3, 4])?;
        let gradients = backend.grad(std::slice::from_ref(&x), |leaves| {
            let picked = backend.select(&layer(&leaves[0])?, 2, &[1])?;
            backend.sum_all(&picked)
        })?;
        Ok((backend.download(&layer(&x)?)?, backend.download(&gradients[0])?))
    };
    let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();

    let (together, gradient_together) = run(&values)?;
    for (item, values) in values.chunks(ITEM).enumerate() {
        let (alone, gradient_alone) = run(values)?;
        assert_eq!(bits(&alone), bits(&together[item * 15..][..15]), "values of item {item}");
        assert_eq!(bits(&gradient_alone), bits(&gradient_together[item * ITEM..][..ITEM]), "gradient of item {item}");
    }
    Ok(())
}
