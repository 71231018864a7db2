//! Sines and cosines of rotary positions that a checkpoint keeps.

use tributary_model::{Architecture, PositionEncoding, RotaryTables};

use crate::InputError;
use crate::checkpoint::StateDict;
use crate::classes::Modules;

/// Takes the tables out, where every block that has some has the same, and they are those that the config describes, to rounding:
/// what else there is stays, to be left out as buffers that are not read.
pub(crate) fn take(
    tensors: &mut StateDict,
    architecture: &Architecture,
    modules: &Modules,
) -> Result<Option<RotaryTables>, InputError> {
    if !matches!(architecture.position_encoding, PositionEncoding::Rotary { .. }) {
        return Ok(None);
    }
    let shape = [architecture.max_positions, architecture.d_head];
    let mut found: Option<RotaryTables> = None;
    for block in 0..architecture.n_blocks {
        let names = ["sin", "cos"].map(|table| format!("target_model.{}.{block}.attn.rotary_{table}", modules.blocks));
        if names.iter().any(|name| tensors.shape(name) != Some(&shape)) {
            continue;
        }
        let [sin, cos] = names;
        let tables = RotaryTables { sin: tensors.take(&sin, &shape)?, cos: tensors.take(&cos, &shape)? };
        if found.as_ref().is_some_and(|first| *first != tables) {
            let problem = "is not what it is in the blocks before; the model has one table of rotary positions";
            return Err(InputError::tensor(tensors.file(), sin, problem));
        }
        found = found.or(Some(tables));
    }
    if found.as_ref().is_some_and(|tables| !are_described(tables, architecture)) {
        let file = tensors.shown();
        tensors.note(format!(
            "{file}: its tables of rotary positions are not those that the config of the target model describes, which are computed"
        ));
        return Ok(None);
    }
    Ok(found)
}

/// Whether tables are what follows from a config, to rounding: an angle is that of a number of positions, each rounded in float32.
fn are_described(tables: &RotaryTables, architecture: &Architecture) -> bool {
    let PositionEncoding::Rotary { base, adjacent_pairs, scaling } = architecture.position_encoding else {
        return false;
    };
    let (positions, d_head) = (architecture.max_positions, architecture.d_head);
    let tolerance = (positions.max(1) as f64) * f64::from(f32::EPSILON);
    (0..positions * d_head).all(|at| {
        let (position, element) = (at / d_head, at % d_head);
        let pair = if adjacent_pairs { element / 2 } else { element % (d_head / 2) };
        let (sin, cos) = f64::from(scaling.angle(base, d_head, pair, position)).sin_cos();
        let apart = (tables.sin.values.at(at) - sin).abs().max((tables.cos.values.at(at) - cos).abs());
        apart <= tolerance
    })
}
