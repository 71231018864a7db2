//! What an attack is.

use std::ffi::OsString;

use crate::Scene;

/// A hostile input.
#[derive(Clone, Copy, Debug)]
pub struct Attack {
    /// Its name, in kebab-case.
    pub name: &'static str,
    /// What it tries, in a line.
    pub tries: &'static str,
    /// Makes its files in a scene, and gives the arguments of the command that meets them.
    pub make: fn(&Scene) -> Vec<OsString>,
    /// What has to come of it.
    pub expect: Expect,
    /// The folder of the scene that the command may change; nothing else in reach may.
    pub may_change: Option<&'static str>,
    /// Why what is said differs from one machine to another, so that no snapshot has it.
    pub varies: Option<&'static str>,
    /// Why it is not answered as it should be; what is expected is not asked for then.
    pub known: Option<&'static str>,
}

/// What has to come of an attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// An error that names this, with exit status 1.
    Refused(&'static str),
    /// An error about the command line, with exit status 2.
    Usage,
    /// It is harmless, and the command does what it is asked to do.
    Taken,
}

/// One that is refused with an error that names `file`.
pub(crate) const fn refused(
    name: &'static str,
    tries: &'static str,
    file: &'static str,
    make: fn(&Scene) -> Vec<OsString>,
) -> Attack {
    Attack { name, tries, make, expect: Expect::Refused(file), may_change: None, varies: None, known: None }
}

/// One that is harmless; what is asked for comes to the folder `new`.
pub(crate) const fn taken(name: &'static str, tries: &'static str, make: fn(&Scene) -> Vec<OsString>) -> Attack {
    Attack { name, tries, make, expect: Expect::Taken, may_change: Some("new"), varies: None, known: None }
}

/// One that is refused for its command line alone.
pub(crate) const fn usage(name: &'static str, tries: &'static str, make: fn(&Scene) -> Vec<OsString>) -> Attack {
    Attack { name, tries, make, expect: Expect::Usage, may_change: None, varies: None, known: None }
}

impl Attack {
    /// The same where the command may change a folder of the scene.
    pub(crate) const fn changing(self, folder: &'static str) -> Self {
        Self { may_change: Some(folder), ..self }
    }

    /// The same, with an answer that differs from one machine to another.
    pub(crate) const fn varying(self, reason: &'static str) -> Self {
        Self { varies: Some(reason), ..self }
    }

    /// The same, not answered as it should be.
    #[must_use]
    pub const fn known(self, reason: &'static str) -> Self {
        Self { known: Some(reason), ..self }
    }
}
