//! A process of this program that runs with the shim, to its end.

use std::{ffi::OsString, io, path::Path, process::Stdio};

use tokio::process::Command;

use crate::{
    shim::Shim,
    trouble::{Trouble, broken, tool},
};

/// Runs it; what it wrote to stdout. Its files in `directory` are watched, and written down in `trace`.
///
/// # Errors
///
/// Its own; and a broken promise when it ends in any other way.
pub async fn run(
    program: &Path,
    directory: &Path,
    trace: Option<&Path>,
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Vec<u8>, Trouble> {
    let shim = tempfile::tempdir().map_err(tool("making a folder"))?;
    let variables = Shim::write_to(shim.path())
        .and_then(|shim| shim.variables(directory, trace))
        .map_err(tool("the shim"))?;
    let output = Command::new(program)
        .args(arguments)
        .envs(variables)
        .stdin(Stdio::null())
        // Ctrl-C is for us alone.
        .process_group(0)
        .kill_on_drop(true)
        .output()
        .await
        .map_err(tool(format!("running {}", program.display())))?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    match output.status.code() {
        Some(0) => Ok(output.stdout),
        Some(1) => broken(said.trim_start_matches("error: ")),
        Some(2) => Err(tool("a process with the shim")(io::Error::other(said))),
        _ => broken(format!("a process ended with {}: {said}", output.status)),
    }
}

/// Arguments of all kinds.
pub fn arguments(
    verb: &str,
    options: impl IntoIterator<Item = (&'static str, OsString)>,
) -> impl Iterator<Item = OsString> {
    let options: Vec<_> = options.into_iter().collect();
    std::iter::once(verb.into()).chain(options.into_iter().flat_map(|(name, value)| [name.into(), value]))
}
