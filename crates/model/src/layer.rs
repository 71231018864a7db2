//! Layers: what attributions start from or lead to in a model.

use std::cmp::Ordering;
use std::fmt;

use internment::Intern;

/// What a layer does in the model. Widths, pairs, rows and colours of figures follow from it, never from a name.
///
/// Ordered as data flows through a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The token embedding: a source with one pseudo-component per position, always alive.
    Embedding,
    /// The same layer where it is decomposed: its components take the place of the pseudo-component.
    TokenEmbedding,
    /// Reads the residual stream into queries.
    Query,
    /// Reads the residual stream into keys.
    Key,
    /// Reads the residual stream into values.
    Value,
    /// Reads the residual stream into queries, keys and values at once, which follow each other in what it writes.
    QueryKeyValue,
    /// Writes what an attention has read to the residual stream.
    AttentionOutput,
    /// Reads the residual stream into what, through the activation function, the hidden layer of a gated MLP is multiplied by.
    MlpGate,
    /// Reads the residual stream into the hidden layer of the MLP.
    MlpUp,
    /// Writes the hidden layer of the MLP to the residual stream.
    MlpDown,
    /// Reads the residual stream into the logits, where that layer is decomposed.
    Unembedding,
    /// The logits: a target whose components are the vocabulary.
    Output,
}

impl Role {
    /// All roles in the order data flows.
    pub const ALL: [Self; 12] = [
        Self::Embedding,
        Self::TokenEmbedding,
        Self::Query,
        Self::Key,
        Self::Value,
        Self::QueryKeyValue,
        Self::AttentionOutput,
        Self::MlpGate,
        Self::MlpUp,
        Self::MlpDown,
        Self::Unembedding,
        Self::Output,
    ];

    /// The one word for it in figures and pages: the name that such a module has in the published classes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Embedding => "wte",
            Self::TokenEmbedding => "embedding",
            Self::Query => "q_proj",
            Self::Key => "k_proj",
            Self::Value => "v_proj",
            Self::QueryKeyValue => "c_attn",
            Self::AttentionOutput => "o_proj",
            Self::MlpGate => "gate_proj",
            Self::MlpUp => "c_fc",
            Self::MlpDown => "down_proj",
            Self::Unembedding => "lm_head",
            Self::Output => "output",
        }
    }

    /// Whether a layer of this role is linear: one that can be decomposed.
    pub fn is_linear(self) -> bool {
        !matches!(self, Self::Embedding | Self::Output)
    }

    /// Whether a layer of this role stands in a block.
    pub fn is_in_block(self) -> bool {
        self.is_linear() && !matches!(self, Self::TokenEmbedding | Self::Unembedding)
    }

    /// Whether it adds to the residual stream.
    pub fn writes_residual(self) -> bool {
        matches!(self, Self::TokenEmbedding | Self::AttentionOutput | Self::MlpDown)
    }
}

/// A layer of a model: its path in the model's own names, its role, and the block it stands in.
///
/// A handle that is copied and compared in no time: equal layers are kept once in the process, and for as long as it runs.
/// (A model has some tens of them.) Ordered as data flows: the embedding, block by block the linear layers, the output.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Layer(Intern<Definition>);

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Definition {
    /// Before the blocks, in one of them, behind them.
    stage: Stage,
    role: Role,
    path: Box<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Stage {
    Before,
    Block(usize),
    Behind,
}

impl Layer {
    fn new(stage: Stage, role: Role, path: &str) -> Self {
        Self(Intern::new(Definition { stage, role, path: path.into() }))
    }

    /// The pseudo-layer of token embeddings, `wte`.
    pub fn wte() -> Self {
        Self::new(Stage::Before, Role::Embedding, "wte")
    }

    /// The pseudo-layer of logits, `output`.
    pub fn output() -> Self {
        Self::new(Stage::Behind, Role::Output, "output")
    }

    /// A linear layer of block `block`, called `path` in its model.
    ///
    /// # Panics
    ///
    /// When layers of this `role` do not [stand in a block](Role::is_in_block).
    pub fn linear(block: usize, role: Role, path: &str) -> Self {
        assert!(role.is_in_block(), "{role:?} is no linear layer of a block");
        Self::new(Stage::Block(block), role, path)
    }

    /// A decomposed token embedding, called `path` in its model.
    pub fn token_embedding(path: &str) -> Self {
        Self::new(Stage::Before, Role::TokenEmbedding, path)
    }

    /// A decomposed unembedding, called `path` in its model.
    pub fn unembedding(path: &str) -> Self {
        Self::new(Stage::Behind, Role::Unembedding, path)
    }

    /// What it does.
    pub fn role(self) -> Role {
        self.0.as_ref().role
    }

    /// Number of its block, from 0; `None` before and behind all blocks.
    pub fn block(self) -> Option<usize> {
        match self.0.as_ref().stage {
            Stage::Block(block) => Some(block),
            Stage::Before | Stage::Behind => None,
        }
    }

    /// The path that configs, checkpoints, CI files and result files use: `wte`, `h.0.attn.q_proj`, `output`.
    pub fn path(&self) -> &str {
        &self.0.as_ref().path
    }

    /// Whether this is the embedding, `wte`.
    pub fn is_embedding(self) -> bool {
        self.role() == Role::Embedding
    }

    /// Whether these are the logits, `output`.
    pub fn is_output(self) -> bool {
        self.role() == Role::Output
    }

    /// Whether this is a linear layer: one whose entries are components.
    pub fn is_linear(self) -> bool {
        self.role().is_linear()
    }

    /// What it reads: layers of equal readings read the same input. Queries stand for keys and values, and of a gated MLP what
    /// is multiplied for the gate.
    pub fn reading(self) -> (Option<usize>, Role) {
        let role = match self.role() {
            Role::Key | Role::Value => Role::Query,
            Role::MlpGate => Role::MlpUp,
            role => role,
        };
        (self.block(), role)
    }

    /// Whether it stands in the same block as `other`.
    pub fn shares_block(self, other: Self) -> bool {
        self.block().is_some() && self.block() == other.block()
    }
}

impl Ord for Layer {
    fn cmp(&self, other: &Self) -> Ordering {
        if self == other { Ordering::Equal } else { self.0.as_ref().cmp(other.0.as_ref()) }
    }
}

impl PartialOrd for Layer {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Layer {
    /// Writes the [path](Self::path).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.path())
    }
}

impl fmt::Debug for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Layer({})", self.path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_ordered_as_data_flows_whatever_they_are_called() {
        let linear = |block, role| Layer::linear(block, role, &format!("model.layers.{block}.{role:?}"));
        let mut layers = vec![Layer::output(), linear(10, Role::Query), linear(2, Role::MlpDown)];
        layers.extend([linear(2, Role::AttentionOutput), Layer::wte()]);
        layers.sort_unstable();
        let found: Vec<(Option<usize>, Role)> = layers.iter().map(|layer| (layer.block(), layer.role())).collect();
        let expected = [
            (None, Role::Embedding),
            (Some(2), Role::AttentionOutput),
            (Some(2), Role::MlpDown),
            (Some(10), Role::Query),
            (None, Role::Output),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn layers_are_equal_by_all_they_are() {
        let q = Layer::linear(0, Role::Query, "q");
        assert_eq!(q, Layer::linear(0, Role::Query, "q"));
        for other in
            [Layer::linear(1, Role::Query, "q"), Layer::linear(0, Role::Key, "q"), Layer::linear(0, Role::Query, "p")]
        {
            assert_ne!(q, other);
            assert_ne!(q.cmp(&other), Ordering::Equal);
        }
    }
}
