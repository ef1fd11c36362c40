//! A run for people (Markdown) and for machines (JSON).

use std::fmt::Write;

use serde::Serialize;

use crate::numbers::{Measured, Outcome, Spread, judge, ratios};
use crate::row::{Row, Unit};

/// A row that was run.
#[derive(Debug, Clone, Serialize)]
pub struct Result {
    /// Its name.
    pub name: &'static str,
    /// Its group.
    pub group: &'static str,
    /// What was measured.
    pub what: &'static str,
    /// In which unit.
    pub unit: Unit,
    /// Who, and what came out.
    pub contenders: Vec<Line>,
    /// The marks.
    pub marks: Vec<Outcome>,
    /// Who is not there, and why.
    pub absent: Vec<Absent>,
}

/// A contender that could not be measured.
#[derive(Debug, Clone, Serialize)]
pub struct Absent {
    /// Its name.
    pub name: &'static str,
    /// Why.
    pub why: String,
}

/// A contender's part.
#[derive(Debug, Clone, Serialize)]
pub struct Line {
    /// Its name.
    pub name: &'static str,
    /// What was measured, in the row's unit.
    pub measured: Spread,
    /// It over the limit written by hand, round by round.
    pub to_limit: Option<Spread>,
    /// Every round.
    pub rounds: Vec<f64>,
}

impl Result {
    /// Judges what was measured.
    pub fn new(group: &'static str, row: &Row, measured: &[Measured], absent: &[Absent]) -> Self {
        let limit = measured.get(1).map_or(&[][..], |limit| &limit.rounds);
        let contenders = measured.iter().filter_map(|contender| {
            Some(Line {
                name: contender.name,
                measured: Spread::of(&contender.rounds)?,
                to_limit: Spread::of(&ratios(&contender.rounds, limit)),
                rounds: contender.rounds.clone(),
            })
        });
        Self {
            name: row.name,
            group,
            what: row.what,
            unit: row.unit,
            contenders: contenders.collect(),
            marks: row.marks.iter().map(|mark| judge(*mark, row.unit, measured)).collect(),
            absent: absent.to_vec(),
        }
    }

    /// Whether every mark is met whose contenders were there.
    pub fn met(&self) -> bool {
        self.marks.iter().all(|mark| mark.met != Some(false))
    }

    /// As Markdown: a table of the contenders, a line for each mark.
    pub fn markdown(&self) -> String {
        let mut text = format!("### {}: {}\n\n", self.name, self.what);
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| | median | range | over the limit | range |\n|---|--:|--:|--:|--:|");
        for line in &self.contenders {
            let Spread { low, median, high } = line.measured;
            let sign = self.unit.sign();
            let _ = write!(
                text,
                "| {} | {} {sign} | {} to {} |",
                line.name,
                number(median),
                number(low),
                number(high)
            );
            let _ = match line.to_limit {
                Some(ratio) => {
                    writeln!(text, " {:.2} | {:.2} to {:.2} |", ratio.median, ratio.low, ratio.high)
                }
                None => writeln!(text, " | |"),
            };
        }
        text.push('\n');
        for mark in &self.marks {
            let met = match mark.met {
                Some(true) => "met",
                Some(false) => "**not met**",
                None => "not measured",
            };
            let found = mark.found.map_or(String::new(), |found| {
                format!(": {} ({} to {})", number(found.median), number(found.low), number(found.high))
            });
            let _ = writeln!(text, "- {}{found}, {met}", mark.asked);
        }
        for absent in &self.absent {
            let _ = writeln!(text, "- {}: {}", absent.name, absent.why);
        }
        text
    }
}

/// Three digits that say something.
pub fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 => {
            let digits = format!("{value:.0}");
            let mut grouped = String::new();
            for (n, digit) in digits.chars().enumerate() {
                if n > 0 && (digits.len() - n).is_multiple_of(3) {
                    grouped.push(',');
                }
                grouped.push(digit);
            }
            grouped
        }
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Mark;

    const ROW: Row = Row {
        name: "pod-start",
        what: "start of a pod",
        unit: Unit::Micros,
        marks: &[Mark::AtMost(1.3), Mark::Peers(1.0)],
    };

    #[test]
    fn a_result_says_what_came_out_and_which_marks_are_met() {
        let measured = ["ours", "bare"].map(|name| Measured {
            name,
            peer: false,
            rounds: if name == "ours" { vec![2600.0, 1300.0] } else { vec![2000.0, 1000.0] },
        });
        let result = Result::new("pods", &ROW, &measured, &[]);
        let text = result.markdown();
        assert!(text.contains("| ours | 1,950 us | 1,300 to 2,600 | 1.30 | 1.30 to 1.30 |"), "{text}");
        assert!(text.contains("- at most 1.3 x the limit: 1.30 (1.30 to 1.30), met"), "{text}");
        assert!(text.contains("- 1 x every peer, not measured"), "{text}");
        assert!(result.met(), "no peer was there");
        let alone = Result::new("pods", &ROW, &measured[..1], &[]);
        assert!(!alone.met(), "the limit has to be there");
    }

    #[test]
    fn numbers_have_three_digits_that_say_something() {
        let shown = [0.1234, 2.34567, 23.4567, 234.567, 2345.67, 1_234_567.0].map(number);
        assert_eq!(shown, ["0.12", "2.35", "23.5", "235", "2,346", "1,234,567"]);
    }
}
