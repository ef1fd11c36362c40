//! The list of cases: which ids it names, and what an id looks like.

use std::{collections::BTreeSet, fs, path::Path};

use crate::run::{Error, Result};

/// Reads the ids of a list, in its order.
///
/// # Errors
///
/// A usage error when the file cannot be read or holds no case.
pub fn read(path: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(path).map_err(|error| {
        Error::usage(format!("cannot read the list of cases {}: {error}", path.display()))
    })?;
    let ids = parse(&text);
    if ids.is_empty() {
        return Err(Error::usage(format!(
            "{} lists no case: a case is a markdown item that begins with an id (`- RI-06 ...`)",
            path.display()
        )));
    }
    Ok(ids)
}

/// The ids of the markdown items that begin with one, each once; code blocks are not looked at.
fn parse(text: &str) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut ids = Vec::new();
    let mut in_code = false;
    for line in text.lines().map(str::trim_start) {
        if line.starts_with("```") || line.starts_with("~~~") {
            in_code = !in_code;
        }
        let item = ["- ", "* ", "+ "].iter().find_map(|bullet| line.strip_prefix(bullet));
        let Some(item) = item.filter(|_| !in_code) else { continue };
        // An id may be set in bold or as code.
        if let Some((id, _)) = id(item.trim_start_matches([' ', '*', '`', '_']))
            && seen.insert(id.to_string())
        {
            ids.push(id.to_string());
        }
    }
    ids
}

/// The id that the text begins with, and what follows it: two or more capitals, '-', two or more digits.
pub fn id(text: &str) -> Option<(&str, &str)> {
    let letters = text.bytes().take_while(u8::is_ascii_uppercase).count();
    let rest = text[letters..].strip_prefix('-')?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (id, rest) = text.split_at(letters + 1 + digits);
    let ends = !rest.starts_with(|next: char| next.is_alphanumeric() || next == '_');
    (letters >= 2 && digits >= 2 && ends).then_some((id, rest))
}

/// The ids that a doc comment begins with: `RG-04 ...`, `RG-04 RG-16 ...`, `RG-04, RG-16: ...`.
pub fn leading_ids(comment: &str) -> Vec<String> {
    let mut ids = Vec::new();
    let mut rest = comment.trim_start();
    while let Some((id, after)) = id(rest) {
        ids.push(id.to_string());
        rest = after.trim_start_matches(|next: char| {
            next.is_whitespace() || matches!(next, ',' | ':' | ';' | '/' | '+' | '&')
        });
    }
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_that_begin_with_an_id_are_cases() {
        let text = "\
# Cases, RI-01 in a title
- RI-06 failing attempts count, see RI-07
  - RI-08 nested
* RI-09 star
+ RI-10: plus
- **RI-11** bold
- `RI-12` code
- RI-06 again
- see RI-13
RI-14 no item
-RI-15 no item either
- R-16 one letter
- RI-1 one digit
- RI-17a not an id
- ri-18 small
```
- RI-19 code block
```
- ABCD-1234";
        assert_eq!(parse(text), ["RI-06", "RI-08", "RI-09", "RI-10", "RI-11", "RI-12", "ABCD-1234"]);
    }

    #[test]
    fn a_comment_may_begin_with_several_ids() {
        assert_eq!(leading_ids("RG-04 register is visible, as RG-05 says."), ["RG-04"]);
        assert_eq!(leading_ids(" RG-04 RG-16 both"), ["RG-04", "RG-16"]);
        assert_eq!(leading_ids("RG-04, RG-16:\nRG-17 over two lines"), ["RG-04", "RG-16", "RG-17"]);
        assert_eq!(leading_ids("RT-01..05 a range counts as its first"), ["RT-01"]);
        assert!(leading_ids("Covers RG-04").is_empty());
        assert!(leading_ids("RG-04x").is_empty());
        assert!(leading_ids("").is_empty());
    }

    #[test]
    fn a_list_that_is_missing_or_empty_is_a_usage_error() {
        let folder = crate::testing::TempDir::new("list");
        let path = folder.path().join("cases.md");
        let error = read(&path).unwrap_err();
        assert_eq!(error.code(), 2);
        assert!(error.to_string().contains("cases.md"), "{error}");
        fs::write(&path, "# nothing\n").unwrap();
        assert_eq!(read(&path).unwrap_err().code(), 2);
    }

    #[test]
    fn the_project_s_own_list_is_read() {
        let ids = read(&crate::run::root().join("docs/cases.md")).unwrap();
        assert!(ids.len() > 200, "{}", ids.len());
        assert_eq!(ids[0], "RT-01");
    }
}
