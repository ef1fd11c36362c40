//! What the supervisor that a pod is has of the pod: where its children are listed, and who hears what becomes of them.

use std::sync::{Arc, Weak};

use ipa_registry::{HasPart, Part, PartRegistration};
use ipa_supervisor::{BoxError, ChildRef, Directory, Entry, Note, Observer, Published};

use crate::host::Host;
use crate::pod::PodRef;
use crate::registry::{ChildEntry, ChildKey, Names};
use crate::shared::Shared;

/// One for each pod, as its supervisor's directory and observer. It keeps nothing alive, as whoever has the pod has its supervisor, which has
/// this. Both are there as long as anything of the pod is: the pod's lease holds them.
pub(crate) struct Link {
    host: Weak<Host>,
    pod: Weak<Shared>,
}

impl Link {
    pub(crate) fn new(host: &Arc<Host>, pod: &PodRef) -> Self {
        Self { host: Arc::downgrade(host), pod: Arc::downgrade(&pod.0) }
    }

    fn of(&self, tell: impl FnOnce(&Host, &PodRef)) {
        if let (Some(host), Some(pod)) = (self.host.upgrade(), self.pod.upgrade()) {
            tell(&host, &PodRef(pod));
        }
    }
}

impl Directory for Link {
    fn enter(&self, child: &ChildRef) -> Result<Arc<dyn Entry>, BoxError> {
        let pod = self.pod.upgrade().ok_or("the pod has ended")?;
        let key = (pod.task.clone(), child.id.clone());
        let &ChildRef { slot, incarnation, .. } = child;
        let entry = ChildEntry { slot, incarnation, published: None };
        // Taken only by an incarnation that is not over, of which there is none: the supervisor starts one when the last has ended.
        let registration = Part::register(Siblings(pod), key, entry).map_err(|refused| {
            let (task, child) = refused.key;
            format!("child `{child}` of task `{task}` is registered already")
        })?;
        Ok(Arc::new(Entered(registration)))
    }
}

impl Observer for Link {
    fn observe(&self, note: &Note) {
        match note {
            Note::Restarting { child, reason } => {
                self.of(|host, pod| host.child_restarted(pod, child, reason))
            }
            Note::GaveUp(reason) | Note::Finished(reason) => {
                self.of(|host, pod| host.stopping(pod, Some(reason.to_string().into())));
            }
            Note::Stuck(child) => self.of(|_, pod| pod.0.add_stuck(child.clone())),
            Note::Reaped(child) => self.of(|_, pod| pod.0.remove_stuck(child)),
            Note::Stalled(_) => self.of(Host::stuck),
            // That children start and end is what most notes say, and nothing to the pod.
            _ => {}
        }
    }
}

/// The pod whose children's names a registration is among.
struct Siblings(Arc<Shared>);

impl HasPart for Siblings {
    type Key = ChildKey;
    type Value = ChildEntry;

    fn part(&self) -> &Names {
        &self.0.names
    }
}

struct Entered(PartRegistration<Siblings>);

impl Entry for Entered {
    fn publish(&self, address: Published) {
        let entry = self.0.value();
        self.0.update(ChildEntry { published: Some(address), ..entry });
        self.0.owner().0.changed.notify_waiters();
    }
}
