//! What anybody can see of a task: what the model and the stack are compared by.

use super::*;

/// What anybody can see happen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Out {
    /// What the children and the permits wrote down.
    pub log: Vec<Line>,
    pub events: Vec<Event>,
    pub answers: Vec<(usize, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Line {
    Permit,
    PermitBack,
    /// These are of a child, and which run of it.
    Init(KidId, u64),
    Up(KidId, u64),
    Terminate(KidId, u64),
    /// Its value was dropped.
    Gone(KidId, u64),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    Starting,
    Active,
    ChildRestarted(KidId, u64, End),
    Stopping(&'static str),
    Stuck(Vec<(KidId, u64)>),
    Ended { reason: &'static str, was_active: bool },
}

/// How a run of a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    Normal,
    Shutdown,
    Failed,
    Panicked,
    Killed,
    Declined,
}

/// What anybody can see there is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    pub pod: Option<PodSeen>,
    /// The children that are registered, and which run of them.
    pub registered: Vec<(KidId, u64)>,
    pub permits: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub struct PodSeen {
    pub status: PodStatus,
    pub restarts: u64,
    /// In order of start: id, run, state, restarts. `None`: there is no supervisor to ask any more.
    pub kids: Option<Vec<(KidId, u64, ChildState, u64)>>,
}

/// A run of a child, as errors name it.
pub fn name(id: KidId, run: u64) -> String {
    format!("{}#{run}", KIDS[id])
}

impl End {
    pub(super) fn is_abnormal(self) -> bool {
        matches!(self, Self::Failed | Self::Panicked | Self::Killed)
    }
}

/// What is left of the order in which children of one pod came and went: each child's own.
pub fn by_child(log: &[Line]) -> Vec<Line> {
    let mut log = log.to_vec();
    log.sort_by_key(|line| match line {
        Line::Permit | Line::PermitBack => None,
        Line::Init(kid, _) | Line::Up(kid, _) | Line::Terminate(kid, _) | Line::Gone(kid, _) => Some(*kid),
    });
    log
}
