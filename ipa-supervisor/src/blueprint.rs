//! What supervisors of both kinds are built from, and how they are started: as a root, on a task of their own, or nested.

use std::hash::BuildHasher;
use std::sync::Arc;

use crate::driver::{Driver, Slot};
use crate::error::{SpecError, StartError};
use crate::handle::{Handle, StopOnDrop};
use crate::lease::Lease;
use crate::machine::{Machine, MachineOptions, SlotId};
use crate::message::Port;
use crate::policy::{Kept, Policy};
use crate::ports::{Directory, Observer};
use crate::seat::Owner;
use crate::spec::ChildSpec;
use crate::sync::{oneshot, task, time};
use crate::table::{Table, WIDE};

/// What a builder fills in, in a box: it is handed on by each of its methods.
#[derive(Default)]
pub(crate) struct Blueprint {
    pub(crate) options: MachineOptions,
    pub(crate) defaults: Kept,
    pub(crate) directory: Option<Arc<dyn Directory>>,
    pub(crate) observer: Option<Arc<dyn Observer>>,
    pub(crate) children: Vec<ChildSpec>,
    pub(crate) dynamic: bool,
}

impl Blueprint {
    fn driver(mut self, port: Arc<Port>, lease: Lease) -> Result<Box<Driver>, SpecError> {
        let random = std::hash::RandomState::new().hash_one(self.children.len());
        // Supervisors that are started together should not wait in step.
        self.options.seed = random;
        // Where a place is all that tells one child from another, it is no child's of another supervisor, or of an earlier run of this one, so
        // that a reference to one of those finds nobody. Of 52 bits, as what reads JSON may take numbers for floating-point ones.
        let first = if self.dynamic { (random >> 12) / WIDE * WIDE } else { 0 };
        let defaults = self.defaults.get();
        let mut slots = Table::with_capacity(self.children.len());
        let initial = self.children.into_iter().enumerate().map(|(n, spec)| {
            let ChildSpec { id, factory, settings } = spec;
            let (slot, policy) = (SlotId(first + n as u64), Policy::resolve(id, settings.get(), defaults));
            slots.insert(slot, Slot::new(factory, policy.restart));
            (slot, policy)
        });
        let machine = if self.dynamic {
            Machine::dynamic(self.options)?
        } else {
            Machine::ordered(self.options, initial)?
        };
        let next_slot = first + slots.len() as u64;
        Ok(Driver::new(machine, slots, next_slot, self.defaults, self.observer, port, lease))
    }

    /// The loop of a supervisor that runs as the child whose lease this is.
    pub(crate) fn nested(self, port: Arc<Port>, lease: Lease) -> Result<Box<Driver>, SpecError> {
        self.driver(port, lease)
    }

    /// Starts a root supervisor. If this future is dropped, the supervisor shuts down in the background.
    pub(crate) async fn start(self) -> Result<(Handle, Arc<StopOnDrop>), StartError> {
        // Panics where there is no timer, as the first deadline would: here nothing runs yet that it would take along.
        drop(time::sleep_until(time::Instant::now()));
        let port = Port::new(self.directory.clone());
        let handle = Handle(port.clone());
        let driver = self.driver(port, Lease::root())?;
        let strong = Arc::new(StopOnDrop(handle.clone()));
        let (ready, up) = oneshot::channel();
        task::spawn(root(driver, ready));
        match up.await {
            Ok(Ok(())) => Ok((handle, strong)),
            Ok(Err(error)) => {
                // What was started has been stopped; `wait` is for the last of it, the loop's own task.
                if !matches!(error, StartError::Stuck(_)) {
                    handle.0.ended().await;
                }
                Err(error)
            }
            // The loop says so itself unless its runtime shuts down under it.
            Err(_) => Err(StartError::Ended(handle.0.ended().await)),
        }
    }
}

async fn root(mut driver: Box<Driver>, ready: oneshot::Sender<Result<(), StartError>>) {
    driver.begin();
    let mut driver = Owner::new(driver);
    let up = driver.up().await;
    // A starter that has gone away has dropped the last strong handle: the loop will hear of that.
    let _ = ready.send(up);
    driver.run().await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dynamic::DynamicSupervisor;

    /// The first children of a dynamic supervisor are one piece of its tables, and no children of another.
    #[tokio::test]
    async fn the_places_of_a_dynamic_supervisor_begin_a_piece() {
        let mut first = Vec::new();
        for _ in 0..20 {
            let supervisor = DynamicSupervisor::builder().start().await.unwrap();
            let child = ChildSpec::task("a", |_cx| std::future::pending::<()>());
            let child = supervisor.start_child(child).await.unwrap().child().unwrap();
            assert_eq!(child.slot.0 % WIDE, 0);
            first.push(child.slot);
        }
        first.sort_unstable();
        first.dedup();
        assert_eq!(first.len(), 20);
    }
}
