//! Lets the plugin find libtorch where it was found for the build, without `LD_LIBRARY_PATH`.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if let Ok(libraries) = std::env::var("DEP_TRIBUTARY_TCH_LIBRARIES") {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{libraries},--disable-new-dtags");
    }
}
