//! The rules for one child: when it is restarted, how it is stopped, and where what is left open comes from.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::backoff::Backoff;
use crate::millis;
use crate::spec::ChildId;

/// When a child that ended is started again (OTP's `restart`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Restart {
    /// Always. A permanent child that returns `Ok` is restarted too, and counted.
    Permanent,
    /// After an abnormal end only: an error, a panic, a kill. Otherwise its spec is kept, not running.
    Transient,
    /// Never; its spec goes when it ends.
    Temporary,
}

/// The restart types that a significant child may have. That [`Restart::Permanent`] is none of them is the point:
///
/// ```
/// use ipa_supervisor::{ChildSpec, SignificantRestart};
/// let spec = ChildSpec::task("leader", |_cx| async {}).significant(SignificantRestart::Transient);
/// ```
///
/// ```compile_fail,E0599
/// use ipa_supervisor::{ChildSpec, SignificantRestart};
/// let spec = ChildSpec::task("leader", |_cx| async {}).significant(SignificantRestart::Permanent);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignificantRestart {
    /// As [`Restart::Transient`]: its normal end counts, a crash is restarted.
    Transient,
    /// As [`Restart::Temporary`]: any end by itself counts.
    Temporary,
}

/// Whether a supervisor shuts down by itself when its significant children have ended by themselves (OTP's `auto_shutdown`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AutoShutdown {
    /// Never. A significant child is then an error.
    #[default]
    Never,
    /// When any of them has.
    AnySignificant,
    /// When the last of them that was active has.
    AllSignificant,
}

/// Who is restarted when a child ends that is to be (OTP's `strategy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// That child alone.
    #[default]
    OneForOne,
    /// That child and those after it in the order of start: they are stopped in reverse, then all are started in order.
    RestForOne,
    /// All children: they are stopped in reverse, then all are started in order.
    OneForAll,
}

/// How long a child may take to stop (OTP's `shutdown`).
///
/// Default: 5 seconds for workers, [`Infinity`](Self::Infinity) for supervisors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shutdown {
    /// It is asked to stop and killed if it has not ended by then. Zero is allowed: asked, and killed before it can go on.
    /// Milliseconds in serde.
    #[serde(rename = "timeout_ms", with = "millis")]
    Timeout(Duration),
    /// It is asked to stop and waited for, however long that takes.
    Infinity,
    /// It is killed without being asked; its `terminate` does not run.
    BrutalKill,
}

/// What a stop does to a child's `run`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopMode {
    /// `run` is dropped at its next await, then `terminate` runs. The default: a child that never looks for a stop does
    /// not cost the whole shutdown deadline. Where the stop comes before `run` has been called, it is not called at all.
    #[default]
    Drop,
    /// `run` goes on, sees [`Context::stopped`](crate::Context::stopped), and finishes by itself; then `terminate` runs (OTP's `trap_exit`). An `init`
    /// that is under way is dropped all the same.
    Cooperative,
    /// As [`Cooperative`](Self::Cooperative), and `init` too goes on until it returns: for a child whose `init` starts
    /// what must be stopped in order, as a nested supervisor's does.
    CooperativeInit,
}

/// Whether a child is itself a supervisor. It decides the default [`Shutdown`] and is shown in listings and counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Anything else.
    #[default]
    Worker,
    /// A supervisor.
    Supervisor,
}

impl Kind {
    /// How long such a child may take to stop, if nobody says otherwise.
    pub(crate) fn shutdown(self) -> Shutdown {
        match self {
            Self::Worker => Shutdown::Timeout(DEFAULT_SHUTDOWN),
            Self::Supervisor => Shutdown::Infinity,
        }
    }
}

/// What a child type says of itself, or a caller of one child; unset fields are left to whoever is asked next.
///
/// ```
/// use ipa_supervisor::{Restart, Settings};
///
/// let settings = Settings { restart: Some(Restart::Transient), ..Settings::default() };
/// assert!(settings.shutdown.is_none());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// When to restart. Unset: the supervisor's default (permanent; in a pod, transient).
    pub restart: Option<Restart>,
    /// How long a stop may take. Unset: the supervisor's default for workers (5 s), infinity for supervisors.
    pub shutdown: Option<Shutdown>,
    /// What a stop does to `run`. Unset: [`StopMode::Drop`].
    pub stop_mode: Option<StopMode>,
    /// How long a start may take. Unset: as long as it likes, as in OTP. Milliseconds in serde.
    #[serde(rename = "start_timeout_ms", with = "millis::option")]
    pub start_timeout: Option<Duration>,
    /// Worker or supervisor. Unset: worker.
    pub kind: Option<Kind>,
    /// Whether `terminate` runs after a panic, on the value as the panic left it. Unset: yes.
    pub terminate_after_panic: Option<bool>,
    /// Whether the child's end by itself can shut its supervisor down; see [`AutoShutdown`]. Unset: no.
    pub significant: Option<bool>,
    /// How long to wait before a restart. Unset: not at all, as in OTP.
    pub backoff: Option<Backoff>,
    /// How long the child may be silent while it works. Unset: as long as it likes. Milliseconds in serde.
    #[serde(rename = "max_silence_ms", with = "millis::option")]
    pub max_silence: Option<Duration>,
}

impl Settings {
    /// These settings, with `fallback`'s where they say nothing.
    #[must_use]
    pub fn or(self, fallback: Self) -> Self {
        Self {
            restart: self.restart.or(fallback.restart),
            shutdown: self.shutdown.or(fallback.shutdown),
            stop_mode: self.stop_mode.or(fallback.stop_mode),
            start_timeout: self.start_timeout.or(fallback.start_timeout),
            kind: self.kind.or(fallback.kind),
            terminate_after_panic: self.terminate_after_panic.or(fallback.terminate_after_panic),
            significant: self.significant.or(fallback.significant),
            backoff: self.backoff.or(fallback.backoff),
            max_silence: self.max_silence.or(fallback.max_silence),
        }
    }
}

/// Settings as they are kept. Most say little, and there are some for each child, on their way, and for each supervisor.
#[derive(Default)]
pub(crate) struct Kept {
    restart: Option<Restart>,
    kind: Option<Kind>,
    stop_mode: Option<StopMode>,
    /// All of them, if there is more to say.
    all: Option<Box<Settings>>,
}

impl Kept {
    pub(crate) fn get(&self) -> Settings {
        let &Self { restart, kind, stop_mode, ref all } = self;
        match all {
            None => Settings { restart, kind, stop_mode, ..Settings::default() },
            Some(all) => **all,
        }
    }

    pub(crate) fn change(&mut self, change: impl FnOnce(&mut Settings)) {
        let mut settings = self.get();
        change(&mut settings);
        *self = settings.into();
    }
}

impl From<Settings> for Kept {
    fn from(settings: Settings) -> Self {
        let Settings { restart, kind, stop_mode, .. } = settings;
        let said = Settings { restart, kind, stop_mode, ..Settings::default() };
        Self { restart, kind, stop_mode, all: (settings != said).then(|| Box::new(settings)) }
    }
}

/// A child's settings with every default filled in.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Policy {
    /// The child's id.
    pub id: ChildId,
    /// When it is restarted.
    pub restart: Restart,
    /// How long a stop may take.
    pub shutdown: Shutdown,
    /// What a stop does to `run`.
    pub stop_mode: StopMode,
    /// How long a start may take.
    #[serde(rename = "start_timeout_ms", with = "millis::option")]
    pub start_timeout: Option<Duration>,
    /// Worker or supervisor.
    pub kind: Kind,
    /// Whether `terminate` runs after a panic.
    pub terminate_after_panic: bool,
    /// Whether the child's end by itself can shut its supervisor down.
    pub significant: bool,
    /// How long to wait before a restart.
    pub backoff: Option<Box<Backoff>>,
    /// How long it may be silent while it works.
    #[serde(rename = "max_silence_ms", with = "millis::option")]
    pub max_silence: Option<Duration>,
}

impl Policy {
    /// The policy of a child of which nothing is set: OTP's permanent worker with 5 seconds to stop.
    pub fn new(id: impl Into<ChildId>) -> Self {
        Self::resolve(id.into(), Settings::default(), Settings::default())
    }

    /// Fills what `settings` leaves open from the supervisor's `defaults`, and what those leave open from OTP's.
    pub(crate) fn resolve(id: ChildId, settings: Settings, defaults: Settings) -> Self {
        let kind = settings.kind.or(defaults.kind).unwrap_or_default();
        // What the supervisor falls back on is for workers.
        let shutdown = settings.shutdown.or(defaults.shutdown.filter(|_| kind == Kind::Worker));
        let settings = settings.or(defaults);
        Self {
            id,
            restart: settings.restart.unwrap_or(Restart::Permanent),
            shutdown: shutdown.unwrap_or(kind.shutdown()),
            stop_mode: settings.stop_mode.unwrap_or_default(),
            start_timeout: settings.start_timeout,
            kind,
            terminate_after_panic: settings.terminate_after_panic.unwrap_or(true),
            significant: settings.significant.unwrap_or(false),
            backoff: settings.backoff.map(Box::new),
            max_silence: settings.max_silence,
        }
    }
}

/// OTP's 5,000 ms.
pub(crate) const DEFAULT_SHUTDOWN: Duration = Duration::from_secs(5);
