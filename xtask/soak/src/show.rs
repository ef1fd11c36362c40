//! What people see while it runs: a bar on a terminal, a line now and then elsewhere. On standard error.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::summary::Summary;
use crate::wire::Sample;

/// How often there is a line where there is no bar.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// See the module.
pub struct Show {
    bar: Option<ProgressBar>,
    json: bool,
    whole: Duration,
    last_line: Instant,
}

impl Show {
    pub fn new(whole: Duration, json: bool) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(whole.as_secs());
            // The template is a constant, and sound.
            if let Ok(style) = ProgressStyle::with_template("{bar:30} {elapsed}/{prefix}  {wide_msg}") {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.set_prefix(format!("{}s", whole.as_secs()));
            bar
        });
        Self { bar, json, whole, last_line: Instant::now() }
    }

    /// How things stand.
    pub fn sample(&mut self, passed: Duration, life: u64, sample: &Sample, summary: &Summary) {
        let text = format!(
            "life {life}, {} kills, {} pods, {} tasks, {:.0} MiB, {} restarts, {} wrong",
            summary.kills.len(),
            sample.pods,
            sample.tasks,
            sample.resident as f64 / f64::from(1 << 20),
            sample.restarts,
            summary.violations.len()
        );
        match &self.bar {
            Some(bar) => {
                bar.set_position(passed.min(self.whole).as_secs());
                bar.set_message(text);
            }
            None if self.last_line.elapsed() >= LINE_EVERY => {
                self.last_line = Instant::now();
                self.note(&format!("{:5.0} s: {text}", passed.as_secs_f64()));
            }
            None => {}
        }
    }

    /// Something worth a line.
    pub fn note(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None if self.json && !text.starts_with("WRONG") => {}
            None => eprintln!("{text}"),
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
