//! What came of a soak: in numbers, for people and for machines.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::flat::Trend;
use crate::wire::{Counts, Sample, add, keep_greatest};

/// How much the resident memory may rise after the warm-up, as a part of its mean and in MiB.
const MEMORY: (f64, f64) = (0.05, 8.0);

/// How much the number of tasks may rise, as a part of its mean and in tasks.
const TASKS: (f64, f64) = (0.05, 50.0);

/// How many violations are kept in full.
const KEPT: usize = 100;

/// How things stood at a moment.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Point {
    /// Since the soak began.
    pub seconds: f64,
    pub life: u64,
    pub resident_mib: f64,
    pub tasks: u64,
    pub pods: u64,
    /// In this life so far.
    pub restarts: u64,
}

impl Point {
    /// A sample of a life that began then.
    pub fn of(life: u64, begun: Duration, sample: &Sample) -> Self {
        Self {
            seconds: begun.as_secs_f64() + sample.ms as f64 / 1000.0,
            life,
            resident_mib: sample.resident as f64 / f64::from(1 << 20),
            tasks: sample.tasks,
            pods: sample.pods,
            restarts: sample.restarts,
        }
    }
}

/// A check that did not hold.
#[derive(Clone, Debug, Serialize)]
pub struct Violation {
    pub check: String,
    pub what: String,
}

/// See the module.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    pub minutes: f64,
    pub pods: u32,
    pub seed: u64,
    pub seconds: f64,
    pub interrupted: bool,
    pub lives: u64,
    /// When workers were killed, in seconds since the beginning.
    pub kills: Vec<f64>,
    /// Commands that were acknowledged.
    pub acknowledged: u64,
    pub counts: Counts,
    /// How often each check was made.
    pub checks: Counts,
    pub slowest_micros: Counts,
    /// The rise of memory in MiB over the last life, after the warm-up; none if that was too short.
    pub memory_rise_mib: Option<f64>,
    pub violations: Vec<Violation>,
    /// How many there were in all.
    pub violations_total: u64,
    /// Where the store is kept, if a check did not hold.
    pub kept: Option<PathBuf>,
    pub points: Vec<Point>,
    #[serde(skip)]
    pub memory: Option<Trend>,
}

impl Summary {
    pub fn new(minutes: f64, pods: u32, seed: u64) -> Self {
        Self {
            minutes,
            pods,
            seed,
            seconds: 0.0,
            interrupted: false,
            lives: 0,
            kills: Vec::new(),
            acknowledged: 0,
            counts: Counts::new(),
            checks: Counts::new(),
            slowest_micros: Counts::new(),
            memory_rise_mib: None,
            violations: Vec::new(),
            violations_total: 0,
            kept: None,
            points: Vec::new(),
            memory: None,
        }
    }

    /// Adds what a life came to, as its last sample says.
    pub fn add(&mut self, last: &Sample) {
        add(&mut self.counts, &last.counts);
        add(&mut self.checks, &last.checks);
        keep_greatest(&mut self.slowest_micros, &last.slowest);
    }

    pub fn kill(&mut self, when: Duration) {
        self.kills.push(when.as_secs_f64());
    }

    pub fn wrong(&mut self, check: &str, what: &str) {
        self.violations_total += 1;
        if self.violations.len() < KEPT {
            self.violations.push(Violation { check: check.into(), what: what.into() });
        }
    }

    /// Whether every check held.
    pub fn held(&self) -> bool {
        self.violations_total == 0
    }

    /// Judges memory and tasks of the last life.
    pub fn judge(&mut self) {
        // Without its end, where all goes away.
        let of = |value: fn(&Point) -> f64| -> Vec<(f64, f64)> {
            let life = self.points.iter().filter(|point| point.life == self.lives && point.pods > 0);
            life.map(|point| (point.seconds, value(point))).collect()
        };
        self.memory = Trend::after_warm_up(&of(|point| point.resident_mib));
        self.memory_rise_mib = self.memory.map(|memory| memory.rise);
        let tasks = Trend::after_warm_up(&of(|point| point.tasks as f64));
        for (name, trend, (part, more)) in
            [("memory is flat", self.memory, MEMORY), ("the number of tasks is flat", tasks, TASKS)]
        {
            let Some(trend) = trend else { continue };
            *self.checks.entry(name.into()).or_default() += 1;
            if !trend.is_flat(part, more) {
                self.wrong(
                    name,
                    &format!(
                        "it rose by {:.1} from about {:.1} in {:.0} s",
                        trend.rise,
                        trend.mean,
                        trend.to - trend.from
                    ),
                );
            }
        }
    }

    /// For people.
    pub fn text(&self, plot: &Path) -> String {
        let mut text = String::new();
        let _ = writeln!(
            text,
            "soak: {} tasks, {:.0} s{}, {} lives, {} kills, {} commands acknowledged, seed {}",
            self.pods,
            self.seconds,
            if self.interrupted { " (interrupted)" } else { "" },
            self.lives,
            self.kills.len(),
            self.acknowledged,
            self.seed
        );
        table(&mut text, "what happened", &self.counts, |count| count.to_string());
        table(&mut text, "the slowest of each call", &self.slowest_micros, |micros| {
            format!("{:.1} ms", micros as f64 / 1000.0)
        });
        table(&mut text, "checks, and how often each was made", &self.checks, |count| count.to_string());
        let _ = match self.memory {
            Some(memory) => writeln!(
                text,
                "\nmemory: {:.1} MiB on average, {:+.1} MiB over the last {:.0} s (up to {:.1} are tolerated)",
                memory.mean,
                memory.rise,
                memory.to - memory.from,
                MEMORY.0 * memory.mean + MEMORY.1
            ),
            None => writeln!(text, "\nmemory: the last life was too short to judge it"),
        };
        let _ = writeln!(text, "plot: {}", plot.display());
        if self.held() {
            let _ = write!(text, "every check held");
        } else {
            let _ = writeln!(text, "\n{} violations:", self.violations_total);
            for violation in self.violations.iter().take(20) {
                let _ = writeln!(text, "- {}: {}", violation.check, violation.what);
            }
            if let Some(kept) = &self.kept {
                let _ = writeln!(text, "the store and the workers' outputs are in {}", kept.display());
            }
            let _ = write!(
                text,
                "repeat it with: cargo xtask soak --minutes {} --pods {} --seed {}",
                self.minutes, self.pods, self.seed
            );
        }
        text
    }
}

fn table(text: &mut String, title: &str, counts: &Counts, value: impl Fn(u64) -> String) {
    let width = counts.keys().map(String::len).max().unwrap_or(0);
    let _ = writeln!(text, "\n{title}");
    for (name, count) in counts {
        let _ = writeln!(text, "  {name:<width$}  {:>12}", value(*count));
    }
}
