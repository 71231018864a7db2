//! Lets the executables find libtorch where it was found for the build, without `LD_LIBRARY_PATH`.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let Some(libraries) = std::env::var_os("DEP_TCH_LIBTORCH_LIB") else {
        return;
    };
    // The folder itself rather than a link to it: the loader looks for libtorch's own libraries relative to it.
    let libraries = std::fs::canonicalize(&libraries).unwrap_or_else(|_| libraries.into());
    let libraries = libraries.display();
    // As RPATH rather than RUNPATH: another PyTorch on LD_LIBRARY_PATH must not come first.
    println!("cargo::rustc-link-arg=-Wl,-rpath,{libraries},--disable-new-dtags");
    println!("cargo::metadata=LIBRARIES={libraries}");
}
