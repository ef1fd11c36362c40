//! The shape of the file: which tables and keys there are, and of what type.
//!
//! Apart from the checked [`Task`](super::Task), because every value carries its place here, for errors. It says nothing
//! of sense: an empty command has a perfectly good shape.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::{Command, Fault};

/// The whole file: `[[task]]` tables.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPlan {
    #[serde(default)]
    task: Vec<RawTask>,
}

/// A `[[task]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawTask {
    pub id: Spanned<String>,
    pub title: Spanned<String>,
    #[serde(default)]
    pub step: Vec<RawStep>,
}

/// A `[[task.step]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawStep {
    pub id: Spanned<String>,
    pub command: Spanned<Command>,
    pub timeout: Option<Spanned<String>>,
    #[serde(default)]
    pub retries: u32,
    #[serde(default)]
    pub env: BTreeMap<Spanned<String>, Spanned<String>>,
    pub after: Option<Vec<Spanned<String>>>,
}

/// Reads the text as TOML of this shape.
pub fn parse(text: &str) -> Result<Vec<RawTask>, Fault> {
    match toml::from_str::<RawPlan>(text) {
        Ok(plan) => Ok(plan.task),
        Err(error) => {
            Err(Fault { at: error.span().map_or(0, |span| span.start), message: error.message().to_owned() })
        }
    }
}
