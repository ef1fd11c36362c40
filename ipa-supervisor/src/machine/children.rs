//! The table of children: slots in order of start, how they are found by id, and the deadlines.

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
    slots: Table<Slot<Tag>>,
    names: Names,
    deadlines: Deadlines,
}

/// How a child is found by its id.
#[derive(Debug)]
enum Names {
    /// It is not: ids are no identity here.
    None,
    /// By looking through all, up to [`FEW`] of them, which needs no memory.
    Few,
    /// By the slots in order of their children's ids.
    Many(Vec<SlotId>),
}

/// As many children as most supervisors have, and then some. Fewer in tests, whose random lives have few children.
const FEW: usize = if cfg!(test) { 3 } else { 8 };

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

impl<Tag> Children<Tag> {
    /// Children whose ids are no identity.
    pub(super) fn unnamed() -> Self {
        Self { slots: Table::default(), names: Names::None, deadlines: Deadlines::default() }
    }

    /// Children whose ids are unique, with room for so many.
    pub(super) fn named(capacity: usize) -> Self {
        Self { slots: Table::with_capacity(capacity), names: Names::Few, deadlines: Deadlines::default() }
    }

    pub(super) fn insert(&mut self, id: SlotId, policy: Policy) {
        if matches!(self.names, Names::Few) && self.slots.len() == FEW {
            let mut names: Vec<_> = self.slots.iter().collect();
            names.sort_unstable_by_key(|(_, slot)| &slot.policy.id);
            self.names = Names::Many(names.into_iter().map(|(id, _)| id).collect());
        }
        if let Names::Many(names) = &mut self.names
            && let Err(place) = search(&self.slots, names, &policy.id)
        {
            names.insert(place, id);
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
        self.slots.insert(id, slot);
    }

    pub(super) fn remove(&mut self, id: SlotId) -> Option<Slot<Tag>> {
        self.clear_deadline(id);
        if let Names::Many(names) = &mut self.names
            && let Ok(place) = search(&self.slots, names, &self.slots.get(id)?.policy.id)
            && names[place] == id
        {
            names.remove(place);
        }
        self.slots.remove(id)
    }

    pub(super) fn get(&self, id: SlotId) -> Option<&Slot<Tag>> {
        self.slots.get(id)
    }

    pub(super) fn get_mut(&mut self, id: SlotId) -> Option<&mut Slot<Tag>> {
        self.slots.get_mut(id)
    }

    /// The slot, if this is its present incarnation: what speaks of an earlier one is nobody's.
    pub(super) fn current(&mut self, id: SlotId, incarnation: Incarnation) -> Option<&mut Slot<Tag>> {
        self.get_mut(id).filter(|slot| slot.incarnation == incarnation)
    }

    pub(super) fn by_id(&self, id: &ChildId) -> Option<SlotId> {
        match &self.names {
            Names::None => None,
            Names::Few => self.slots.iter().find(|(_, slot)| slot.policy.id == *id).map(|(id, _)| id),
            Names::Many(names) => search(&self.slots, names, id).ok().map(|place| names[place]),
        }
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (SlotId, &Slot<Tag>)> {
        self.slots.iter()
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
        self.slots.from(from.unwrap_or(SlotId(0)))
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

/// Where the child of this id is among the names, or would be.
fn search<Tag>(slots: &Table<Slot<Tag>>, names: &[SlotId], id: &ChildId) -> Result<usize, usize> {
    // All that are named have a slot.
    names.binary_search_by(|slot| slots.get(*slot).map_or(Ordering::Less, |slot| slot.policy.id.cmp(id)))
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// However many there are and were: against a map that cannot be wrong.
    #[test]
    fn children_are_found_by_id() {
        let mut random = 1_u64;
        for most in [FEW as u64, 3 * FEW as u64] {
            let (mut children, mut map) = (Children::<()>::named(0), BTreeMap::new());
            for step in 0..2_000 {
                random =
                    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let id = ChildId::from((random >> 33).rem_euclid(most).to_string());
                match children.by_id(&id) {
                    None => {
                        children.insert(SlotId(step), Policy::new(id.clone()));
                        map.insert(id, SlotId(step));
                    }
                    Some(slot) if random >> 62 == 0 => {
                        assert_eq!(children.remove(slot).map(|slot| slot.policy.id), Some(id.clone()));
                        map.remove(&id);
                    }
                    Some(_) => {}
                }
                for id in (0..most).map(|id| ChildId::from(id.to_string())) {
                    assert_eq!(children.by_id(&id), map.get(&id).copied(), "{id} of {}", map.len());
                }
            }
            assert_eq!(matches!(children.names, Names::Many(_)), most > FEW as u64);
        }
        let mut unnamed = Children::<()>::unnamed();
        unnamed.insert(SlotId(1), Policy::new("a"));
        assert_eq!(unnamed.by_id(&"a".into()), None);
    }
}
