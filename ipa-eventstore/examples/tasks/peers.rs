//! How the children of a pod find each other, also while one of them is down.
//!
//! Apart, because each of them needs it and none should know how: a child is found by its name and the type of what it publishes
//! ([`PodScope::find`]); one that is between two incarnations is waited for. The one trick is to listen before looking, so
//! that whoever comes up in between is not missed.

use std::sync::Arc;

use ipa_eventstore::{ExecuteError, Executed, StateHandle, Versioned};
use ipa_pod::{LookupError, PodRegistry, PodScope};
use ipa_supervisor::ChildId;
use tokio::sync::watch;

use crate::state::{Command, Refused, TaskState};

/// The name of each child.
pub mod child {
    /// The state manager, over the task's events.
    pub const STATE: &str = "state";
    /// The workspace manager.
    pub const WORKSPACE: &str = "workspace";
    /// The scheduler.
    pub const SCHEDULER: &str = "scheduler";
    /// The external sync.
    pub const SYNC: &str = "sync";
}

/// A pod from the inside, for a child that needs others. Keeps nothing alive.
#[derive(Clone)]
pub struct Peers {
    scope: PodScope,
    registry: PodRegistry,
}

/// The task's state, and the one way to change it, across restarts of its manager.
#[derive(Clone)]
pub struct State {
    handle: StateHandle<TaskState>,
    states: watch::Receiver<Arc<Versioned<TaskState>>>,
}

impl Peers {
    /// For the pod of this scope, whose children are entered in this registry.
    pub fn new(scope: PodScope, registry: PodRegistry) -> Peers {
        Peers { scope, registry }
    }

    /// The pod.
    pub fn scope(&self) -> &PodScope {
        &self.scope
    }

    /// The task's id.
    pub fn task(&self) -> &str {
        self.scope.task().as_str()
    }

    /// Asks a child, again and again until it answers: `ask` is given what the child has published, and gives `None` if
    /// nobody was there. Waits as long as it takes; cancel safe if `ask` is.
    ///
    /// # Errors
    ///
    /// If the child has published something of another type.
    pub async fn ask<T, F, R>(&self, child: &str, ask: impl Fn(T) -> F) -> Result<R, LookupError>
    where
        T: Clone + Send + Sync + 'static,
        F: Future<Output = Option<R>>,
    {
        let key = (self.scope.task().clone(), ChildId::from(child));
        let mut changes = self.registry.children().subscribe();
        loop {
            match self.scope.find::<T>(child) {
                Ok(peer) => {
                    if let Some(answer) = ask(peer).await {
                        return Ok(answer);
                    }
                }
                Err(LookupError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
            // It is down, or about to be; either way its entry changes when it is up again. After a lag, look at once.
            while changes.recv().await.is_ok_and(|change| *change.key() != key) {}
        }
    }

    /// The task's state; waits until its manager is up.
    ///
    /// # Errors
    ///
    /// As [`ask`](Self::ask).
    pub async fn state(&self) -> Result<State, LookupError> {
        self.ask(child::STATE, |handle: StateHandle<TaskState>| async move {
            let mut states = handle.watch().await.ok()?;
            states.mark_changed();
            Some(State { handle, states })
        })
        .await
    }
}

impl State {
    /// Has a command executed, by whoever is the state manager by then: waits for one, and asks again if one crashes meanwhile.
    /// That is safe, because what has been done already is answered without events.
    ///
    /// # Errors
    ///
    /// Those of [`StateHandle::execute`], apart from `Gone` and `Lost`.
    pub async fn execute(&mut self, command: Command) -> Result<Executed, ExecuteError<Refused>> {
        loop {
            // What is published from here on is news.
            self.states.mark_unchanged();
            match self.handle.execute(command.clone()).await {
                Err(ExecuteError::Gone | ExecuteError::Lost) => {}
                answered => return answered,
            }
            // A new incarnation publishes the state when it is up. Refused if there will be none.
            if self.states.changed().await.is_err() {
                return Err(ExecuteError::Gone);
            }
        }
    }

    /// The newest state.
    pub fn now(&self) -> Arc<Versioned<TaskState>> {
        self.states.borrow().clone()
    }

    /// Waits until there is a state that this has not given yet, and gives it: the first at once, and then the newest after each change.
    /// `None` if there will be no more. Cancel safe.
    pub async fn next(&mut self) -> Option<Arc<Versioned<TaskState>>> {
        self.states.changed().await.ok()?;
        Some(self.states.borrow_and_update().clone())
    }

    /// Whether a state manager is up.
    pub fn is_up(&self) -> bool {
        self.handle.is_up()
    }

    /// Has the state manager panic, for chaos.
    pub async fn strike(&self) {
        // Lost, of course.
        let _ = self.handle.execute(Command::Panic).await;
    }
}
