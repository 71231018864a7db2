//! Moving a file to a name, and what is in the way there.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Moves `from` to `to`, where nothing may be: unlike a rename, which replaces.
pub(crate) fn move_to_free(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "macos"))]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        use rustix::io::Errno;
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            // A kernel or file system that does not know it, as NFS does not.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
            done => return Ok(done?),
        }
    }
    if to.symlink_metadata().is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    fs::rename(from, to)
}

/// `None` when what was to be touched does not exist.
pub(crate) fn unless_missing<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

/// Opens a file of the hidden folder for writing; one that is not there is made, if `create`.
///
/// The folder may come from somebody else: a link there would lead out of it, a pipe be waited for without end.
pub(crate) fn open_own(path: &Path, create: bool) -> io::Result<File> {
    let irregular = || io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file");
    if path.symlink_metadata().is_ok_and(|found| !found.is_file()) {
        return Err(irregular());
    }
    let mut options = File::options();
    options.write(true).create(create).truncate(false);
    // What was looked at may have been replaced since.
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, flags.bits() as i32);
    }
    let file = options.open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(irregular()) }
}

/// The first folder on the way from `folder` to `name` in it that is a link, which may lead anywhere.
pub(crate) fn link_on_the_way(folder: &Path, name: &Path) -> Option<PathBuf> {
    let inner: Vec<&Path> = name.ancestors().skip(1).filter(|inner| !inner.as_os_str().is_empty()).collect();
    inner.into_iter().rev().map(|inner| folder.join(inner)).find(|path| path.is_symlink())
}
