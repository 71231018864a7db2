//! Tables of edges and of nodes in Parquet.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::column::writer::get_typed_column_writer_mut;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, FloatType, Int32Type};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnPath;
use tributary_files::{FilesError, OutputFile};
use tributary_graph::{Entry, Node};
use tributary_model::Layer;

use crate::computation::AtTarget;
use crate::set::{Set, json_text};
use crate::{ExportError, GRAPH_FORMAT, GRAPH_FORMAT_VERSION};

/// A row group is in memory, encoded, until it is written.
const ROWS_OF_GROUP: usize = 1 << 20;
/// Values handed to the library at a time.
const ROWS_OF_BATCH: usize = 1 << 13;

const EDGES: &str = "message edges {
    required binary set (STRING);
    required binary source_layer (STRING);
    required int32 source_position (INTEGER(32, false));
    required int32 source_component (INTEGER(32, false));
    required binary target_layer (STRING);
    required int32 target_position (INTEGER(32, false));
    required int32 target_component (INTEGER(32, false));
    required float value;
}";

const NODES: &str = "message nodes {
    required binary set (STRING);
    required binary layer (STRING);
    required int32 position (INTEGER(32, false));
    required int32 component (INTEGER(32, false));
    required binary kind (STRING);
    optional float ci;
    optional float probability;
    optional float target_probability;
    optional float activation;
    optional double importance;
    required binary position_token (STRING);
    optional binary output_token (STRING);
}";

pub(crate) fn write_edges(set: Set<'_>, file: OutputFile) -> std::result::Result<(), ExportError> {
    let graph = set.graph;
    let (name, layers) = (ByteArray::from(&*set.entry.name), layer_names(set));
    table(set, EDGES, graph.edges.len(), file, |columns, rows| {
        let edges = &graph.edges[rows];
        let source = edges.iter().map(|edge| graph.nodes[edge.source as usize].entry);
        let target = edges.iter().map(|edge| graph.nodes[edge.target as usize].entry);
        columns.write::<ByteArrayType>(edges.iter().map(|_| name.clone()))?;
        columns.write::<ByteArrayType>(source.clone().map(|entry| layers[&entry.layer].clone()))?;
        columns.write::<Int32Type>(source.clone().map(|entry| entry.position.cast_signed()))?;
        columns.write::<Int32Type>(source.map(|entry| entry.component.cast_signed()))?;
        columns.write::<ByteArrayType>(target.clone().map(|entry| layers[&entry.layer].clone()))?;
        columns.write::<Int32Type>(target.clone().map(|entry| entry.position.cast_signed()))?;
        columns.write::<Int32Type>(target.map(|entry| entry.component.cast_signed()))?;
        columns.write::<FloatType>(edges.iter().map(|edge| edge.value))
    })
}

pub(crate) fn write_nodes(set: Set<'_>, file: OutputFile) -> std::result::Result<(), ExportError> {
    let graph = set.graph;
    let (name, layers) = (ByteArray::from(&*set.entry.name), layer_names(set));
    let kinds = ["node", "ghost"].map(ByteArray::from);
    let nodes = graph.nodes.iter().map(|node| (node.entry, Some(node)));
    let rows: Vec<(Entry, Option<&Node>)> = nodes.chain(graph.ghosts.iter().map(|&ghost| (ghost, None))).collect();
    table(set, NODES, rows.len(), file, |columns, group| {
        let entries = rows[group.clone()].iter().map(|&(entry, _)| entry);
        let nodes = rows[group].iter().map(|&(_, node)| node);
        columns.write::<ByteArrayType>(nodes.clone().map(|_| name.clone()))?;
        columns.write::<ByteArrayType>(entries.clone().map(|entry| layers[&entry.layer].clone()))?;
        columns.write::<Int32Type>(entries.clone().map(|entry| entry.position.cast_signed()))?;
        columns.write::<Int32Type>(entries.clone().map(|entry| entry.component.cast_signed()))?;
        columns.write::<ByteArrayType>(nodes.clone().map(|node| kinds[usize::from(node.is_none())].clone()))?;
        columns.write_optional::<FloatType>(nodes.clone().map(|node| node?.ci))?;
        columns.write_optional::<FloatType>(nodes.clone().map(|node| node?.probability))?;
        columns.write_optional::<FloatType>(nodes.clone().map(|node| node?.target_probability))?;
        columns.write_optional::<FloatType>(nodes.clone().map(|node| node?.activation))?;
        columns.write_optional::<DoubleType>(nodes.map(|node| Some(node?.importance)))?;
        columns.write::<ByteArrayType>(entries.clone().map(|entry| ByteArray::from(set.position_token(entry))))?;
        columns.write_optional::<ByteArrayType>(entries.map(|entry| set.output_token(entry).map(into_bytes)))
    })
}

fn into_bytes(text: String) -> ByteArray {
    ByteArray::from(text.into_bytes())
}

fn layer_names(set: Set<'_>) -> BTreeMap<Layer, ByteArray> {
    set.model().node_layers().map(|(layer, _)| (layer, into_bytes(layer.to_string()))).collect()
}

/// Writes a table of `rows` rows; `write` writes all columns of some of them.
fn table(
    set: Set<'_>,
    schema: &str,
    rows: usize,
    file: OutputFile,
    write: impl Fn(&mut Columns<'_, '_>, Range<usize>) -> Result<()>,
) -> std::result::Result<(), ExportError> {
    let path = file.path().to_owned();
    let write = || {
        let schema = Arc::new(parse_message_type(schema)?);
        let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties(set)))?;
        for start in (0..rows).step_by(ROWS_OF_GROUP) {
            let mut group = writer.next_row_group()?;
            write(&mut Columns(&mut group), start..rows.min(start + ROWS_OF_GROUP))?;
            group.close()?;
        }
        writer.into_inner()
    };
    let fail = |error: ParquetError| match error {
        // What the system says of the file comes wrapped.
        ParquetError::External(source) => match source.downcast() {
            Ok(source) => FilesError::io("write", &path)(*source).into(),
            Err(source) => ExportError::Parquet { path: path.clone(), source: ParquetError::External(source) },
        },
        source => ExportError::Parquet { path: path.clone(), source },
    };
    let file: OutputFile = write().map_err(fail)?;
    Ok(file.close()?)
}

fn properties(set: Set<'_>) -> WriterProperties {
    let (prompt, model) = (set.prompt(), set.model());
    let mut about = vec![
        ("format", GRAPH_FORMAT.to_owned()),
        ("format_version", GRAPH_FORMAT_VERSION.to_string()),
        ("tool_version", env!("CARGO_PKG_VERSION").to_owned()),
        ("set", set.entry.name.clone()),
        ("prompt", prompt.text.clone()),
        ("tokens", json_text(&prompt.tokens)),
        ("token_strings", json_text(&prompt.token_strings)),
        ("token_texts", json_text(prompt.texts())),
        ("model_class", model.class.clone()),
        ("model_fingerprint", model.fingerprint.clone()),
        ("sign", set.view.sign.name().to_owned()),
        ("normalise", set.view.normalise.name().to_owned()),
    ];
    if let Some((found, _)) = set.prediction() {
        about.push(("mean_kl", found.mean_kl.to_string()));
        about.push(("agreeing", found.agreeing.to_string()));
    }
    if let Some(AtTarget { forward, delta }) = AtTarget::of(set) {
        about.push(("forward", forward.to_owned()));
        about.extend(delta.map(|delta| ("delta", delta.to_owned())));
    }
    WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        // Attributions hardly ever repeat.
        .set_column_dictionary_enabled(ColumnPath::from("value"), false)
        .set_key_value_metadata(Some(
            about.into_iter().map(|(key, value)| KeyValue::new(key.to_owned(), value)).collect(),
        ))
        .build()
}

/// The columns of a row group, to be written in their order.
struct Columns<'a, 'b>(&'a mut SerializedRowGroupWriter<'b, OutputFile>);

impl Columns<'_, '_> {
    fn write<T: DataType>(&mut self, values: impl Iterator<Item = T::T>) -> Result<()> {
        self.write_rows::<T>(values.map(Some), false)
    }

    fn write_optional<T: DataType>(&mut self, values: impl Iterator<Item = Option<T::T>>) -> Result<()> {
        self.write_rows::<T>(values, true)
    }

    fn write_rows<T: DataType>(
        &mut self,
        mut values: impl Iterator<Item = Option<T::T>>,
        optional: bool,
    ) -> Result<()> {
        let mut column = self.0.next_column()?.expect("the schema has as many columns as are written");
        let writer = get_typed_column_writer_mut::<T>(column.untyped());
        let (mut defined, mut levels) = (Vec::with_capacity(ROWS_OF_BATCH), Vec::with_capacity(ROWS_OF_BATCH));
        loop {
            defined.clear();
            levels.clear();
            for value in values.by_ref().take(ROWS_OF_BATCH) {
                levels.push(i16::from(value.is_some()));
                defined.extend(value);
            }
            if levels.is_empty() {
                break;
            }
            writer.write_batch(&defined, optional.then_some(&levels), None)?;
        }
        column.close()
    }
}
