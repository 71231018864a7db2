//! What becomes known of a result after it was computed.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use tributary_files::{Replace, Transaction};

use crate::{MANIFEST_FILE, ResultError, ResultFolder};

impl ResultFolder {
    /// Puts values under `key` into the metadata of sets, by their names, in the manifest of the folder. What a set has as metadata
    /// that is no object is kept under `metadata`.
    ///
    /// # Errors
    ///
    /// [`ResultError::Replaced`] where the folder now holds other results than when this was opened.
    pub fn record(&mut self, key: &str, values: &BTreeMap<String, Value>) -> Result<(), ResultError> {
        let files = Transaction::begin(self.path())?;
        let mut manifest = self.manifest().clone();
        for set in &mut manifest.sets {
            let Some(value) = values.get(&set.name) else { continue };
            let mut metadata = match set.metadata.take() {
                Some(Value::Object(metadata)) => metadata,
                Some(other) => Map::from_iter([("metadata".to_owned(), other)]),
                None => Map::new(),
            };
            metadata.insert(key.to_owned(), value.clone());
            set.metadata = Some(Value::Object(metadata));
        }
        let mut file = files.create(MANIFEST_FILE, Replace::File)?;
        manifest.write(&mut file).map_err(ResultError::io("write", &self.path().join(MANIFEST_FILE)))?;
        file.close()?;
        files.commit_with(|_| self.check_current())?;
        self.set_manifest(manifest);
        Ok(())
    }
}
