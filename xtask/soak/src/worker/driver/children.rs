//! What is done with the children of pods, one by one.

use ipa_pod::PodRef;
use ipa_supervisor::{
    DeleteChildError, RestartChildError, StartChildError, SupervisorRef, TerminateChildError,
};

use super::super::pod;
use super::super::witness::CHILDREN;
use super::super::world::Task;
use super::{DONE, Driver, store_failed};

/// The places of the children that are added by hand.
const EXTRA: usize = 5;

/// The ids of the children that a pod may have, and no other does.
const OTHERS: [&str; 3] = ["state", "group", "process"];

impl Driver {
    /// Adds a child.
    pub(super) async fn start_child(&mut self, task: &Task) {
        let Ok(pod) = self.pods.get_pod(&task.id) else { return };
        let place = EXTRA + self.random.index(CHILDREN.len() - EXTRA);
        let spec = pod::worker(&self.world, task.index, place);
        let Some(started) = self.answered("start child", pod.start_child(spec)).await else { return };
        match started {
            Ok(_) => self.world.tally.count("children started"),
            Err(
                StartChildError::AlreadyStarted(_)
                | StartChildError::AlreadyPresent(_)
                | StartChildError::Cancelled
                | StartChildError::Closed
                | StartChildError::Stuck(_),
            ) => {}
            Err(error) => self.unexplained(task, "start_child", &error),
        }
    }

    /// Stops a child; `Ok` is that the incarnation which lived before is gone.
    pub(super) async fn terminate_child(&mut self, task: &Task) {
        let Ok(pod) = self.pods.get_pod(&task.id) else { return };
        let (child, place) = self.child();
        let living = |place: Option<usize>| place.map_or(0, |place| task.witness.child(place));
        let before = living(place);
        // Of another pod of this task, if the one that was looked up has ended by then: then the answer is `Closed`.
        let Some(ended) = self.answered("terminate child", pod.terminate_child(child)).await else { return };
        match ended {
            Ok(()) => {
                self.world.tally.count("children terminated");
                let now = living(place);
                self.world.check(DONE, before == 0 || before != now, || {
                    format!(
                        "{}: {child} was terminated, and number {before}, which lived before, lives on",
                        task.id
                    )
                });
            }
            Err(TerminateChildError::Stuck(_)) => self.world.tally.count("stops answered with stuck"),
            Err(TerminateChildError::NotFound | TerminateChildError::Closed) => {}
            Err(error) => self.unexplained(task, "terminate_child", &error),
        }
    }

    /// Starts a child again that is not running.
    pub(super) async fn restart_child(&mut self, task: &Task) {
        let Ok(pod) = self.pods.get_pod(&task.id) else { return };
        let (child, _) = self.child();
        let child = self.one_that_rests(&pod).await.unwrap_or_else(|| child.to_owned());
        let Some(restarted) = self.answered("restart child", pod.restart_child(child.as_str())).await else {
            return;
        };
        match restarted {
            Ok(_) => self.world.tally.count("children restarted by hand"),
            Err(RestartChildError::Failed(failure)) if store_failed(&failure) => {
                self.world.tally.count("starts failed: store");
            }
            Err(
                RestartChildError::NotFound
                | RestartChildError::Running
                | RestartChildError::Restarting
                | RestartChildError::Cancelled
                | RestartChildError::Stuck(_)
                | RestartChildError::Closed,
            ) => {}
            Err(error) => self.unexplained(task, "restart_child", &error),
        }
    }

    /// Forgets a child that was added by hand.
    pub(super) async fn delete_child(&mut self, task: &Task) {
        let Ok(pod) = self.pods.get_pod(&task.id) else { return };
        let place = EXTRA + self.random.index(CHILDREN.len() - EXTRA);
        let Some(deleted) = self.answered("delete child", pod.delete_child(CHILDREN[place])).await else {
            return;
        };
        match deleted {
            Ok(()) => self.world.tally.count("children deleted"),
            Err(
                DeleteChildError::NotFound
                | DeleteChildError::Running
                | DeleteChildError::Restarting
                | DeleteChildError::Stuck(_)
                | DeleteChildError::Closed,
            ) => {}
            Err(error) => self.unexplained(task, "delete_child", &error),
        }
    }

    /// Stops a child of the nested supervisor and starts it again.
    pub(super) async fn nested(&mut self, task: &Task) {
        let Ok(pod) = self.pods.get_pod(&task.id) else { return };
        let Ok(group) = pod.find::<SupervisorRef>("group") else { return };
        let place = 3 + self.random.index(2);
        let before = task.witness.child(place);
        let Some(ended) = self.answered("terminate child", group.terminate_child(CHILDREN[place])).await
        else {
            return;
        };
        match ended {
            Ok(()) => {
                let now = task.witness.child(place);
                self.world.check(DONE, before == 0 || before != now, || {
                    format!(
                        "{}: nested {} was terminated, and number {before} lives on",
                        task.id, CHILDREN[place]
                    )
                });
            }
            Err(TerminateChildError::Closed | TerminateChildError::NotFound) => return,
            Err(error) => return self.unexplained(task, "terminate_child", &error),
        }
        match self.answered("restart child", group.restart_child(CHILDREN[place])).await {
            Some(Ok(_)) => self.world.tally.count("nested children restarted by hand"),
            Some(Err(
                RestartChildError::NotFound | RestartChildError::Failed(_) | RestartChildError::Stuck(_),
            )) => {}
            Some(Err(error @ RestartChildError::WouldDeadlock)) => {
                self.unexplained(task, "restart_child", &error)
            }
            _ => {}
        }
    }

    /// A child that a pod may have, and its place among the witnesses, if it has one.
    fn child(&mut self) -> (&'static str, Option<usize>) {
        let index = self.random.index(CHILDREN.len() + OTHERS.len());
        match CHILDREN.get(index) {
            Some(child) => (child, Some(index)),
            None => (OTHERS[index - CHILDREN.len()], None),
        }
    }

    /// A child of the pod that is not running, if there is one.
    async fn one_that_rests(&self, pod: &PodRef) -> Option<String> {
        let children = self.answered("which children", pod.which_children()).await?.ok()?;
        let rests = |state| state == ipa_supervisor::ChildState::Undefined;
        children.into_iter().find(|info| rests(info.state)).map(|info| info.child.id.as_str().to_owned())
    }
}
