//! The table of children: slots in order of start, an index by id, and the deadlines.

use std::cmp::Ordering;
use std::time::Duration;

use super::deadlines::Deadlines;
use super::kept::KeptPolicy;
use super::{ChildCounts, ChildInfo, ChildRef, ChildState, Command, Incarnation, SlotId};
use crate::policy::{Kind, Policy, Restart};
use crate::spec::ChildId;
use crate::table::Table;

#[derive(Debug)]
pub(super) struct Children<Tag> {
    slots: Table<Box<Slot<Tag>>>,
    /// Those whose id is an identity here, in order of it.
    named: Vec<SlotId>,
    deadlines: Deadlines,
}

#[derive(Debug)]
pub(super) struct Slot<Tag> {
    pub(super) policy: KeptPolicy,
    pub(super) state: State<Tag>,
    /// The latest incarnation that was started; 0 before the first.
    pub(super) incarnation: Incarnation,
    /// How often the supervisor restarted it.
    pub(super) restarts: u64,
    /// What a backoff goes by; there with one.
    pub(super) record: Option<Box<Record>>,
    /// Who waits for it, if anybody does.
    waiting: Option<Box<Waiting<Tag>>>,
    /// The moment at which the present state has lasted too long.
    deadline: Option<Duration>,
}

#[derive(Debug, Default)]
pub(super) struct Record {
    /// Since when the present incarnation is up.
    pub(super) up_since: Duration,
    /// Restarts since the last healthy run: how far the backoff has grown.
    pub(super) failures: u32,
}

#[derive(Debug)]
struct Waiting<Tag> {
    /// Callers who wait for it to be gone.
    leaving: Vec<Tag>,
    /// Commands about this child that wait for the one under way: operations on one child keep their order.
    queue: Vec<Command<Tag>>,
}

#[derive(Debug)]
pub(super) enum State<Tag> {
    Undefined,
    /// It ended, and waits for its restart: for its backoff, or for its turn in a group.
    Waiting,
    /// `init` is under way.
    Starting(Start<Tag>),
    Running,
    /// Asked to stop.
    Stopping(Ending<Tag>),
    /// Killed; within its grace.
    Killed(Ending<Tag>),
    /// Killed; its grace is over. It keeps its slot until it ends at last.
    Stuck(Ending<Tag>),
}

/// On whose account a start is under way.
#[derive(Debug)]
pub(super) enum Start<Tag> {
    /// The initial list's.
    Initial,
    /// A caller's. `fresh`: by `start_child`, so that a failed start leaves no spec behind.
    Call { tag: Option<Tag>, fresh: bool },
    /// The restart policy's.
    Restart,
    /// The restart policy's, as one of a group.
    Group,
}

/// A child on its way out.
#[derive(Debug)]
pub(super) struct Ending<Tag> {
    /// The start that was under way, if it had not come up.
    pub(super) start: Option<Start<Tag>>,
    pub(super) why: Why,
}

/// What a child is on its way out for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Somebody wants it gone.
    Asked,
    /// Its start took too long: the start has failed.
    StartTimedOut,
    /// It was silent for too long: that is an abnormal end of its own.
    Silent,
}

impl<Tag> Default for Children<Tag> {
    fn default() -> Self {
        Self { slots: Table::default(), named: Vec::new(), deadlines: Deadlines::default() }
    }
}

impl<Tag> Children<Tag> {
    /// With room for so many, all of them named.
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self {
            slots: Table::with_capacity(capacity),
            named: Vec::with_capacity(capacity),
            deadlines: Deadlines::default(),
        }
    }

    pub(super) fn insert(&mut self, id: SlotId, policy: Policy, named: bool) {
        if named && let Err(place) = self.find_named(&policy.id) {
            self.named.insert(place, id);
        }
        let slot = Slot {
            record: policy.backoff.is_some().then(Box::default),
            policy: policy.into(),
            state: State::Undefined,
            incarnation: Incarnation(0),
            restarts: 0,
            waiting: None,
            deadline: None,
        };
        self.slots.insert(id, Box::new(slot));
    }

    pub(super) fn remove(&mut self, id: SlotId) -> Option<Box<Slot<Tag>>> {
        self.clear_deadline(id);
        let name = &self.slots.get(id)?.policy.id;
        if let Ok(place) = self.find_named(name)
            && self.named[place] == id
        {
            self.named.remove(place);
        }
        self.slots.remove(id)
    }

    /// Where the child of this id is among the named, or would be.
    fn find_named(&self, id: &ChildId) -> Result<usize, usize> {
        self.named.binary_search_by(|slot| {
            // All that are named have a slot.
            self.slots.get(*slot).map_or(Ordering::Less, |slot| slot.policy.id.cmp(id))
        })
    }

    pub(super) fn get(&self, id: SlotId) -> Option<&Slot<Tag>> {
        self.slots.get(id).map(|slot| &**slot)
    }

    pub(super) fn get_mut(&mut self, id: SlotId) -> Option<&mut Slot<Tag>> {
        self.slots.get_mut(id).map(|slot| &mut **slot)
    }

    /// The slot, if this is its present incarnation: what speaks of an earlier one is nobody's.
    pub(super) fn current(&mut self, id: SlotId, incarnation: Incarnation) -> Option<&mut Slot<Tag>> {
        self.get_mut(id).filter(|slot| slot.incarnation == incarnation)
    }

    pub(super) fn by_id(&self, id: &ChildId) -> Option<SlotId> {
        self.find_named(id).ok().map(|place| self.named[place])
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (SlotId, &Slot<Tag>)> {
        self.slots.iter().map(|(id, slot)| (id, &**slot))
    }

    /// The commands that wait behind others, of all children.
    pub(super) fn take_queues(&mut self) -> Vec<Command<Tag>> {
        self.slots.values_mut().flat_map(|slot| slot.take_queue()).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The slots from `from` on, or all, in order.
    pub(super) fn from(&self, from: Option<SlotId>) -> impl DoubleEndedIterator<Item = (SlotId, &Slot<Tag>)> {
        self.slots.from(from.unwrap_or(SlotId(0))).map(|(id, slot)| (id, &**slot))
    }

    /// The last slot below `bound`, or the last of all.
    pub(super) fn last_below(&self, bound: Option<SlotId>) -> Option<SlotId> {
        self.slots.last_below(bound)
    }

    /// Moves a child to a state, with the moment at which that has lasted too long; answers the state it was in.
    pub(super) fn enter(&mut self, id: SlotId, state: State<Tag>, deadline: Option<Duration>) -> State<Tag> {
        match self.slots.get_mut(id) {
            Some(slot) => {
                slot.set_deadline(id, deadline, &mut self.deadlines);
                std::mem::replace(&mut slot.state, state)
            }
            None => state,
        }
    }

    pub(super) fn clear_deadline(&mut self, id: SlotId) {
        if let Some(slot) = self.slots.get_mut(id) {
            slot.set_deadline(id, None, &mut self.deadlines);
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.deadlines.first().map(|(deadline, _)| deadline)
    }

    /// A child whose deadline is not after `now`.
    pub(super) fn overdue(&self, now: Duration) -> Option<SlotId> {
        self.deadlines.first().filter(|(deadline, _)| *deadline <= now).map(|(_, id)| id)
    }

    pub(super) fn count(&self) -> ChildCounts {
        let mut counts = ChildCounts { specs: self.slots.len(), ..ChildCounts::default() };
        for (_, slot) in self.slots.iter() {
            match slot.policy.kind {
                Kind::Worker => counts.workers += 1,
                Kind::Supervisor => counts.supervisors += 1,
            }
            if matches!(slot.state(), ChildState::Running | ChildState::Stopping | ChildState::Stuck) {
                counts.active += 1;
            }
        }
        counts
    }
}

impl<Tag> Slot<Tag> {
    fn set_deadline(&mut self, id: SlotId, deadline: Option<Duration>, all: &mut Deadlines) {
        if let Some(old) = std::mem::replace(&mut self.deadline, deadline) {
            all.remove(old, id);
        }
        if let Some(new) = deadline {
            all.insert(new, id);
        }
    }

    fn waiting(&mut self) -> &mut Waiting<Tag> {
        self.waiting.get_or_insert_with(|| Box::new(Waiting { leaving: Vec::new(), queue: Vec::new() }))
    }

    /// Lets a caller wait for the child to be gone.
    pub(super) fn await_end(&mut self, tag: Option<Tag>) {
        if let Some(tag) = tag {
            self.waiting().leaving.push(tag);
        }
    }

    /// The callers who wait for the child to be gone.
    pub(super) fn take_leaving(&mut self) -> Vec<Tag> {
        self.waiting.as_mut().map(|waiting| std::mem::take(&mut waiting.leaving)).unwrap_or_default()
    }

    /// Lets a command wait for the one under way.
    pub(super) fn enqueue(&mut self, command: Command<Tag>) {
        self.waiting().queue.push(command);
    }

    /// The commands that wait for the one under way.
    pub(super) fn take_queue(&mut self) -> Vec<Command<Tag>> {
        self.waiting.as_mut().map(|waiting| std::mem::take(&mut waiting.queue)).unwrap_or_default()
    }

    pub(super) fn child(&self, slot: SlotId) -> ChildRef {
        ChildRef { id: self.policy.id.clone(), slot, incarnation: self.incarnation }
    }

    /// Whether a start of it as one of a group is under way, or being taken back.
    pub(super) fn is_group_start(&self) -> bool {
        match &self.state {
            State::Starting(start) => matches!(start, Start::Group),
            State::Stopping(ending) | State::Killed(ending) | State::Stuck(ending) => {
                matches!(ending.start, Some(Start::Group))
            }
            State::Undefined | State::Waiting | State::Running => false,
        }
    }

    pub(super) fn info(&self, id: SlotId) -> ChildInfo {
        ChildInfo {
            child: self.child(id),
            state: self.state(),
            kind: self.policy.kind,
            restarts: self.restarts,
        }
    }

    pub(super) fn state(&self) -> ChildState {
        match &self.state {
            State::Undefined => ChildState::Undefined,
            State::Waiting | State::Starting(Start::Restart | Start::Group) => ChildState::Restarting,
            State::Starting(_) => ChildState::Starting,
            State::Running => ChildState::Running,
            // A restart whose attempt timed out goes on when this attempt is gone.
            State::Stopping(ending) | State::Killed(ending)
                if ending.will_retry() && self.policy.restart != Restart::Temporary =>
            {
                ChildState::Restarting
            }
            State::Stopping(_) | State::Killed(_) => ChildState::Stopping,
            State::Stuck(_) => ChildState::Stuck,
        }
    }
}

impl<Tag> Ending<Tag> {
    /// Somebody wants the child gone, in the middle of this start of it, if any.
    pub(super) fn asked(start: Option<Start<Tag>>) -> Self {
        Self { start, why: Why::Asked }
    }

    /// Whether the restart policy has a say in what comes after.
    pub(super) fn will_retry(&self) -> bool {
        match self.why {
            Why::Asked => false,
            Why::StartTimedOut => matches!(self.start, Some(Start::Restart | Start::Group)),
            Why::Silent => true,
        }
    }
}
