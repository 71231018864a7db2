//! The suite every backend passes before the engine runs on it.
//!
//! One macro call in a test file gives one `#[test]` per check, so that a failure names what is wrong:
//!
//! ```ignore
//! tributary_backend::conformance!(MyBackend::new());
//! ```
//!
//! The expression is evaluated anew in each test and stands in a function body, so a backend whose device may be
//! missing can leave early: `conformance!(match Gpu::open() { Ok(gpu) => gpu, Err(_) => return })`. Put each call in a
//! module of its own to check several backends in one file.
//!
//! What is expected comes from plain loops in float64 here, over operands rounded to the backend's
//! [`Element`](crate::Element) first, so that every difference is the backend's own. Gradients are held against
//! difference quotients of those loops. Each tolerance bounds the rounding of the arithmetic that was asked for, from
//! the element's epsilon, the length of its sums and the size of their terms; the reason stands beside it.

mod array;
mod check;
pub mod derived;
pub mod elementwise;
pub mod errors;
mod generator;
pub mod gradients;
pub mod layout;
pub mod matmul;
pub mod promises;
pub mod reduce;
pub mod transfer;
mod truth;

/// Says on stderr, past the test harness, that `what` was not tested and why: one line, for a device that may be missing.
pub fn say_skipped(what: &str, reason: &dyn std::fmt::Display) {
    use std::io::Write as _;
    // Nobody reading it is no reason to fail.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {what}: {reason}");
}

/// Checks a backend against the whole [suite](mod@crate::conformance), with one `#[test]` per check.
///
/// Takes an expression that constructs the backend, which must implement
/// [`AttributionBackend`](crate::AttributionBackend).
#[macro_export]
macro_rules! conformance {
    (@tests $backend:expr; $($group:ident { $($check:ident),+ $(,)? })+) => {
        $(
            mod $group {
                #[allow(unused_imports)]
                use super::*;

                $(
                    #[test]
                    fn $check() {
                        $crate::conformance::$group::$check(&$backend);
                    }
                )+
            }
        )+
    };
    ($backend:expr $(,)?) => {
        $crate::conformance! { @tests $backend;
            transfer {
                round_trip_keeps_every_bit, empty, permuted_download_is_row_major,
                operands_stay_as_they_were,
            }
            elementwise {
                unary, unary_is_accurate_over_its_range, unary_is_accurate_near_zero, unary_of_infinities,
                exp_of_minus_infinity_is_zero, binary, binary_broadcasts, binary_of_empty, binary_of_a_tensor_with_itself,
                binary_of_infinities,
            }
            reduce { sum, sum_of_an_empty_axis_is_zero, max, max_of_infinities }
            matmul { sizes, long_sums, batches, empty }
            layout { reshape, permute, select, select_of_nothing, select_from_empty, detach }
            derived {
                zeros_and_scalar, named_binary_operations, scalar_arguments, sums_and_mean, softmax,
                softmax_of_huge_logits, softmax_of_masked_logits, gelu_tanh, gelu_erf, narrow, gather, vjp,
            }
            gradients {
                unary, binary, binary_sums_over_broadcast_axes, sum, matmul, reshape, permute, select,
                select_accumulates_repeated_indices, narrow, mean, softmax, softmax_of_masked_logits, gelu_tanh, gelu_erf,
                gather, attention, leaf_used_twice, leaf_not_used, constant_function, leaf_itself, no_leaves,
                one_tensor_as_two_leaves, captured_tensor_is_constant, detach_cuts_the_path, empty_leaf,
                many_calls_in_a_row, gradients_are_untracked, single_number_of_any_rank,
            }
            errors {
                upload, binary, reduce, matmul, reshape, permute, select, derived, not_a_single_number,
                inside_grad, of_the_function_itself,
            }
            promises { dtype, full_precision_products, full_precision_sums, determinism }
        }
    };
}
