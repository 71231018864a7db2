//! Trained runs so small that a mutation often hits something that matters.

use tributary_inputs::test_support::RandomWeights;
use tributary_model::{Architecture, Biases, published_layers};

/// A `GPT2Simple` of one block and width 2, of which two layers are decomposed.
pub fn gpt2_simple() -> RandomWeights {
    reduced(RandomWeights::gpt2_simple(1), 8, Biases { attention: true, mlp: true })
}

/// The same of a `LlamaSimpleMLP`.
pub fn llama_simple_mlp() -> RandomWeights {
    reduced(RandomWeights::llama_simple_mlp(1), 2, Biases { attention: false, mlp: false })
}

/// The MLP of a `GPT2Simple` is four times as wide as the model.
fn reduced(random: RandomWeights, d_mlp: usize, biases: Biases) -> RandomWeights {
    let architecture = Architecture {
        n_blocks: 1,
        d_model: 2,
        n_heads: 1,
        n_kv_heads: 1,
        d_head: 2,
        d_mlp,
        vocab: 4,
        max_positions: 4,
        linear: published_layers(1, 2, 2, d_mlp, biases),
        ..random.architecture
    };
    let components = architecture.linear_layers().skip(3).take(2).map(|layer| (layer, 2)).collect();
    RandomWeights { architecture, components, ci_hidden: vec![1], ..random }
}
