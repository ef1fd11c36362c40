//! What the rounds came to: rows for people, fields for programs.

use std::time::Duration;

use serde::Serialize;

use super::child;
use crate::run::{self, plural};

/// One kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Kill {
    /// How long the run had lived, in milliseconds.
    pub after_ms: u64,
    /// The events in the store then.
    pub events: u64,
}

/// One round. The counts of steps and restarts are those of its last run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Round {
    pub round: u32,
    pub kills: Vec<Kill>,
    pub tasks: u64,
    pub events: u64,
    pub steps_run: u64,
    pub steps_skipped: u64,
    pub restarts: u64,
    pub elapsed_ms: u64,
    pub violations: Vec<String>,
}

/// All rounds.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub ok: bool,
    pub seed: u64,
    /// How long an undisturbed run took.
    pub usual_ms: u64,
    pub elapsed_ms: u64,
    pub kills: usize,
    pub violations: usize,
    pub rounds: Vec<Round>,
}

/// The table's head.
pub fn head() -> String {
    line([
        "round",
        "killed after (ms)",
        "events at kill",
        "resumed",
        "steps run",
        "done before",
        "restarts",
        "time",
    ])
}

fn line(cells: [&str; 8]) -> String {
    let [round, killed, events, resumed, run, skipped, restarts, time] = cells;
    format!(
        "{round:>5}  {killed:>17}  {events:>14}  {resumed:>7}  {run:>9}  {skipped:>11}  {restarts:>8}  {time:>8}"
    )
}

impl Round {
    /// A round of which nothing is known yet.
    pub fn new(number: u32) -> Self {
        Self { round: number, ..Self::default() }
    }

    /// Notes a violation.
    pub fn wrong(&mut self, what: String) {
        self.violations.push(what);
    }

    /// The round's row, with its violations below it.
    pub fn row(&self) -> String {
        let kills = |field: fn(&Kill) -> u64| {
            let list: Vec<_> = self.kills.iter().map(|kill| field(kill).to_string()).collect();
            if list.is_empty() { "-".to_string() } else { list.join(", ") }
        };
        let row = line([
            &self.round.to_string(),
            &kills(|kill| kill.after_ms),
            &kills(|kill| kill.events),
            &self.kills.len().to_string(),
            &self.steps_run.to_string(),
            &self.steps_skipped.to_string(),
            &self.restarts.to_string(),
            &run::time(Duration::from_millis(self.elapsed_ms)),
        ]);
        let wrong: String =
            self.violations.iter().map(|violation| format!("\n  violation: {violation}")).collect();
        row + &wrong
    }
}

impl Report {
    /// A report without rounds.
    pub fn new(seed: u64, usual: Duration) -> Self {
        let usual_ms = child::millis(usual);
        Self { ok: true, seed, usual_ms, elapsed_ms: 0, kills: 0, violations: 0, rounds: Vec::new() }
    }

    /// Adds a round.
    pub fn add(&mut self, round: Round) {
        self.kills += round.kills.len();
        self.violations += round.violations.len();
        self.ok = self.violations == 0;
        self.rounds.push(round);
    }

    /// The table's last line.
    pub fn closing(&self) -> String {
        let time = run::time(Duration::from_millis(self.elapsed_ms));
        let kills = plural(self.kills, "kill");
        let rounds = plural(self.rounds.len(), "round");
        if self.ok {
            format!("kill loop: ok, {kills} in {rounds}, every run taken up and completed, in {time}")
        } else {
            format!("kill loop: {}, {kills} in {rounds}, in {time}", plural(self.violations, "violation"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_under_their_heads() {
        let mut round = Round::new(3);
        round.kills = vec![Kill { after_ms: 412, events: 57 }, Kill { after_ms: 98, events: 80 }];
        (round.steps_run, round.steps_skipped, round.restarts, round.elapsed_ms) = (12, 30, 2, 1234);
        assert_eq!(
            head(),
            "round  killed after (ms)  events at kill  resumed  steps run  done before  restarts      time"
        );
        assert_eq!(
            round.row(),
            "    3            412, 98          57, 80        2         12           30         2     1.2 s"
        );
        round.wrong("events fell".into());
        assert!(round.row().ends_with("\n  violation: events fell"));
    }

    #[test]
    fn one_violation_spoils_the_report() {
        let mut report = Report::new(7, Duration::from_millis(800));
        report.add(Round::new(1));
        assert!(report.ok && report.closing().starts_with("kill loop: ok, 0 kills in 1 round, "));
        let mut round = Round::new(2);
        round.wrong("x".into());
        report.add(round);
        report.add(Round::new(3));
        assert!(!report.ok && report.closing().starts_with("kill loop: 1 violation, "));
    }
}
