//! The end of an incarnation is the end of its lease.
//!
//! A tokio task that was aborted and joined is not yet the end: a thread, an operating-system process, a blocking closure, a
//! foreign actor may still work for it, and an aborted supervisor's own children may still run. So each start makes one lease,
//! held by the task and by whatever works for the incarnation elsewhere. The exit report is the drop of the last [`Hold`].
//!
//! The one trick is the order of what goes then ([`Control::ended`]): first the guards that were tied to the lease, the latest first;
//! then the report to the supervisor; then the supervisor's own lease, which this one has kept alive.

use std::any::Any;
use std::fmt;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, Weak};

use crate::control::Control;
use crate::log;
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
pub struct Lease(Of);

#[derive(Clone)]
enum Of {
    /// Of nobody's child.
    Root(Arc<Root>),
    Child(Hold),
}

#[derive(Default)]
struct Root(Mutex<Guards>);

impl Lease {
    /// A lease that nobody is told of the end of. The guards that are [tied](Self::tie) to it still drop then.
    pub fn root() -> Self {
        Self(Of::Root(Arc::default()))
    }

    /// The incarnation whose lease it is, if it is one's.
    #[cfg(ipa_interleavings)]
    pub(crate) fn control(&self) -> Option<&Arc<Control>> {
        match &self.0 {
            Of::Root(_) => None,
            Of::Child(hold) => Some(&hold.0),
        }
    }

    /// Keeps `guard` until the incarnation has ended, and drops it then, before the exit is reported: a name, a permit, a
    /// slot of a limit. Of several, the latest is dropped first.
    ///
    /// A panic in a guard's `Drop` is caught and logged; the other guards are dropped all the same.
    pub fn tie(&self, guard: impl Any + Send) {
        let guard = Guards::of(guard);
        match &self.0 {
            Of::Root(root) => root.0.lock().push_front(guard),
            Of::Child(hold) => hold.0.guard(guard),
        }
    }

    /// A reference that does not keep the incarnation from ending.
    pub fn downgrade(&self) -> WeakLease {
        WeakLease(match &self.0 {
            Of::Root(root) => Weakly::Root(Arc::downgrade(root)),
            Of::Child(hold) => Weakly::Child(hold.0.clone()),
        })
    }
}

impl From<Hold> for Lease {
    fn from(hold: Hold) -> Self {
        Self(Of::Child(hold))
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let holders = match &self.0 {
            Of::Root(root) => Arc::strong_count(root),
            Of::Child(hold) => Hold::count(&hold.0),
        };
        f.debug_struct("Lease").field("holders", &holders).finish_non_exhaustive()
    }
}

/// A [`Lease`] that does not hold; see [`Lease::downgrade`].
#[derive(Clone)]
pub struct WeakLease(Weakly);

#[derive(Clone)]
enum Weakly {
    Root(Weak<Root>),
    Child(Arc<Control>),
}

impl WeakLease {
    /// The lease, unless the incarnation has ended or is about to, with nobody to hold it any more.
    pub fn upgrade(&self) -> Option<Lease> {
        Some(Lease(match &self.0 {
            Weakly::Root(root) => Of::Root(root.upgrade()?),
            Weakly::Child(control) => Of::Child(Hold::another(control)?),
        }))
    }
}

impl fmt::Debug for WeakLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let holders = match &self.0 {
            Weakly::Root(root) => root.strong_count(),
            Weakly::Child(control) => Hold::count(control),
        };
        f.debug_struct("WeakLease").field("holders", &holders).finish_non_exhaustive()
    }
}

/// More than there ever are: what is left of a count whose last holder has let go.
const OVER: u32 = 1 << (u32::BITS - 1);

/// The lease of an incarnation, as its own parts have it.
///
/// It is a count in the [`Control`], which others hold without being counted. The count goes as those of `Arc` and `Weak` do: who has one
/// may make another, and from none there is no way back.
pub(crate) struct Hold(Arc<Control>);

impl Hold {
    /// The first; there is one for each incarnation.
    pub(crate) fn first(control: Arc<Control>) -> Self {
        control.holders.store(1, Ordering::Relaxed);
        Self(control)
    }

    fn count(control: &Control) -> usize {
        (control.holders.load(Ordering::Relaxed) & !OVER) as usize
    }

    /// One more, unless there is none left.
    fn another(control: &Arc<Control>) -> Option<Self> {
        let more = |holders| (holders > 0 && holders < OVER).then_some(holders + 1);
        let before = control.holders.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Self::counted(before, control))
    }

    /// One more, which was added to so many. Aborts if that is too many, as `Arc` does: only clones that are forgotten come to so many, and the
    /// count would begin anew.
    fn counted(before: u32, control: &Arc<Control>) -> Self {
        if before & !OVER > OVER / 2 {
            std::process::abort();
        }
        Self(control.clone())
    }

    /// Lets go, if it is the last: then the end is the caller's to see to, and dropping this is nothing more. Answers whether it was.
    pub(crate) fn let_go(&self) -> bool {
        self.0.holders.compare_exchange(1, OVER + 1, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Whether it was [let go](Self::let_go).
    pub(crate) fn is_over(&self) -> bool {
        self.0.holders.load(Ordering::Relaxed) >= OVER
    }

    pub(crate) fn control(&self) -> &Arc<Control> {
        &self.0
    }
}

impl Clone for Hold {
    fn clone(&self) -> Self {
        Self::counted(self.0.holders.fetch_add(1, Ordering::Relaxed), &self.0)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // What the other holders have done happens before the end: each of them releases, the last one acquires.
        if self.0.holders.fetch_sub(1, Ordering::Release) == 1 {
            fence(Ordering::Acquire);
            self.0.ended();
        }
    }
}

/// What is kept until an end, the latest first. A list, since most incarnations have none and few have more than two.
#[derive(Default)]
pub(crate) struct Guards(Option<Box<Tied<dyn Any + Send>>>);

struct Tied<G: ?Sized> {
    earlier: Guards,
    _guard: G,
}

impl Guards {
    fn of(guard: impl Any + Send) -> Self {
        Self(Some(Box::new(Tied { earlier: Self::default(), _guard: guard })))
    }

    /// Puts one before the others.
    pub(crate) fn push_front(&mut self, mut one: Self) {
        if let Some(tied) = &mut one.0 {
            tied.earlier = std::mem::take(self);
            *self = one;
        }
    }
}

impl Drop for Guards {
    fn drop(&mut self) {
        while let Some(mut tied) = self.0.take() {
            self.0 = tied.earlier.0.take();
            log::caught("a guard that was tied to a lease, when dropped", || drop(tied));
        }
    }
}
