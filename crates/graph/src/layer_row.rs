//! Where layers stand in a figure.

use tributary_model::Layer;

/// The rows of a figure from bottom to top, as data flows: each layer has its own, but queries, keys and values of a block
/// are side by side on one, and so are the two that the hidden layer of a gated MLP is made of. `layers` ascend.
pub fn layer_rows(layers: impl IntoIterator<Item = Layer>) -> Vec<Vec<Layer>> {
    let mut rows: Vec<Vec<Layer>> = Vec::new();
    for layer in layers {
        match rows.last_mut() {
            Some(row) if row.last().is_some_and(|&last| last.reading() == layer.reading()) => row.push(layer),
            _ => rows.push(vec![layer]),
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use tributary_model::{Role, gated_blocks, published_blocks};

    use super::*;

    #[test]
    fn queries_keys_and_values_of_a_block_share_a_row() {
        let lengths = |blocks: Vec<Layer>| -> Vec<usize> {
            let rows = layer_rows([Layer::wte()].into_iter().chain(blocks).chain([Layer::output()]));
            rows.iter().map(Vec::len).collect()
        };
        assert_eq!(lengths(published_blocks(2)), [1, 3, 1, 1, 1, 3, 1, 1, 1, 1]);
        assert_eq!(lengths(gated_blocks(2)), [1, 3, 1, 2, 1, 3, 1, 2, 1, 1]);
        // Where the rest of a block is not decomposed, blocks stay apart.
        let rows = layer_rows([Layer::published(0, Role::Value), Layer::published(1, Role::Query)]);
        assert_eq!(rows.len(), 2);
    }
}
