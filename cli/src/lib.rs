//! Local attribution graphs of SPD-decomposed language models, for many CI sets at once.
