//! The shim: where it is, and how a process is started with it.

use std::{
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
};

/// The shim as a library in a file.
///
/// The library is part of this program, so that a program that was moved away from where it was built still has it.
#[derive(Debug, Clone)]
pub struct Shim {
    path: PathBuf,
}

impl Shim {
    /// Writes the library into a folder.
    ///
    /// # Errors
    ///
    /// When it cannot be written; `Unsupported` where there is no shim (it is for Linux).
    #[cfg(target_os = "linux")]
    pub fn write_to(folder: &Path) -> io::Result<Self> {
        const LIBRARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/ipa_faults.so"));
        let path = folder.join("ipa_faults.so");
        std::fs::write(&path, LIBRARY)?;
        Ok(Self { path })
    }

    /// Writes the library into a folder.
    ///
    /// # Errors
    ///
    /// `Unsupported`: the shim is for Linux.
    #[cfg(not(target_os = "linux"))]
    pub fn write_to(_folder: &Path) -> io::Result<Self> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "files are broken on Linux only; run it there"))
    }

    /// The variables under which a process has its files in `directory` watched, and written down in `trace`.
    ///
    /// # Errors
    ///
    /// When the directory cannot be found.
    pub fn variables(
        &self,
        directory: &Path,
        trace: Option<&Path>,
    ) -> io::Result<Vec<(&'static OsStr, PathBuf)>> {
        let mut variables = vec![
            (OsStr::new("LD_PRELOAD"), self.path.clone()),
            // With links resolved, as the store resolves them.
            (OsStr::new("IPA_FAULTS_DIR"), directory.canonicalize()?),
        ];
        variables.extend(trace.map(|trace| (OsStr::new("IPA_FAULTS_TRACE"), trace.to_owned())));
        Ok(variables)
    }
}
