//! Several backends, one of which is chosen at run time.

use crate::{BackendError, Devices, Dtype, OpenOptions, Provider, Work};

/// A list of backends: a [`Provider`], or a tuple of up to eight.
///
/// It is a type, since what is done on a backend is compiled for each; [`list`](Self::list) has what does not depend on
/// the type.
pub trait Providers {
    /// All of them, in the order of the list.
    fn list() -> Vec<ProviderEntry>;

    /// Opens the backend called `name` and does `work` on it; `None` when there is none of that name.
    fn run_on<W: Work>(
        name: &str,
        dtype: Dtype,
        options: &OpenOptions<'_>,
        work: W,
    ) -> Option<Result<W::Output, BackendError>>;
}

/// A [`Provider`] as a value.
#[derive(Clone, Copy, Debug)]
pub struct ProviderEntry {
    /// [`Provider::NAME`].
    pub name: &'static str,
    /// [`Provider::DESCRIPTION`].
    pub description: &'static str,
    /// [`Provider::TF32`].
    pub tf32: bool,
    /// [`Provider::devices`].
    pub devices: fn() -> Result<Devices, String>,
    /// [`Provider::set_threads`].
    pub set_threads: fn(usize),
}

impl ProviderEntry {
    /// What `P` tells of itself.
    pub fn of<P: Provider>() -> Self {
        Self {
            name: P::NAME,
            description: P::DESCRIPTION,
            tf32: P::TF32,
            devices: P::devices,
            set_threads: P::set_threads,
        }
    }
}

impl<P: Provider> Providers for P {
    fn list() -> Vec<ProviderEntry> {
        vec![ProviderEntry::of::<P>()]
    }

    fn run_on<W: Work>(
        name: &str,
        dtype: Dtype,
        options: &OpenOptions<'_>,
        work: W,
    ) -> Option<Result<W::Output, BackendError>> {
        (name == P::NAME).then(|| P::run(dtype, options, work))
    }
}

macro_rules! tuple {
    ($($provider:ident)+) => {
        impl<$($provider: Provider),+> Providers for ($($provider,)+) {
            fn list() -> Vec<ProviderEntry> {
                vec![$(ProviderEntry::of::<$provider>()),+]
            }

            fn run_on<Todo: Work>(
                name: &str,
                dtype: Dtype,
                options: &OpenOptions<'_>,
                work: Todo,
            ) -> Option<Result<Todo::Output, BackendError>> {
                $(if name == $provider::NAME {
                    return Some($provider::run(dtype, options, work));
                })+
                None
            }
        }
    };
}

tuple!(A);
tuple!(A B);
tuple!(A B C);
tuple!(A B C D);
tuple!(A B C D E);
tuple!(A B C D E F);
tuple!(A B C D E F G);
tuple!(A B C D E F G H);
