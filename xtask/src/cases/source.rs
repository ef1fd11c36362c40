//! The sources of one test binary, found along its `mod` declarations as the compiler finds them.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use super::{
    list,
    scan::{self, Module},
};

/// What the files of one target document.
#[derive(Debug, Default)]
pub struct Source {
    pub functions: Vec<Function>,
    pub comments: Vec<Comment>,
    /// The lines of documentation that name a case anywhere.
    pub sentences: Vec<Sentence>,
}

/// A line of documentation that names a case.
#[derive(Debug, PartialEq, Eq)]
pub struct Sentence {
    pub id: String,
    pub file: PathBuf,
    pub line: usize,
}

/// A function whose doc comment begins with ids.
#[derive(Debug)]
pub struct Function {
    pub name: String,
    /// The modules around it, from the root of the target.
    pub modules: Vec<String>,
    pub ids: Vec<String>,
    pub file: PathBuf,
    pub line: usize,
    pub is_test: bool,
}

impl Function {
    /// Its path as a test binary lists it.
    pub fn path(&self) -> String {
        let mut path = self.modules.join("::");
        if !path.is_empty() {
            path.push_str("::");
        }
        path + &self.name
    }
}

/// A doc comment that begins with ids.
#[derive(Debug)]
pub struct Comment {
    pub ids: Vec<String>,
    pub file: PathBuf,
    pub first: usize,
    pub last: usize,
}

impl Source {
    /// Reads a target from its root file (`src/lib.rs`, `tests/name.rs`). A module whose file is not there (compiled on
    /// another platform only, or made by a build script) is passed over.
    pub fn read(root: &Path) -> Self {
        let mut source = Self::default();
        let folder = root.parent().unwrap_or(Path::new("")).to_path_buf();
        source.file(root, &folder, &[], &mut BTreeSet::new());
        source
    }

    /// Reads a file and its modules, which are in `folder`.
    fn file(&mut self, file: &Path, folder: &Path, modules: &[String], open: &mut BTreeSet<PathBuf>) {
        // A file that declares itself by `#[path]` must not lead in circles.
        if !open.insert(file.to_path_buf()) {
            return;
        }
        if let Ok(text) = fs::read_to_string(file) {
            let scan = scan::scan(&text);
            self.functions.extend(scan.functions.into_iter().map(|function| Function {
                name: function.name,
                modules: [modules, &function.inline].concat(),
                ids: function.ids,
                file: file.to_path_buf(),
                line: function.line,
                is_test: function.is_test,
            }));
            self.comments.extend(scan.comments.into_iter().map(|comment| Comment {
                ids: comment.ids,
                file: file.to_path_buf(),
                first: comment.first,
                last: comment.last,
            }));
            self.sentences.extend(sentences(&text).map(|(id, line)| Sentence {
                id,
                file: file.to_path_buf(),
                line,
            }));
            for module in &scan.modules {
                if let Some((file, folder)) = find(file, folder, module) {
                    let path = [modules, &module.inline, std::slice::from_ref(&module.name)].concat();
                    self.file(&file, &folder, &path, open);
                }
            }
        }
        open.remove(file);
    }
}

/// The ids that lines of documentation name, and where.
fn sentences(text: &str) -> impl Iterator<Item = (String, usize)> {
    let lines = text.lines().enumerate();
    lines.filter_map(|(n, line)| Some((n, doc_text(line)?))).flat_map(|(n, text)| {
        let words = text.split(|c: char| c.is_whitespace() || "(),.;:".contains(c));
        words
            .filter_map(list::id)
            .filter(|(_, rest)| rest.is_empty())
            .map(move |(id, _)| (id.to_string(), n + 1))
    })
}

fn doc_text(line: &str) -> Option<&str> {
    let line = line.trim_start();
    line.strip_prefix("///").or_else(|| line.strip_prefix("//!"))
}

/// The file of a module, and the folder of the modules in it.
fn find(parent: &Path, folder: &Path, module: &Module) -> Option<(PathBuf, PathBuf)> {
    let inline: PathBuf = module.inline.iter().collect();
    if let Some(path) = &module.path {
        // Within inline modules the path counts from their folder, else from the file's own.
        let base =
            if module.inline.is_empty() { parent.parent()?.to_path_buf() } else { folder.join(inline) };
        let file = base.join(path);
        let folder = file.parent()?.to_path_buf();
        return Some((file, folder));
    }
    let folder = folder.join(inline);
    let inner = folder.join(&module.name);
    let flat = folder.join(format!("{}.rs", module.name));
    let file = if flat.is_file() { flat } else { inner.join("mod.rs") };
    Some((file, inner))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    #[test]
    fn sentences_are_lines_of_documentation_that_name_a_case() {
        let text =
            "//! See AA-01, and (AA-02).\n// AA-03\n    /// Not AA-4 or XAA-05x. AA-06\nlet a = \"AA-07\";";
        let found: Vec<_> = sentences(text).collect();
        assert_eq!(found, [("AA-01".into(), 1), ("AA-02".into(), 1), ("AA-06".into(), 3)]);
    }

    fn write(folder: &TempDir, file: &str, text: &str) {
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn paths(source: &Source) -> BTreeSet<String> {
        source.functions.iter().map(Function::path).collect()
    }

    #[test]
    fn modules_are_followed_as_the_compiler_does() {
        let folder = TempDir::new("source");
        write(
            &folder,
            "src/lib.rs",
            "mod flat; mod deep; mod inner { mod below; } #[path = \"odd.rs\"] mod tests; mod gone;",
        );
        write(&folder, "src/flat.rs", "/// AA-01\n#[test] fn a() {} mod tests;");
        write(&folder, "src/flat/tests.rs", "/// AA-02\n#[test] fn b() {}");
        write(&folder, "src/deep/mod.rs", "mod tests { /// AA-03\n#[test] fn c() {} } mod lower;");
        write(&folder, "src/deep/lower.rs", "/// AA-04\n#[test] fn d() {}");
        write(&folder, "src/inner/below.rs", "/// AA-05\n#[test] fn e() {}");
        write(&folder, "src/odd.rs", "/// AA-06\n#[test] fn f() {} mod beside;");
        write(&folder, "src/beside.rs", "/// AA-07\n#[test] fn g() {}");
        write(&folder, "src/stray.rs", "/// AA-08\n#[test] fn h() {}");
        let source = Source::read(&folder.path().join("src/lib.rs"));
        let expected = [
            "deep::lower::d",
            "deep::tests::c",
            "flat::a",
            "flat::tests::b",
            "inner::below::e",
            "tests::beside::g",
            "tests::f",
        ];
        assert_eq!(paths(&source), expected.map(String::from).into());
    }

    #[test]
    fn a_file_that_declares_itself_is_read_once() {
        let folder = TempDir::new("circle");
        write(&folder, "src/lib.rs", "/// AA-01\nfn a() {}\n#[path = \"lib.rs\"] mod again;");
        let source = Source::read(&folder.path().join("src/lib.rs"));
        assert_eq!(paths(&source), ["a".to_string()].into());
    }
}
