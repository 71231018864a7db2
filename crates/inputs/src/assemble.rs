//! From a state dict to [`Weights`], every tensor accounted for.

use std::collections::BTreeMap;

use tributary_model::{
    Architecture, Array, BlockNorms, Components, Layer, LinearLayer, LinearWeights, Norm, NormWeights,
    PositionEncoding, Weights,
};

use crate::InputError;
use crate::checkpoint::StateDict;
use crate::ci_function::{self, dashed};
use crate::config::Config;
use crate::rotary_tables;

/// Takes all tensors of a run out of its state dict.
pub(crate) fn weights(
    mut tensors: StateDict,
    architecture: Architecture,
    config: &Config,
    counts: &BTreeMap<Layer, usize>,
) -> Result<(Weights, Vec<String>), InputError> {
    let modules = &config.class.modules;
    let target = |path: &str| format!("target_model.{path}");
    let weight = |module: &str| target(&format!("{module}.weight"));
    let embedding = [architecture.vocab, architecture.d_model];
    let wte = tensors.take(&weight(modules.embedding), &embedding)?;
    let wpe = match architecture.position_encoding {
        PositionEncoding::Learned => {
            Some(tensors.take(&weight(modules.positions), &[architecture.max_positions, architecture.d_model])?)
        }
        PositionEncoding::Rotary { .. } => None,
    };
    let rotary = rotary_tables::take(&mut tensors, &architecture, modules)?;
    let mut norms = Vec::new();
    for block in 0..architecture.n_blocks {
        let path = format!("{}.{block}", modules.blocks);
        norms.push(BlockNorms {
            attention: norm(&mut tensors, &format!("{path}.{}", modules.attention_norm), &architecture)?,
            mlp: norm(&mut tensors, &format!("{path}.{}", modules.mlp_norm), &architecture)?,
        });
        for buffer in modules.attention_buffers {
            tensors.discard(&target(&format!("{path}.{buffer}")));
        }
    }
    for buffer in modules.buffers {
        tensors.discard(&target(buffer));
    }
    let ln_f = norm(&mut tensors, modules.final_norm, &architecture)?;
    // The published models tie the two, and save both.
    let lm_head = tensors.take_optional(&weight(modules.unembedding), &embedding)?.filter(|lm_head| *lm_head != wte);

    let mut linear = BTreeMap::new();
    let mut decomposed = BTreeMap::new();
    for &shape in &architecture.linear {
        let count = counts.get(&shape.layer).copied();
        // The ends are above: their weights are those of a tensor that both may share.
        if shape.layer.role().is_in_block() {
            let layer = linear_layer(&mut tensors, shape, count.is_some(), modules.is_transposed)?;
            linear.insert(shape.layer, layer);
        }
        if let Some(count) = count {
            decomposed.insert(shape.layer, components(&mut tensors, shape, count)?);
        }
    }
    let ci_function = ci_function::take(&mut tensors, &architecture, config, counts)?;
    let notes = tensors.finish()?;
    Ok((Weights { architecture, wte, wpe, rotary, norms, ln_f, lm_head, linear, decomposed, ci_function }, notes))
}

fn norm(tensors: &mut StateDict, module: &str, architecture: &Architecture) -> Result<NormWeights, InputError> {
    let shape = [architecture.d_model];
    let weight = tensors.take(&format!("target_model.{module}.weight"), &shape)?;
    let bias = match architecture.norm {
        Norm::LayerNorm { .. } => Some(tensors.take(&format!("target_model.{module}.bias"), &shape)?),
        Norm::RmsNorm { .. } => None,
    };
    Ok(NormWeights { weight, bias })
}

fn linear_layer(
    tensors: &mut StateDict,
    LinearLayer { layer, d_in, d_out, has_bias }: LinearLayer,
    is_decomposed: bool,
    is_transposed: bool,
) -> Result<LinearWeights, InputError> {
    let name = format!("target_model.{layer}.weight");
    let weight = if is_transposed {
        tensors.take(&name, &[d_in, d_out])?.transposed()
    } else {
        tensors.take(&name, &[d_out, d_in])?
    };
    let bias = if has_bias { Some(bias(tensors, layer, d_out, is_decomposed)?) } else { None };
    Ok(LinearWeights { weight, bias })
}

/// The bias of a linear layer. A decomposed layer's components hold a copy of it, which is the only one in some older
/// checkpoints.
fn bias(tensors: &mut StateDict, layer: Layer, d_out: usize, is_decomposed: bool) -> Result<Array, InputError> {
    let name = format!("target_model.{layer}.bias");
    if !is_decomposed {
        return tensors.take(&name, &[d_out]);
    }
    let copy_name = format!("_components.{}.bias", dashed(layer));
    let Some(copy) = tensors.take_optional(&copy_name, &[d_out])? else {
        return tensors.take(&name, &[d_out]);
    };
    match tensors.take_optional(&name, &[d_out])? {
        Some(bias) if bias != copy => {
            let problem = format!("differs from {name}; components with a bias of their own are not supported");
            Err(InputError::tensor(tensors.file(), copy_name, problem))
        }
        _ => Ok(copy),
    }
}

fn components(
    tensors: &mut StateDict,
    LinearLayer { layer, d_in, d_out, .. }: LinearLayer,
    count: usize,
) -> Result<Components, InputError> {
    let module = dashed(layer);
    let v = tensors.take(&format!("_components.{module}.V"), &[d_in, count])?;
    let u = tensors.take(&format!("_components.{module}.U"), &[count, d_out])?;
    Ok(Components { v, u })
}
