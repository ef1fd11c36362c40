//! `cargo xtask cases`: which cases of a list have a test that really runs, and which have none.
//!
//! A test names its cases at the beginning of its doc comment (`/// RG-04 ...`, `/// RG-04, RG-16: ...`). What is
//! written is not believed: the test binaries are asked for what they run, and an id counts only when
//!
//! - the documented function has a test attribute, and a binary of its package lists it, not ignored, under its full path;
//! - or it has none (the body of a test that a macro generates, say a conformance suite's, which is a module of its
//!   library behind a feature), and a binary of its package lists a test, not ignored, whose path ends in the function's
//!   own module and name;
//! - or the doc comment holds a doctest (a compile-fail one, say) that rustdoc lists, not ignored.
//!
//! Six cases are facts about the runtime that no test can pin; for them, and for them only, a sentence in a library's
//! documentation that names the id is enough.
//!
//! The sources are found as the compiler finds them: from each test binary's root along its `mod` declarations.

mod list;
mod scan;
mod source;
mod suites;

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    path::PathBuf,
};

use serde::Serialize;

use self::{
    source::{Function, Source},
    suites::Suites,
};
use crate::{
    metadata,
    run::{self, Error, Result},
};

/// The cases for which a sentence in the documentation is enough: what tokio cannot do, what aborts the process, what a
/// user has to know.
const DOCUMENTED: [&str; 6] = ["RT-05", "RT-07", "RT-21", "RT-23", "RT-26", "SC-11"];

/// The options of the verb.
#[derive(Debug, Default, clap::Args)]
pub struct Options {
    /// The list of cases: markdown items that begin with an id, two or more capitals, '-', two or more digits
    /// (`- RI-06 ...`) [default: docs/cases.md of the workspace]
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
    /// Print one JSON object:
    /// `{"covered": {id: [tests]}, "missing": [ids], "unknown": [ids], "not_run": {id: [functions]}}`
    #[arg(long)]
    json: bool,
    /// Exit with 0 even if cases have no test
    #[arg(long)]
    allow_missing: bool,
    /// Print the closing lines only
    #[arg(long, conflicts_with = "json")]
    total: bool,
}

impl Options {
    /// As CI asks: every case of the project's own list.
    pub fn of_the_project() -> Self {
        Self::default()
    }
}

/// The answer.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Coverage {
    /// The listed ids that have a test, with their tests.
    covered: BTreeMap<String, BTreeSet<String>>,
    /// The listed ids that have none, in the list's order.
    missing: Vec<String>,
    /// Ids that have a test and are not in the list: misspelt, or a list that lags behind.
    unknown: Vec<String>,
    /// Documented test functions that no binary runs (ignored, or not compiled here), by id.
    not_run: BTreeMap<String, BTreeSet<String>>,
}

/// Builds the tests, compares them with the list and prints the answer.
///
/// # Errors
///
/// A failure when a case has no test (unless that is allowed) or when the tests do not build; a usage error when the
/// list cannot be read or names no case.
pub fn run(options: &Options) -> Result {
    let ids = list::read(&list_path(options)?)?;
    let metadata = metadata::read()?;
    let suites = suites::read(&metadata)?;
    let coverage = coverage(&ids, &found(&suites));

    if options.json {
        let json = serde_json::to_string_pretty(&coverage).map_err(Error::failed)?;
        println!("{json}");
    } else {
        print(&coverage, options.total);
    }
    if coverage.missing.is_empty() || options.allow_missing {
        Ok(())
    } else {
        Err(Error::failed(format!("cases: {} of {} have no test", coverage.missing.len(), ids.len())))
    }
}

fn list_path(options: &Options) -> Result<PathBuf> {
    match &options.list {
        None => Ok(run::root().join("docs/cases.md")),
        Some(path) => {
            let folder =
                env::current_dir().map_err(|error| Error::failed(format!("the current folder: {error}")))?;
            Ok(folder.join(path))
        }
    }
}

/// The ids that the sources name, with the tests that run for them, and the functions that do not.
#[derive(Debug, Default)]
struct Found {
    run: BTreeMap<String, BTreeSet<String>>,
    not_run: BTreeMap<String, BTreeSet<String>>,
}

impl Found {
    fn note(map: &mut BTreeMap<String, BTreeSet<String>>, ids: &[String], test: &str) {
        for id in ids {
            map.entry(id.clone()).or_default().insert(test.to_string());
        }
    }
}

/// Matches what the sources document with what the binaries list.
fn found(suites: &Suites) -> Found {
    let mut found = Found::default();
    for suite in &suites.binaries {
        let source = Source::read(&suite.root);
        if suite.root.ends_with("src/lib.rs") {
            for sentence in
                source.sentences.iter().filter(|sentence| DOCUMENTED.contains(&sentence.id.as_str()))
            {
                let place = format!("documented in {}:{}", suites.shown(&sentence.file), sentence.line);
                Found::note(&mut found.run, std::slice::from_ref(&sentence.id), &place);
            }
        }
        for function in &source.functions {
            if function.is_test {
                let path = function.path();
                if suite.tests.contains(&path) {
                    Found::note(&mut found.run, &function.ids, &format!("{} {path}", suite.name));
                } else {
                    let place =
                        format!("{} {path} ({}:{})", suite.name, suites.shown(&function.file), function.line);
                    Found::note(&mut found.not_run, &function.ids, &place);
                }
                continue;
            }
            for other in suites.binaries.iter().filter(|other| other.package == suite.package) {
                for test in other.tests.iter().filter(|test| is_made_of(test, function)) {
                    Found::note(&mut found.run, &function.ids, &format!("{} {test}", other.name));
                }
            }
        }
        for comment in &source.comments {
            for doctest in suites.doctests.iter().filter(|doctest| doctest.file == comment.file) {
                if (comment.first..=comment.last).contains(&doctest.line) {
                    Found::note(&mut found.run, &comment.ids, &doctest.name);
                }
            }
        }
    }
    found
}

/// Whether a macro made this test of the function: `sqlite::suite::append::case` of `testkit::append::case`.
fn is_made_of(test: &str, function: &Function) -> bool {
    let own = function.modules.last().into_iter().chain([&function.name]);
    let mut path = test.rsplit("::");
    own.rev().all(|segment| path.next() == Some(segment))
}

fn coverage(ids: &[String], found: &Found) -> Coverage {
    let known: BTreeSet<&String> = ids.iter().collect();
    Coverage {
        covered: found
            .run
            .iter()
            .filter(|(id, _)| known.contains(id))
            .map(|(id, tests)| (id.clone(), tests.clone()))
            .collect(),
        missing: ids.iter().filter(|id| !found.run.contains_key(*id)).cloned().collect(),
        unknown: found.run.keys().filter(|id| !known.contains(id)).cloned().collect(),
        not_run: found.not_run.clone(),
    }
}

fn print(coverage: &Coverage, total_only: bool) {
    if !total_only {
        for id in &coverage.missing {
            println!("no test: {id}");
        }
    }
    for id in &coverage.unknown {
        println!("not in the list (misspelt?): {id}");
    }
    for (id, functions) in &coverage.not_run {
        for function in functions {
            println!("does not run: {id} {function}");
        }
    }
    let covered = coverage.covered.len();
    println!(
        "cases: {covered} of {} have a test, {} have none",
        covered + coverage.missing.len(),
        coverage.missing.len()
    );
}

#[cfg(test)]
mod tests;
