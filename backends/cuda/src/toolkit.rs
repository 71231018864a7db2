//! Whether what burn-cuda needs besides the driver is there: the compiler NVRTC, with which every kernel is built on its
//! first use, and the header that every kernel includes.

use std::path::{Path, PathBuf};

/// `Err` names what is missing, where it was looked for and what to do.
pub(crate) fn check() -> Result<(), String> {
    let remedy = "it comes with the CUDA toolkit, and with pip: `pip install nvidia-cuda-nvrtc nvidia-cuda-runtime \
                  nvidia-cuda-crt`, then LD_LIBRARY_PATH=SITE_PACKAGES/nvidia/cu13/lib and \
                  CUDA_PATH=SITE_PACKAGES/nvidia/cu13";
    // The very names that burn-cuda will try.
    let names = cudarc::get_lib_name_candidates("nvrtc");
    tributary_nvidia::find("CUDA's run-time compiler libnvrtc", &names, remedy)
        .map_err(|missing| missing.to_string())?;
    header(cubecl::cuda::install::cuda_path(), remedy)
}

fn header(cuda: Option<PathBuf>, remedy: &str) -> Result<(), String> {
    const HEADER: &str = "include/cuda_runtime.h";
    match cuda {
        Some(cuda) if cuda.join(HEADER).is_file() => Ok(()),
        Some(cuda) => Err(format!("CUDA's header {} is not there; {remedy}", Path::new(&cuda).join(HEADER).display())),
        None => Err(format!(
            "CUDA's header {HEADER} was not found (CUDA_PATH is not set, and there is no /usr/local/cuda, no /opt/cuda and \
             no /usr/bin/nvcc); {remedy}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_looked_for_where_kernels_will_include_it() {
        assert!(header(None, "R").unwrap_err().ends_with("; R"));
        let folder = std::env::temp_dir().join(format!("tributary-cuda-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("include")).unwrap();
        let missing = header(Some(folder.clone()), "R").unwrap_err();
        assert!(missing.contains(&folder.join("include/cuda_runtime.h").display().to_string()), "{missing}");
        std::fs::write(folder.join("include/cuda_runtime.h"), "").unwrap();
        assert_eq!(header(Some(folder.clone()), "R"), Ok(()));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
