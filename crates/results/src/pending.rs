//! Results that are written and not in place yet.

use std::collections::BTreeMap;
use std::path::PathBuf;

use tributary_files::{Replace, Transaction};

use crate::{MANIFEST_FILE, Manifest, ResultError, ResultFolder};

/// Results that are written whole and come into place by [`commit`](Self::commit), together with what else was written for
/// their folder. Dropped before, they leave the folder as it was.
#[derive(Debug)]
pub struct PendingResults {
    pub(crate) transaction: Transaction,
    pub(crate) manifest: Manifest,
    /// Where the file of each set is until then, by its name.
    pub(crate) staged: BTreeMap<String, PathBuf>,
    /// What the replaced results were.
    pub(crate) replaced: Option<Manifest>,
    /// Whether there is a manifest that is replaced.
    pub(crate) replace: Replace,
}

impl PendingResults {
    /// Their manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Manifest of the results that they replace.
    pub fn replaced(&self) -> Option<&Manifest> {
        self.replaced.as_ref()
    }

    /// The results to read, as they will be.
    pub fn folder(&self) -> ResultFolder {
        ResultFolder::pending(self.transaction.folder(), &self.manifest, &self.staged)
    }

    /// For files that come into the folder together with the results.
    pub fn files(&self) -> &Transaction {
        &self.transaction
    }

    /// Puts everything into place, and gives the manifest.
    pub fn commit(self) -> Result<Manifest, ResultError> {
        let Self { transaction, manifest, replace, .. } = self;
        // Last, since it tells that the rest is there.
        let mut file = transaction.create(MANIFEST_FILE, replace)?;
        manifest.write(&mut file).map_err(ResultError::io("write", &transaction.folder().join(MANIFEST_FILE)))?;
        file.close()?;
        transaction.commit()?;
        Ok(manifest)
    }
}
