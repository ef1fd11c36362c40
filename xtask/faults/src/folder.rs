//! Folders, made empty and copied.

use std::{fs, io, path::Path};

use crate::trouble::{Trouble, tool};

/// An empty folder of this name.
pub fn empty(folder: &Path) -> Result<(), Trouble> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => fs::create_dir_all(folder),
    }
    .map_err(tool(format!("emptying {}", folder.display())))
}

/// Copies the files of one folder into another, which is there and empty, but for those whose name ends in one of these.
pub fn copy(from: &Path, to: &Path, without: &[&str]) -> Result<(), Trouble> {
    let copy = || -> io::Result<()> {
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            let name = entry.file_name();
            if !without.iter().any(|ending| name.to_string_lossy().ends_with(ending)) {
                fs::copy(entry.path(), to.join(name))?;
            }
        }
        Ok(())
    };
    copy().map_err(tool(format!("copying {}", from.display())))
}
