//! The choice among backends.

use tributary_backend::{ProviderEntry, Providers};

use crate::{BackendDescription, Compute, Error, Unusable};

/// A backend that may be taken unless another is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// Name of the backend.
    pub name: &'a str,
    /// What the name of its device has to begin with.
    pub device: &'a str,
}

/// Backends that come with tributary, in the order in which they are tried unless one is named.
pub const PREFERENCE: [Candidate<'static>; 4] = [
    Candidate { name: "cuda", device: "cuda" },
    Candidate { name: "tch", device: "cuda" },
    Candidate { name: "flex", device: "" },
    Candidate { name: "ndarray", device: "" },
];

/// A backend that is to compute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Its name.
    pub name: String,
    /// Its device.
    pub device: String,
    /// Candidates before it, and why they cannot be used.
    pub passed_over: Vec<(String, String)>,
}

/// The first of the candidates that can compute what is asked for. `describe` says what each of them is, or why it is not
/// asked.
pub fn first_usable<'a>(
    candidates: impl IntoIterator<Item = Candidate<'a>>,
    compute: &Compute,
    mut describe: impl FnMut(&str) -> Result<BackendDescription, String>,
) -> Result<Chosen, Error> {
    let mut passed_over: Vec<(String, Unusable)> = Vec::new();
    for Candidate { name, device: wanted } in candidates {
        let taken = describe(name).map_err(Unusable::because).and_then(|backend| {
            // Unless one is named, a backend's first device is a GPU if it has any.
            let device = backend.device_for(compute)?;
            if !device.name.starts_with(wanted) {
                let note = backend.note.as_ref().map_or_else(String::new, |note| format!(" ({note})"));
                return Err(Unusable::because(format!("it has no {wanted} device here{note}")));
            }
            Ok(device.name.clone())
        });
        match taken {
            Ok(device) => {
                let passed_over = passed_over.into_iter().map(|(name, unusable)| (name, unusable.reason)).collect();
                return Ok(Chosen { name: name.to_owned(), device, passed_over });
            }
            Err(unusable) => passed_over.push((name.to_owned(), unusable)),
        }
    }
    Err(Error::NoBackend { passed_over })
}

/// The backend of `L` that is asked for, and its device. Unless one is named, the first that can be used, in the order of
/// [`PREFERENCE`]; then those that are not in it or have another device only.
pub fn choose<L: Providers>(compute: &Compute) -> Result<Chosen, Error> {
    let list = L::list();
    let entry = |name: &str| list.iter().find(|entry| entry.name == name);
    if let Some(name) = &compute.backend {
        let entry = entry(name).ok_or_else(|| Error::UnknownBackend {
            name: name.clone(),
            known: list.iter().map(|entry| entry.name.to_owned()).collect(),
        })?;
        return choose_entry(entry, compute);
    }
    let preferred = PREFERENCE.into_iter().filter(|candidate| entry(candidate.name).is_some());
    let others = list.iter().map(|entry| Candidate { name: entry.name, device: "" });
    first_usable(preferred.chain(others), compute, |name| {
        entry(name).map(BackendDescription::of).ok_or_else(|| "it is not in this program".to_owned())
    })
}

/// This backend, if it can compute what is asked for.
pub fn choose_entry(entry: &ProviderEntry, compute: &Compute) -> Result<Chosen, Error> {
    let description = BackendDescription::of(entry);
    let device = description
        .device_for(compute)
        .map_err(|unusable| Error::Unusable { name: entry.name.to_owned(), unusable })?;
    Ok(Chosen { name: entry.name.to_owned(), device: device.name.clone(), passed_over: Vec::new() })
}
