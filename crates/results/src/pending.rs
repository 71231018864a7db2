//! Results that are written and not in place yet.

use tributary_files::{Replace, Transaction};

use crate::{MANIFEST_FILE, Manifest, ResultError, ResultFolder};

/// Results that are written whole and come into place by [`commit`](Self::commit), together with what else was written for
/// their folder. Dropped before, they leave the folder as it was.
#[derive(Debug)]
pub struct PendingResults {
    pub(crate) transaction: Transaction,
    /// They as they will be.
    pub(crate) folder: ResultFolder,
    /// What the replaced results were.
    pub(crate) replaced: Option<Manifest>,
    /// Whether there is a manifest that is replaced.
    pub(crate) replace: Replace,
}

impl PendingResults {
    /// Manifest of the results that they replace.
    pub fn replaced(&self) -> Option<&Manifest> {
        self.replaced.as_ref()
    }

    /// The results to read, as they will be.
    pub fn folder(&self) -> &ResultFolder {
        &self.folder
    }

    /// For files that come into the folder together with the results.
    pub fn files(&self) -> &Transaction {
        &self.transaction
    }

    /// Puts everything into place, and gives the manifest.
    pub fn commit(self) -> Result<Manifest, ResultError> {
        let Self { transaction, folder, replace, .. } = self;
        let manifest = folder.into_manifest();
        // Last, since it tells that the rest is there.
        let mut file = transaction.create(MANIFEST_FILE, replace)?;
        manifest.write(&mut file).map_err(ResultError::io("write", &transaction.folder().join(MANIFEST_FILE)))?;
        file.close()?;
        transaction.commit()?;
        Ok(manifest)
    }
}
