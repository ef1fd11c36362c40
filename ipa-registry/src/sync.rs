//! The locks, atomics and wake-ups that the registry rests on, by one name each.
//!
//! Apart, so that `cargo xtask interleavings` can put loom's in their place (`--cfg ipa_interleavings`) and run the registry through
//! all interleavings of a few threads, and through what weak memory allows. In every other build this is nothing but names.

#[cfg(not(ipa_interleavings))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicUsize};

#[cfg(not(ipa_interleavings))]
pub(crate) use parking_lot::{Mutex, RwLock, RwLockWriteGuard};
#[cfg(not(ipa_interleavings))]
pub(crate) use tokio::sync::Notify;

#[cfg(ipa_interleavings)]
pub(crate) use self::model::{AtomicBool, AtomicUsize, Mutex, Notify, RwLock, RwLockWriteGuard};

/// Loom's types with the faces of those above, which know no poison.
#[cfg(ipa_interleavings)]
mod model {
    use std::sync::{PoisonError, atomic::Ordering};

    use loom::sync::{MutexGuard, RwLockReadGuard};
    pub(crate) use loom::sync::{
        RwLockWriteGuard,
        atomic::{AtomicBool, AtomicUsize},
    };

    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    pub(crate) struct RwLock<T>(loom::sync::RwLock<T>);

    impl<T> RwLock<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::RwLock::new(value))
        }

        pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
            self.0.read().unwrap_or_else(PoisonError::into_inner)
        }

        pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
            self.0.write().unwrap_or_else(PoisonError::into_inner)
        }

        pub(crate) fn get_mut(&mut self) -> &mut T {
            self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
        }
    }

    /// Tokio's own `Notify`, each operation of which is one step: loom may switch threads before it, and sees that it depends on the
    /// others. That tokio's operations are atomic is taken from tokio, which checks them with loom itself.
    pub(crate) struct Notify {
        step: AtomicUsize,
        notify: tokio::sync::Notify,
    }

    impl Notify {
        pub(crate) fn new() -> Self {
            Self { step: AtomicUsize::new(0), notify: tokio::sync::Notify::new() }
        }

        fn step(&self) {
            self.step.fetch_add(1, Ordering::AcqRel);
        }

        pub(crate) fn notify_one(&self) {
            self.step();
            self.notify.notify_one();
        }

        pub(crate) async fn notified(&self) {
            self.step();
            self.notify.notified().await;
        }
    }
}
