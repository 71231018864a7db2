//! How attributions are computed.

/// How attributions are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The backend's automatic differentiation: works for every model, and is what other methods are checked against.
    Autograd,
    /// The gradients written out: one pass, no differentiation. For models whose every linear layer is decomposed.
    ClosedForm,
    /// In closed form to every target that it covers, by automatic differentiation to the others: for models of which some
    /// linear layers are decomposed.
    Mixed,
}

impl Method {
    /// Name of the method, as users choose it and results record it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Autograd => "autograd",
            Self::ClosedForm => "closed-form",
            Self::Mixed => "mixed",
        }
    }
}
