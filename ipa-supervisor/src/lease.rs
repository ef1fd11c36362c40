//! The end of an incarnation is the end of its lease.
//!
//! A tokio task that was aborted and joined is not yet the end: a thread, an operating-system process, a blocking closure, a
//! foreign actor may still work for it, and an aborted supervisor's own children may still run. So each start makes one lease,
//! held by the task and by whatever works for the incarnation elsewhere. The exit report is the lease's `Drop`.
//!
//! The one trick is the order in which [`Held`] drops: first the guards that were tied to the lease, the latest first; then
//! the report to the supervisor; then the supervisor's own lease, which this one has kept alive.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};

use crate::child::End;
use crate::control::Control;
use crate::machine::ChildRef;
use crate::message::Message;
use crate::reason::ExitReason;
use crate::sync::Mutex;

/// What keeps an incarnation of a child from having ended. Cheap to clone.
///
/// The incarnation ends, as its supervisor sees it, when the last clone is dropped: only then is its exit handled, its id free,
/// its successor started, a stop of it answered. A child's lease holds its supervisor's, up to the root.
///
/// Whatever works for a child outside its task holds a clone: [`Context::spawn_blocking`](crate::Context::spawn_blocking) and
/// the [`Process`](crate::Process) child do so by themselves; a child that wraps a thread or a foreign actor hands one to it. A
/// clone that is never dropped makes a child that cannot be stopped: it is reported as *stuck*.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// use ipa_supervisor::{ChildSpec, Supervisor};
/// use std::sync::mpsc;
///
/// let (release, released) = mpsc::channel::<()>();
/// let released = std::sync::Arc::new(std::sync::Mutex::new(released));
/// let supervisor = Supervisor::builder()
///     .child(ChildSpec::task("wraps-a-thread", move |cx| {
///         let (lease, released) = (cx.lease(), released.clone());
///         async move {
///             std::thread::spawn(move || {
///                 let _ = released.lock().unwrap().recv(); // works on, whatever becomes of the task
///                 drop(lease); // the end
///             });
///             cx.stopped().await;
///         }
///     }))
///     .start()
///     .await
///     .unwrap();
/// drop(release);
/// supervisor.shutdown().await.unwrap(); // has waited for the thread
/// # });
/// ```
#[derive(Clone)]
#[must_use = "dropping the last clone of a lease ends what it stands for"]
pub struct Lease(Arc<Held>);

/// Fields drop in this order; that order is the guarantee.
struct Held {
    guards: Guards,
    report: Option<Report>,
    _parent: Option<Lease>,
}

impl Lease {
    /// A lease that nobody is told of the end of. The guards that are [tied](Self::tie) to it still drop then.
    pub fn root() -> Self {
        Self::new(None, None)
    }

    /// The lease of an incarnation, whose end its supervisor is told of.
    pub(crate) fn child(parent: &Lease, control: Arc<Control>) -> Self {
        Self::new(Some(Report { control, end: Mutex::new(None) }), Some(parent.clone()))
    }

    fn new(report: Option<Report>, parent: Option<Lease>) -> Self {
        Self(Arc::new(Held { guards: Guards::default(), report, _parent: parent }))
    }

    /// Keeps `guard` until the incarnation has ended, and drops it then, before the exit is reported: a name, a permit, a
    /// slot of a limit. Of several, the latest is dropped first.
    ///
    /// A panic in a guard's `Drop` is caught and logged; the other guards are dropped all the same.
    pub fn tie(&self, guard: impl Any + Send) {
        self.0.guards.0.lock().push(Box::new(guard));
    }

    /// A reference that does not keep the incarnation from ending.
    pub fn downgrade(&self) -> WeakLease {
        WeakLease(Arc::downgrade(&self.0))
    }

    /// How the incarnation ended, if its task got to say so; what is not said is a kill.
    pub(crate) fn set_end(&self, end: End) {
        if let Some(report) = &self.0.report {
            *report.end.lock() = Some(end);
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("holders", &Arc::strong_count(&self.0)).finish_non_exhaustive()
    }
}

/// A [`Lease`] that does not hold; see [`Lease::downgrade`].
#[derive(Clone)]
pub struct WeakLease(Weak<Held>);

impl WeakLease {
    /// The lease, unless the incarnation has ended.
    pub fn upgrade(&self) -> Option<Lease> {
        self.0.upgrade().map(Lease)
    }
}

impl fmt::Debug for WeakLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakLease").field("holders", &self.0.strong_count()).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Guards(Mutex<Vec<Box<dyn Any + Send>>>);

impl Drop for Guards {
    fn drop(&mut self) {
        while let Some(guard) = self.0.get_mut().pop() {
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(guard))) {
                tracing::error!(panic = %crate::child::panic_text(payload), "a guard tied to a lease panicked in its drop");
            }
        }
    }
}

/// Tells the supervisor's loop, when dropped, that an incarnation has ended.
struct Report {
    control: Arc<Control>,
    end: Mutex<Option<End>>,
}

impl Drop for Report {
    fn drop(&mut self) {
        let end = self.end.get_mut().take().unwrap_or(End::Exited(ExitReason::Killed));
        let ChildRef { slot, incarnation, .. } = self.control.child;
        self.control.report(Message::Ended { slot, incarnation, end });
    }
}
