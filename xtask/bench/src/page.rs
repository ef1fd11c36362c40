//! The page of a run: a compact table for each group, and the marks.

use std::fmt::Write;

use crate::report::{Result, number};

/// Where the part of a page begins that is written by a run.
pub const BEGIN: &str = "<!-- last run: begin -->";
/// Where it ends.
pub const END: &str = "<!-- last run: end -->";

/// The run as Markdown: about it, a table for each group, the marks.
pub fn page(about: &[String], results: &[Result]) -> String {
    let mut text = String::new();
    for line in about {
        text.push_str("- ");
        text.push_str(line);
        text.push('\n');
    }
    let mut groups: Vec<&str> = results.iter().map(|result| result.group).collect();
    groups.dedup();
    for group in groups {
        let rows: Vec<&Result> = results.iter().filter(|result| result.group == group).collect();
        table(&mut text, group, &rows);
    }
    marks(&mut text, results);
    text
}

// Writing to a String cannot fail, here and below.
fn table(text: &mut String, group: &str, rows: &[&Result]) {
    let mut names: Vec<&str> = Vec::new();
    for line in rows.iter().flat_map(|row| &row.contenders) {
        if !names.contains(&line.name) {
            names.push(line.name);
        }
    }
    let _ = writeln!(text, "\n### {group}\n\n| row | what | {} |", names.join(" | "));
    let _ = writeln!(text, "|---|---|{}", "--:|".repeat(names.len()));
    for row in rows {
        let _ = write!(text, "| `{}` | {}, {} |", row.name, row.what, row.unit.sign());
        for name in &names {
            let line = row.contenders.iter().find(|line| line.name == *name);
            let cell = line.map_or("-".to_owned(), |line| number(line.measured.median));
            let _ = write!(text, " {cell} |");
        }
        text.push('\n');
    }
    let mut absent: Vec<_> = rows.iter().flat_map(|row| &row.absent).collect();
    absent.sort_by_key(|absent| (absent.name, absent.why.as_str()));
    absent.dedup_by(|one, other| (one.name, &one.why) == (other.name, &other.why));
    for absent in absent {
        let _ = writeln!(text, "\n{}: {}.", absent.name, absent.why);
    }
}

fn marks(text: &mut String, results: &[Result]) {
    let _ = writeln!(text, "\n### Marks\n\n| row | mark | median | range | |\n|---|---|--:|--:|---|");
    for result in results {
        for mark in &result.marks {
            let met = match mark.met {
                Some(true) => "met",
                Some(false) => "**not met**",
                None => "not measured",
            };
            let (median, range) = mark.found.map_or((String::new(), String::new()), |found| {
                (number(found.median), format!("{} to {}", number(found.low), number(found.high)))
            });
            let _ = writeln!(text, "| `{}` | {} | {median} | {range} | {met} |", result.name, mark.asked);
        }
    }
}

/// The text with what stands between the markers replaced; `None` if they are not there.
pub fn between(text: &str, new: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{new}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_between_the_markers_is_replaced_and_nothing_else() {
        let text = format!("# Title\n{BEGIN}\nold\n{END}\nrest\n");
        assert_eq!(between(&text, "new\n").unwrap(), format!("# Title\n{BEGIN}\n\nnew\n\n{END}\nrest\n"));
        assert_eq!(between("no markers", "new"), None);
    }
}
