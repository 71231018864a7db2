//! `tributary schema`: the JSON Schemas, which come with the tool.

use tributary_compare::SCHEMA;
use tributary_export::{CIRCUIT_TRACER_SCHEMA, GRAPH_SCHEMA, PARAM_DECOMP_SCHEMA};

use crate::args::{SchemaArgs, SchemaFormat};
use crate::{CliError, console};

pub(crate) fn run(args: &SchemaArgs) -> Result<(), CliError> {
    console::print_json(match args.format {
        SchemaFormat::Graph => GRAPH_SCHEMA,
        SchemaFormat::CircuitTracer => CIRCUIT_TRACER_SCHEMA,
        SchemaFormat::ParamDecomp => PARAM_DECOMP_SCHEMA,
        SchemaFormat::Comparison => SCHEMA,
    })
}
