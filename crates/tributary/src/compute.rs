//! The main job, on a backend that is chosen at run time.

use tributary_backend::{AttributionBackend, OpenOptions, Providers, Work};
use tributary_results::{Manifest, PendingResults, ResultWriter};

use crate::session::begin;
use crate::{Compute, Error, Folder, OnProgress, Outline, Session, Settings, choose};

/// Computes the attribution graph of every CI set on a backend of `L` and writes them to a folder, which appears whole or not
/// at all. Gives the folder's manifest.
pub fn attribute<L: Providers>(
    settings: &Settings,
    folder: Folder<'_>,
    on_progress: &mut OnProgress<'_>,
) -> Result<Manifest, Error> {
    Ok(write::<L>(settings, folder, on_progress)?.commit()?)
}

/// Fails where [`attribute`] could not write to a folder: known before hours are spent on what it computes from.
pub fn check_folder(settings: &Settings, folder: Folder<'_>) -> Result<(), Error> {
    begin(settings, folder).map(drop)
}

/// As [`attribute`], but for putting the files into place, for who has others to add to them.
pub fn write<L: Providers>(
    settings: &Settings,
    folder: Folder<'_>,
    on_progress: &mut OnProgress<'_>,
) -> Result<PendingResults, Error> {
    let writer = begin(settings, folder)?;
    on_backend::<L, _, _, _>(&settings.compute, Write { settings, writer, folder, on_progress })
}

/// Says what [`attribute`] would compute and what memory that takes, after the forward pass alone.
pub fn outline<L: Providers>(settings: &Settings, on_progress: &mut OnProgress<'_>) -> Result<Outline, Error> {
    on_backend::<L, _, _, _>(&settings.compute, Count { settings, on_progress })
}

/// Opens the backend of `L` that is asked for and does `work` on it, on a thread of rayon's pool.
///
/// With [`Compute::threads`], that pool is the global one if it has as many threads, else one of its own.
pub fn on_backend<L, W, T, F>(compute: &Compute, work: W) -> Result<T, F>
where
    L: Providers,
    W: Work<Output = Result<T, F>> + Send,
    T: Send,
    F: From<Error> + Send,
{
    let chosen = choose::<L>(compute)?;
    let options = OpenOptions { device: &chosen.device, allow_tf32: compute.allow_tf32 };
    let run = || match L::run_on(&chosen.name, compute.dtype, &options, work) {
        Some(done) => done.map_err(Error::from)?,
        None => unreachable!("what is chosen is in the list"),
    };
    // On a thread of the pool, since work that is shared out from any other thread has to wait for one of the pool's to
    // wake up, and there are thousands of small pieces.
    let Some(threads) = compute.threads else { return rayon::scope(|_| run()) };
    if let Some(entry) = L::list().iter().find(|entry| entry.name == chosen.name) {
        (entry.set_threads)(threads);
    }
    if rayon::current_num_threads() == threads {
        return rayon::scope(|_| run());
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let failed = |error: rayon::ThreadPoolBuildError| Error::Threads { threads, reason: error.to_string() };
    pool.map_err(failed)?.install(run)
}

struct Write<'a, 'p> {
    settings: &'a Settings,
    writer: ResultWriter,
    folder: Folder<'a>,
    on_progress: &'a mut OnProgress<'p>,
}

impl Work for Write<'_, '_> {
    type Output = Result<PendingResults, Error>;

    fn run<B: AttributionBackend>(self, backend: B) -> Self::Output {
        let Self { settings, writer, folder, on_progress } = self;
        Session::open(settings.clone(), backend, on_progress)?.write_to(writer, folder, on_progress)
    }
}

struct Count<'a, 'p> {
    settings: &'a Settings,
    on_progress: &'a mut OnProgress<'p>,
}

impl Work for Count<'_, '_> {
    type Output = Result<Outline, Error>;

    fn run<B: AttributionBackend>(self, backend: B) -> Self::Output {
        Session::open(self.settings.clone(), backend, self.on_progress)?.outline(self.on_progress)
    }
}
