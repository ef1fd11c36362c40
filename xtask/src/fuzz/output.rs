//! What the fuzzer says, line by line, and what it comes to.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use serde::Serialize;

use crate::run::{self, Error, Result};

/// What was seen until now.
#[derive(Debug, Default)]
pub struct Seen {
    executions: u64,
    coverage: u64,
    inputs: u64,
    /// Whether the final counts were printed: it ended by itself.
    ended: bool,
    kind: Option<String>,
    input: Option<PathBuf>,
    /// The panic's words.
    words: Vec<String>,
    in_panic: bool,
}

/// What a run came to.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// How many inputs were run.
    pub executions: u64,
    /// In how many seconds.
    pub seconds: u64,
    /// How many places of the code were reached, as the fuzzer counts them.
    pub coverage: u64,
    /// How many inputs are kept because each reaches something that the others do not.
    pub inputs: u64,
    /// What broke a promise; the first ends the run.
    pub finding: Option<Finding>,
    /// Whether it was ended from outside before its time.
    pub interrupted: bool,
}

/// An input that broke a promise.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// `crash`, `timeout`, `oom`.
    pub kind: String,
    /// Where it lies.
    pub input: PathBuf,
    /// What the target said.
    pub words: String,
}

impl Seen {
    /// Reads a line such as `#65536 NEW cov: 378 ft: 1597 corp: 402/51Kb lim: 1118 exec/s: 9033 rss: 60Mb L: 7/60 MS: 1 ChangeBit-`.
    pub fn read(&mut self, line: &str) {
        let line = line.trim_end();
        if let Some(input) = line.split("Test unit written to ").nth(1) {
            let name = input.rsplit('/').next().unwrap_or_default();
            self.kind = name.split('-').next().map(String::from);
            self.input = Some(PathBuf::from(input));
        }
        if line.starts_with("thread '") && line.contains("panicked at") {
            self.in_panic = true;
            self.words.clear();
        } else if line.starts_with("note: ") || line.starts_with("stack backtrace") || line.starts_with("==")
        {
            self.in_panic = false;
        }
        if self.in_panic {
            self.words.push(line.to_owned());
        }
        if let Some(executions) = line.strip_prefix("stat::number_of_executed_units:") {
            self.ended = true;
            self.executions = executions.trim().parse().unwrap_or(self.executions);
        }
        let mut words = line.split_whitespace().peekable();
        let Some(executions) = words.next().and_then(|first| first.strip_prefix('#')) else { return };
        self.executions = executions.parse().unwrap_or(self.executions).max(self.executions);
        while let (Some(name), Some(value)) = (words.next(), words.peek()) {
            match name {
                "cov:" => self.coverage = value.parse().unwrap_or(self.coverage),
                "corp:" => {
                    let inputs = value.split('/').next().unwrap_or_default();
                    self.inputs = inputs.parse().unwrap_or(self.inputs);
                }
                _ => {}
            }
        }
    }

    /// Sums it up.
    ///
    /// # Errors
    ///
    /// When the fuzzer ended for a reason that is none of its own.
    pub fn end(
        self,
        status: ExitStatus,
        interrupted: bool,
        elapsed: Duration,
        log: &Path,
    ) -> Result<Summary> {
        let finding = self.input.map(|input| Finding {
            kind: self.kind.unwrap_or_default(),
            input,
            words: self.words.join("\n"),
        });
        if finding.is_none() && !status.success() && !interrupted {
            return Err(Error::failed(format!("the fuzzer failed ({status}); see {}", log.display())));
        }
        Ok(Summary {
            executions: self.executions,
            seconds: elapsed.as_secs(),
            coverage: self.coverage,
            inputs: self.inputs,
            finding,
            interrupted,
        })
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { executions, coverage, inputs, .. } = self;
        write!(f, "{executions} executions, {coverage} places reached, {inputs} inputs")
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = run::time(Duration::from_secs(self.seconds));
        write!(f, "{} executions in {time}, {} places reached", self.executions, self.coverage)?;
        write!(f, ", {} inputs, ", self.inputs)?;
        match (&self.finding, self.interrupted) {
            (Some(finding), _) => write!(f, "1 finding ({})", finding.kind),
            (None, true) => f.write_str("interrupted, no finding until then"),
            (None, false) => f.write_str("no finding"),
        }
    }
}

impl Finding {
    /// For people: what, where, and how to go on.
    pub fn told(&self, target: &str) -> String {
        let Self { input, words, kind } = self;
        let input = input.display();
        let words = if words.is_empty() { String::new() } else { format!("\n{words}") };
        format!(
            "fuzz {target}: {kind}{words}\nThe input is {input}\n\
             Repeat it with: cargo run -p ipa-fuzz --bin {target} -- {input}\n\
             Once it is mended, keep the input: move it to fuzz/corpus/{target}/"
        )
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    const RUN: &str = "\
INFO: Running with entropic power schedule (0xFF, 100).
#19\tINITED cov: 210 ft: 377 corp: 19/1055b exec/s: 0 rss: 33Mb
#65536\tpulse  cov: 370 ft: 1500 corp: 390/50Kb lim: 650 exec/s: 9362 rss: 55Mb
#70001\tNEW    cov: 378 ft: 1597 corp: 402/51Kb lim: 1118 exec/s: 9033 rss: 60Mb L: 7/60 MS: 1 ChangeBit-
";

    const CRASH: &str = "
thread '<unnamed>' (12) panicked at fuzz/src/open.rs:118:17:
events.db was changed
note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace
==12== ERROR: libFuzzer: deadly signal
artifact_prefix='/t/findings/'; Test unit written to /t/findings/crash-dad8
stat::number_of_executed_units: 70044
";

    fn seen(text: &str) -> Seen {
        let mut seen = Seen::default();
        text.lines().for_each(|line| seen.read(line));
        seen
    }

    #[cfg(unix)]
    fn status(code: u8) -> ExitStatus {
        Command::new("sh").args(["-c", &format!("exit {code}")]).status().unwrap()
    }

    #[test]
    fn the_latest_counts_are_told() {
        assert_eq!(seen(RUN).to_string(), "70001 executions, 378 places reached, 402 inputs");
    }

    #[cfg(unix)]
    #[test]
    fn a_run_without_a_finding_is_well_interrupted_or_not() {
        let end = |seen: Seen, code, interrupted| {
            seen.end(status(code), interrupted, Duration::from_secs(61), Path::new("/t/log"))
        };
        let whole = end(seen(RUN), 0, false).unwrap();
        assert_eq!(
            whole.to_string(),
            "70001 executions in 61.0 s, 378 places reached, 402 inputs, no finding"
        );
        let interrupted = end(seen(RUN), 72, true).unwrap();
        assert!(interrupted.to_string().ends_with("interrupted, no finding until then"));
        let error = end(seen(RUN), 72, false).unwrap_err();
        assert!(error.code() == 1 && error.to_string().contains("/t/log"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn a_finding_says_what_where_and_how_to_go_on() {
        let seen = seen(&format!("{RUN}{CRASH}"));
        let summary = seen.end(status(77), false, Duration::from_secs(3), Path::new("/t/log")).unwrap();
        assert_eq!(summary.executions, 70_044);
        assert!(summary.to_string().ends_with("1 finding (crash)"), "{summary}");
        let told = summary.finding.unwrap().told("open");
        for part in
            ["events.db was changed", "/t/findings/crash-dad8", "--bin open -- /t", "fuzz/corpus/open/"]
        {
            assert!(told.contains(part), "{told}");
        }
        assert!(!told.contains("deadly signal") && !told.contains("note:"), "{told}");
    }
}
