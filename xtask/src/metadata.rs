//! The part of `cargo metadata --no-deps` that the verbs read: members, their manifests, their declared dependencies.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::run::{self, Result};

/// A workspace.
#[derive(Debug, Clone, Deserialize)]
pub struct Metadata {
    /// The members (with `--no-deps` there is nothing else in here).
    pub packages: Vec<Package>,
    /// Where the root manifest is.
    pub workspace_root: PathBuf,
    /// Where cargo builds.
    pub target_directory: PathBuf,
}

/// A member of the workspace.
#[derive(Debug, Clone, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its Cargo.toml.
    pub manifest_path: PathBuf,
    /// What it declares to depend on: of every kind, optional ones and those of other platforms included.
    pub dependencies: Vec<Dependency>,
}

/// One declared dependency.
#[derive(Debug, Clone, Deserialize)]
pub struct Dependency {
    /// The package's true name, whatever it is renamed to.
    pub name: String,
    /// When it is needed.
    #[serde(default)]
    pub kind: Kind,
    /// Where it is, for a path dependency.
    #[serde(default)]
    pub path: Option<PathBuf>,
}

/// The table of Cargo.toml that a dependency stands in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kind {
    /// `[dependencies]`
    #[default]
    Normal,
    /// `[dev-dependencies]`
    Dev,
    /// `[build-dependencies]`
    Build,
}

impl Kind {
    /// The table's name.
    pub fn table(self) -> &'static str {
        match self {
            Self::Normal => "dependencies",
            Self::Dev => "dev-dependencies",
            Self::Build => "build-dependencies",
        }
    }

    /// The kind's name, with its article.
    pub fn article(self) -> &'static str {
        match self {
            Self::Normal => "a dependency",
            Self::Dev => "a dev-dependency",
            Self::Build => "a build-dependency",
        }
    }
}

// Cargo writes `null` for a normal dependency.
impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        match Option::<String>::deserialize(deserializer)?.as_deref() {
            None | Some("normal") => Ok(Self::Normal),
            Some("dev") => Ok(Self::Dev),
            Some("build") => Ok(Self::Build),
            Some(other) => Err(serde::de::Error::custom(format!("unknown kind of dependency `{other}`"))),
        }
    }
}

impl Metadata {
    /// A member's manifest as seen from the root: `ipa-pod/Cargo.toml`.
    pub fn manifest<'a>(&self, package: &'a Package) -> &'a Path {
        package.manifest_path.strip_prefix(&self.workspace_root).unwrap_or(&package.manifest_path)
    }
}

/// Asks cargo about our workspace. Nothing is resolved or downloaded.
pub fn read() -> Result<Metadata> {
    read_at(&run::root())
}

/// Asks cargo about the workspace in this folder.
pub fn read_at(root: &Path) -> Result<Metadata> {
    let mut command = run::cargo(["metadata", "--format-version", "1", "--no-deps", "--offline"]);
    command.current_dir(root);
    run::json(&run::output(command)?, "what `cargo metadata` printed")
}
