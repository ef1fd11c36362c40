use std::{fs, path::Path};

use super::{
    suites::{Binary, Doctest},
    *,
};
use crate::testing::TempDir;

fn binary(root: &Path, name: &str, package: &str, tests: &[&str]) -> Binary {
    Binary {
        name: name.into(),
        package: package.into(),
        root: root.to_path_buf(),
        tests: tests.iter().map(|test| test.to_string()).collect(),
    }
}

fn tests_of(found: &BTreeMap<String, BTreeSet<String>>, id: &str) -> Vec<String> {
    found.get(id).into_iter().flatten().cloned().collect()
}

#[test]
fn only_what_a_binary_runs_counts() {
    let folder = TempDir::new("cases");
    let library = folder.path().join("lib.rs");
    let integration = folder.path().join("it.rs");
    let text = "\
mod tests {
    /// AA-01 runs
    #[test] fn runs() {}
    /// AA-02 is ignored
    #[test] #[ignore] fn ignored() {}
    /// AA-03 stands elsewhere under this name
    #[test] fn elsewhere() {}
}
/// AA-04 a body that a macro makes tests of
pub async fn suite_case() {}
/// AA-05 a body of another package's tests
pub async fn foreign_case() {}
mod chapter {
    /// AA-08 a body in a module that tests are named by
    pub async fn body() {}
    /// AA-09 a body that only has the name of another one's test
    pub async fn suite_case() {}
}
/// AA-06 AA-07 a doctest
/// ```compile_fail
/// ```
pub struct S;
";
    fs::write(&library, text).unwrap();
    fs::write(&integration, "").unwrap();
    let suites = Suites {
        binaries: vec![
            binary(&library, "one", "one", &["tests::runs", "other::elsewhere"]),
            binary(
                &integration,
                "one::it",
                "one",
                &["memory::suite_case", "sqlite::suite_case", "sqlite::chapter::body"],
            ),
            binary(&integration, "two", "two", &["foreign_case", "suite_case"]),
        ],
        doctests: vec![
            Doctest { name: "lib.rs - S (line 20)".into(), file: library.clone(), line: 20 },
            Doctest { name: "lib.rs - T (line 99)".into(), file: library.clone(), line: 99 },
        ],
        root: folder.path().to_path_buf(),
    };
    let found = found(&suites);
    assert_eq!(tests_of(&found.run, "AA-01"), ["one tests::runs"]);
    assert_eq!(tests_of(&found.run, "AA-02"), [""; 0]);
    assert_eq!(tests_of(&found.not_run, "AA-02"), ["one tests::ignored (lib.rs:5)"]);
    assert_eq!(tests_of(&found.run, "AA-03"), [""; 0]);
    assert_eq!(tests_of(&found.not_run, "AA-03"), ["one tests::elsewhere (lib.rs:7)"]);
    assert_eq!(tests_of(&found.run, "AA-04"), ["one::it memory::suite_case", "one::it sqlite::suite_case"]);
    assert_eq!(tests_of(&found.run, "AA-05"), [""; 0]);
    assert_eq!(tests_of(&found.run, "AA-08"), ["one::it sqlite::chapter::body"]);
    assert_eq!(tests_of(&found.run, "AA-09"), [""; 0]);
    assert_eq!(tests_of(&found.run, "AA-06"), ["lib.rs - S (line 20)"]);
    assert_eq!(tests_of(&found.run, "AA-07"), ["lib.rs - S (line 20)"]);
}

#[test]
fn covered_missing_and_unknown_are_told_apart() {
    let mut found = Found::default();
    Found::note(&mut found.run, &["AA-02".into(), "ZZ-99".into()], "one a");
    let coverage = coverage(&["AA-03".into(), "AA-02".into(), "AA-01".into()], &found);
    assert_eq!(coverage.covered.keys().collect::<Vec<_>>(), ["AA-02"]);
    assert_eq!(coverage.missing, ["AA-03", "AA-01"]);
    assert_eq!(coverage.unknown, ["ZZ-99"]);
    let json = serde_json::to_value(&coverage).unwrap();
    assert_eq!(json["covered"]["AA-02"], serde_json::json!(["one a"]));
    assert_eq!(json["missing"], serde_json::json!(["AA-03", "AA-01"]));
}
