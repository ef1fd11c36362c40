//! Why a child ended, in the words that OTP uses.
//!
//! Policy needs one bit of a reason (normal, shutdown or abnormal); people need all of it. So an [`ExitReason`] is cheap
//! to clone and keeps its source: the error that was returned, the text of the panic, the cause of the shutdown.

use std::error::Error;
use std::fmt::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::child::panic_text;
use crate::log;
use crate::spec::ChildId;

/// Any error a child may end with.
pub type BoxError = Box<dyn Error + Send + Sync + 'static>;

/// How a child's `run` ended when nothing went wrong.
///
/// `Ok(Exit::Normal)` is OTP's `normal`, `Ok(Exit::Shutdown(..))` its `shutdown` and `{shutdown, Term}`. Everything else
/// (`Err`, a panic, a kill) is abnormal. A [transient](crate::Restart::Transient) child is restarted after an abnormal end
/// only.
///
/// ```
/// use ipa_supervisor::{Cause, Exit, ExitReason};
///
/// let reason = ExitReason::from(Exit::shutdown_with("quota used up"));
/// assert!(!reason.is_abnormal());
/// assert_eq!(reason.to_string(), "shutdown: quota used up");
/// ```
#[derive(Clone, Debug, Default)]
pub enum Exit {
    /// The work is done.
    #[default]
    Normal,
    /// The child shut down by itself, for this cause.
    Shutdown(Cause),
}

impl Exit {
    /// A shutdown that says no more.
    pub fn shutdown() -> Self {
        Self::Shutdown(Cause::Own(None))
    }

    /// A shutdown with a word on why, for whoever reads the log or decides what is next.
    pub fn shutdown_with(text: impl Into<Arc<str>>) -> Self {
        Self::Shutdown(Cause::Own(Some(text.into())))
    }
}

/// Why an incarnation of a child, or a supervisor, ended.
///
/// Equality is not defined (errors have none); ask [`is_abnormal`](Self::is_abnormal) or match.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ExitReason {
    /// It finished its work.
    Normal,
    /// It was shut down, or shut itself down. Not abnormal, whatever the cause.
    Shutdown(Cause),
    /// It was killed: by a deadline, by a brutal kill, or by somebody who aborted its task.
    Killed,
    /// It returned this error.
    Failed(Failure),
    /// It panicked with this message.
    Panicked(Arc<str>),
}

impl ExitReason {
    /// Whether a [transient](crate::Restart::Transient) child is restarted after this: an error, a panic, a kill.
    pub fn is_abnormal(&self) -> bool {
        matches!(self, Self::Killed | Self::Failed(_) | Self::Panicked(_))
    }

    /// The reason for an error that a child returned.
    pub fn failed(error: impl Into<BoxError>) -> Self {
        Self::Failed(Failure(Some(Arc::from(error.into()))))
    }

    /// The reason for a panic, from what [`catch_unwind`](std::panic::catch_unwind) or a
    /// [`JoinError`](tokio::task::JoinError::into_panic) has of it. A payload that is no text becomes `panic: <non-string>`.
    pub fn panicked(payload: Box<dyn std::any::Any + Send>) -> Self {
        Self::Panicked(crate::child::panic_text(payload))
    }

    /// The error that stands behind this reason, if it is one.
    pub fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed(failure) => failure.error(),
            _ => None,
        }
    }
}

/// The error that a child returned. Cheap to clone; made by [`ExitReason::failed`].
///
/// The error is foreign code that is printed and dropped in many places, a supervisor's loop among them, where a panic would end far more
/// than the child. So a panic in its `Display`, `Debug` or `Drop` is caught here, and a text that cannot be written is replaced.
/// [`ExitReason::source`] has the error itself.
///
/// ```
/// use ipa_supervisor::ExitReason;
///
/// let reason = ExitReason::failed(std::io::Error::other("disk full"));
/// let ExitReason::Failed(failure) = &reason else { panic!() };
/// assert_eq!(failure.to_string(), "disk full");
/// assert!(failure.downcast_ref::<std::io::Error>().is_some());
/// ```
#[derive(Clone)]
pub struct Failure(
    /// Until it is dropped.
    Option<Arc<dyn Error + Send + Sync>>,
);

impl Failure {
    /// The error as what it is, if it is that.
    pub fn downcast_ref<E: Error + 'static>(&self) -> Option<&E> {
        self.error()?.downcast_ref()
    }

    fn error(&self) -> Option<&(dyn Error + 'static)> {
        let error: &(dyn Error + 'static) = &**self.0.as_ref()?;
        Some(error)
    }
}

/// What a foreign error has to say, or why it does not. Apart from the formatter that it is for: to that, an error which says that it cannot
/// be written is a panic of `to_string`.
fn text(of_error: fmt::Arguments<'_>) -> String {
    let mut text = String::new();
    match catch_unwind(AssertUnwindSafe(|| text.write_fmt(of_error))) {
        Ok(Ok(())) => text,
        Ok(Err(fmt::Error)) => "(an error that cannot be printed)".to_owned(),
        Err(payload) => format!("(an error that panicked when printed: {})", panic_text(payload)),
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(error) = self.error() else { return Ok(()) };
        f.write_str(&match f.alternate() {
            true => text(format_args!("{error:#}")),
            false => text(format_args!("{error}")),
        })
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(error) = self.error() else { return Ok(()) };
        f.write_str(&match f.alternate() {
            true => text(format_args!("{error:#?}")),
            false => text(format_args!("{error:?}")),
        })
    }
}

impl Drop for Failure {
    fn drop(&mut self) {
        let error = self.0.take();
        log::caught("a child's error, when dropped", || drop(error));
    }
}

impl From<Exit> for ExitReason {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Normal => Self::Normal,
            Exit::Shutdown(cause) => Self::Shutdown(cause),
        }
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => f.write_str("normal"),
            Self::Shutdown(Cause::Own(None) | Cause::Requested(None)) => f.write_str("shutdown"),
            Self::Shutdown(cause) => write!(f, "shutdown: {cause}"),
            Self::Killed => f.write_str("killed"),
            Self::Failed(failure) => write!(f, "failed: {failure}"),
            Self::Panicked(text) => write!(f, "panicked: {text}"),
        }
    }
}

/// What brought a shutdown about.
///
/// For policy every cause is the same `shutdown`; whoever decides what to do next (a parent's owner, a central manager) can
/// tell them apart.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Cause {
    /// Somebody asked for it, perhaps with a word on why.
    Requested(Option<Arc<str>>),
    /// A supervisor gave up: more restarts than its [intensity](crate::RestartIntensity) allows.
    Intensity(Arc<LastCrash>),
    /// A [significant](crate::ChildSpec::significant) child ended by itself, and its supervisor with it.
    Significant {
        /// The child.
        child: ChildId,
    },
    /// A supervisor could not start this child of its initial list, and rolled the start back.
    FailedToStart(Arc<StartFailure>),
    /// The permit to run was lost (for a pod: the task's ownership went to another machine).
    Revoked,
    /// It had nothing to do for as long as it may (for a pod: its idle time).
    Idle,
    /// The child's own decision.
    Own(Option<Arc<str>>),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requested(None) => f.write_str("requested"),
            Self::Requested(Some(text)) | Self::Own(Some(text)) => f.write_str(text),
            Self::Intensity(crash) => {
                let LastCrash { child, reason } = &**crash;
                write!(f, "too many restarts, the last of child `{child}` ({reason})")
            }
            Self::Significant { child } => write!(f, "significant child `{child}` ended"),
            Self::FailedToStart(failure) => failure.fmt(f),
            Self::Revoked => f.write_str("the permit to run was revoked"),
            Self::Idle => f.write_str("idle"),
            Self::Own(None) => f.write_str("its own decision"),
        }
    }
}

/// The child whose restart was one too many, and how it had ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LastCrash {
    /// The child's id.
    pub child: ChildId,
    /// How it had ended.
    pub reason: ExitReason,
}

impl LastCrash {
    /// For those who tell a cause again, in a test for example.
    pub fn new(child: impl Into<ChildId>, reason: ExitReason) -> Self {
        Self { child: child.into(), reason }
    }
}

/// A child that did not come up: which one, and how its start ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StartFailure {
    /// The child's id.
    pub child: ChildId,
    /// What its start ended with: the error of its `init`, a panic there or in its factory, a kill.
    pub reason: ExitReason,
    /// Whether it was the [start timeout](crate::ChildSpec::start_timeout) that ended it.
    pub timed_out: bool,
    /// Whether that was the start timeout of the whole supervisor, and not the child's own.
    pub with_supervisor: bool,
}

impl fmt::Display for StartFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.timed_out {
            return write!(f, "child `{}` did not start within its start timeout", self.child);
        }
        write!(f, "child `{}` failed to start: {}", self.child, self.reason)
    }
}

impl Error for StartFailure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.reason.source()
    }
}
