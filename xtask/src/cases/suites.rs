//! What really runs: the tests that the binaries list, and the doctests that rustdoc lists, without the ignored ones.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

use serde::Deserialize;

use crate::{
    metadata::Metadata,
    run::{self, Error, Result},
    test,
};

/// All test binaries of the workspace, and its doctests.
#[derive(Debug)]
pub struct Suites {
    pub binaries: Vec<Binary>,
    pub doctests: Vec<Doctest>,
    /// The root of the workspace.
    pub root: PathBuf,
}

/// One test binary.
#[derive(Debug)]
pub struct Binary {
    /// `package` for a library's unit tests, `package::target` for others.
    pub name: String,
    pub package: String,
    /// The file that the target begins with.
    pub root: PathBuf,
    /// The full paths of the tests that run.
    pub tests: BTreeSet<String>,
}

/// One doctest.
#[derive(Debug, PartialEq, Eq)]
pub struct Doctest {
    /// As rustdoc lists it.
    pub name: String,
    pub file: PathBuf,
    /// The line of its opening fence.
    pub line: usize,
}

impl Suites {
    /// A file as seen from the root.
    pub fn shown(&self, file: &Path) -> String {
        file.strip_prefix(&self.root).unwrap_or(file).display().to_string()
    }
}

/// What of `cargo test --no-run --message-format=json` is of interest.
#[derive(Debug, Deserialize)]
struct Message {
    reason: String,
    manifest_path: Option<PathBuf>,
    target: Option<Target>,
    profile: Option<Profile>,
    executable: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
struct Target {
    kind: Vec<String>,
    name: String,
    src_path: PathBuf,
}

#[derive(Debug, Deserialize)]
struct Profile {
    test: bool,
}

/// Builds the tests as `cargo xtask test` does and asks each binary, and rustdoc, for its list.
pub fn read(metadata: &Metadata) -> Result<Suites> {
    let mut build = run::cargo(test::ARGS);
    build.args(["--workspace", "--no-run", "--message-format=json-render-diagnostics"]);
    let mut binaries = Vec::new();
    for line in run::output(build)?.lines().filter(|line| line.starts_with('{')) {
        let message: Message = run::json(line, "a message of cargo")?;
        binaries.extend(binary(metadata, message)?);
    }
    Ok(Suites { binaries, doctests: doctests(metadata)?, root: metadata.workspace_root.clone() })
}

fn binary(metadata: &Metadata, message: Message) -> Result<Option<Binary>> {
    let (Some(manifest), Some(target), Some(executable)) =
        (message.manifest_path, message.target, message.executable)
    else {
        return Ok(None);
    };
    let is_test =
        message.reason == "compiler-artifact" && message.profile.is_some_and(|profile| profile.test);
    let package = metadata.packages.iter().find(|package| package.manifest_path == manifest);
    let Some(package) = package.filter(|_| is_test) else { return Ok(None) };

    let list = |ignored: bool| -> Result<BTreeSet<String>> {
        let mut command = Command::new(&executable);
        command
            .args(["--list", "--format", "terse"])
            .current_dir(manifest.parent().unwrap_or(Path::new(".")));
        if ignored {
            command.arg("--ignored");
        }
        Ok(listed(&run::output(command)?))
    };
    let ignored = list(true)?;
    let tests = list(false)?.difference(&ignored).cloned().collect();
    let is_library = target.kind.iter().any(|kind| kind.ends_with("lib") || kind == "proc-macro");
    let name = if is_library { package.name.clone() } else { format!("{}::{}", package.name, target.name) };
    Ok(Some(Binary { name, package: package.name.clone(), root: target.src_path, tests }))
}

fn doctests(metadata: &Metadata) -> Result<Vec<Doctest>> {
    let list = |ignored: bool| -> Result<BTreeSet<String>> {
        let mut command = run::cargo(test::ARGS);
        command.args(["--workspace", "--doc", "--quiet", "--", "--list", "--format", "terse"]);
        if ignored {
            command.arg("--ignored");
        }
        Ok(listed(&run::output(command)?))
    };
    let ignored = list(true)?;
    list(false)?
        .difference(&ignored)
        .map(|name| {
            doctest(&metadata.workspace_root, name)
                .ok_or_else(|| Error::failed(format!("an odd doctest: {name}")))
        })
        .collect()
}

/// The names of `name: test` lines.
fn listed(output: &str) -> BTreeSet<String> {
    output.lines().filter_map(|line| line.trim_end().strip_suffix(": test")).map(String::from).collect()
}

/// `ipa-registry/src/lib.rs - Registry::register (line 12)`, perhaps with ` - compile fail` after it.
fn doctest(root: &Path, name: &str) -> Option<Doctest> {
    let (file, rest) = name.split_once(" - ")?;
    let (_, line) = rest.rsplit_once("(line ")?;
    let line = line.split(')').next()?.parse().ok()?;
    Some(Doctest { name: name.to_string(), file: root.join(file), line })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tests_are_listed() {
        let output = "a::b: test\nc: benchmark\nsrc/lib.rs - x (line 3): test\n\n1 test, 1 benchmark\n";
        assert_eq!(listed(output), ["a::b", "src/lib.rs - x (line 3)"].map(String::from).into());
    }

    #[test]
    fn a_doctest_s_name_gives_its_place() {
        let found =
            doctest(Path::new("/w"), "ipa-pod/src/a.rs - a::B<T>::c (line 12) - compile fail").unwrap();
        assert_eq!((found.file, found.line), (PathBuf::from("/w/ipa-pod/src/a.rs"), 12));
        let found = doctest(Path::new("/w"), "ipa-pod/src/lib.rs - (line 7)").unwrap();
        assert_eq!((found.file, found.line), (PathBuf::from("/w/ipa-pod/src/lib.rs"), 7));
        assert_eq!(doctest(Path::new("/w"), "something else"), None);
    }
}
