//! A progress bar on standard error, if that is a terminal; nothing otherwise.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ipa_eventstore::Progress;

/// A bar that shows nothing until it is told of progress. Clones are the same bar.
#[derive(Clone)]
pub struct Bar(ProgressBar);

impl Bar {
    pub fn new() -> Self {
        // Hidden where standard error is no terminal.
        Self(ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(spinner()))
    }

    /// One that shows nothing.
    pub fn hidden() -> Self {
        Self(ProgressBar::hidden())
    }

    /// One for bytes that are read, of so many.
    pub fn of_bytes(total: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
        Self(bar.with_style(style("{bar:40} {bytes}/{total_bytes} {eta}")))
    }

    pub fn show(&self, progress: Progress) {
        if self.0.message() != progress.step {
            self.0.set_style(if progress.total == 0 {
                spinner()
            } else {
                style("{msg} {bar:40} {human_pos}/{human_len} {eta}")
            });
            self.0.set_message(progress.step);
        }
        if progress.total > 0 {
            self.0.set_length(progress.total);
        }
        self.0.set_position(progress.done);
    }

    pub fn inner(&self) -> &ProgressBar {
        &self.0
    }

    pub fn clear(&self) {
        self.0.finish_and_clear();
    }
}

fn spinner() -> ProgressStyle {
    style("{msg} ...")
}

fn style(template: &str) -> ProgressStyle {
    // The templates above are sound; if one were not, the default is a bar too.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
