//! Where layers stand in a figure.

use tributary_model::{Layer, Role};

/// The rows of a figure from bottom to top, as data flows: each layer has its own, but queries, keys and values of a block
/// are side by side on one. `layers` ascend.
pub fn layer_rows(layers: impl IntoIterator<Item = Layer>) -> Vec<Vec<Layer>> {
    let mut rows: Vec<Vec<Layer>> = Vec::new();
    for layer in layers {
        match rows.last_mut() {
            Some(row) if row.last().is_some_and(|&last| side_by_side(last, layer)) => row.push(layer),
            _ => rows.push(vec![layer]),
        }
    }
    rows
}

fn side_by_side(a: Layer, b: Layer) -> bool {
    let reads_attention = |layer: Layer| matches!(layer.role(), Role::Query | Role::Key | Role::Value);
    reads_attention(a) && reads_attention(b) && a.shares_block(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_keys_and_values_of_a_block_share_a_row() {
        let block = |block| Role::LINEAR.map(|role| Layer::published(block, role));
        let layers = [Layer::wte()].into_iter().chain(block(0)).chain(block(1)).chain([Layer::output()]);
        let rows = layer_rows(layers);
        let lengths: Vec<usize> = rows.iter().map(Vec::len).collect();
        assert_eq!(lengths, [1, 3, 1, 1, 1, 3, 1, 1, 1, 1]);
        // Where the rest of a block is not decomposed, blocks stay apart.
        let rows = layer_rows([Layer::published(0, Role::Value), Layer::published(1, Role::Query)]);
        assert_eq!(rows.len(), 2);
    }
}
