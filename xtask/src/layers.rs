//! `cargo xtask layers`: the stack's crates use one another downward only.
//!
//! The table below is the stack, bottom-up. A crate may use those below it, in any kind of dependency; a dev-dependency
//! upward would be as much of a knot as any other. Tools (members under `xtask/` and `fuzz/`) may use the whole stack,
//! nothing uses them, and `xtask` itself uses nothing of it: it has to build while the stack does not.

use std::{fmt, path::Path};

use crate::{
    metadata::{self, Kind, Metadata, Package},
    run::{Error, Result},
};

/// The stack, bottom-up.
const LAYERS: [&str; 4] = ["ipa-registry", "ipa-supervisor", "ipa-pod", "ipa-eventstore"];

/// The folders whose members are tools.
const TOOLS: [&str; 2] = ["xtask", "fuzz"];

/// Checks our workspace and prints what it found.
///
/// # Errors
///
/// When an arrow does not point downward, or a member is unknown.
pub fn run() -> Result {
    let metadata = metadata::read()?;
    let arrows = check(&metadata).map_err(|violations| {
        let list: String = violations.iter().map(|violation| format!("\n- {violation}")).collect();
        Error::failed(format!("layers: {} wrong{list}", violations.len()))
    })?;
    println!("layers: ok, {} members, {arrows} arrows between them, all downward", metadata.packages.len());
    Ok(())
}

/// What a member is to the table.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// A crate of the stack, at this height from the bottom.
    Layer(usize),
    /// xtask itself.
    Xtask,
    /// Any other tool.
    Tool,
    Unknown,
}

/// One thing that the table does not allow.
#[derive(Debug, PartialEq, Eq)]
struct Violation {
    what: String,
    remedy: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  {}", self.what, self.remedy)
    }
}

/// Counts the arrows between members, or says which of them (and which members) are wrong.
fn check(metadata: &Metadata) -> std::result::Result<usize, Vec<Violation>> {
    let mut arrows = 0;
    let mut violations = Vec::new();
    for package in &metadata.packages {
        let from = class(metadata, package);
        if from == Class::Unknown {
            violations.push(unknown(metadata, package));
            continue;
        }
        for dependency in &package.dependencies {
            let to = match metadata.packages.iter().find(|other| other.name == dependency.name) {
                Some(other) => class(metadata, other),
                // An arrow out of the workspace could lead back into it where nobody looks.
                None if dependency.path.is_some() && matches!(from, Class::Layer(_)) => {
                    violations.push(Violation {
                        what: format!(
                            "{} has {} on {} by path, which is no member of the workspace",
                            package.name,
                            dependency.kind.article(),
                            dependency.name
                        ),
                        remedy: "Make it a member and name it in the table in xtask/src/layers.rs, or take it from a registry.".into(),
                    });
                    continue;
                }
                None => continue,
            };
            arrows += 1;
            violations.extend(arrow(metadata, package, from, &dependency.name, to, dependency.kind));
        }
    }
    if violations.is_empty() { Ok(arrows) } else { Err(violations) }
}

fn class(metadata: &Metadata, package: &Package) -> Class {
    let manifest = metadata.manifest(package);
    if let Some(height) = LAYERS.iter().position(|name| *name == package.name) {
        Class::Layer(height)
    } else if manifest == Path::new("xtask/Cargo.toml") {
        Class::Xtask
    } else if TOOLS.iter().any(|folder| manifest.starts_with(folder)) {
        Class::Tool
    } else {
        Class::Unknown
    }
}

fn unknown(metadata: &Metadata, package: &Package) -> Violation {
    Violation {
        what: format!(
            "{} ({}) is a member of the workspace that the table of layers does not name",
            package.name,
            metadata.manifest(package).display()
        ),
        remedy: "Give it its place in the table in xtask/src/layers.rs, or move it under xtask/ or fuzz/ if it is a tool.".into(),
    }
}

fn arrow(
    metadata: &Metadata,
    package: &Package,
    from: Class,
    to_name: &str,
    to: Class,
    kind: Kind,
) -> Option<Violation> {
    let name = &package.name;
    let line =
        format!("Take {to_name} out of [{}] in {}", kind.table(), metadata.manifest(package).display());
    let (why, remedy) = match (from, to) {
        // A member that is not in the table is told of once, by itself.
        (_, Class::Unknown) | (Class::Unknown, _) => return None,
        (_, Class::Xtask | Class::Tool) => (
            "which is a tool: nothing may use a tool".to_string(),
            format!("{line}; what both need belongs into a crate of the stack."),
        ),
        (Class::Xtask, Class::Layer(_)) => (
            "which is of the stack: xtask has to build while the stack does not".to_string(),
            format!("{line}; call cargo instead, or make a tool of its own under xtask/."),
        ),
        (Class::Tool, Class::Layer(_)) => return None,
        (Class::Layer(from), Class::Layer(to)) if to < from => return None,
        // A crate's dev-dependency on itself (to switch a feature on for its tests) leads nowhere else.
        (Class::Layer(from), Class::Layer(to)) if to == from && kind == Kind::Dev => return None,
        (Class::Layer(_), Class::Layer(_)) => (
            format!("which is not below it (bottom-up: {})", LAYERS.join(", ")),
            format!(
                "{line}; state what {name} needs as a trait in {name} that {to_name} implements, \
                 or move the code (or the test) up into {to_name}."
            ),
        ),
    };
    Some(Violation { what: format!("{name} has {} on {to_name}, {why}", kind.article()), remedy })
}

#[cfg(test)]
mod tests;
