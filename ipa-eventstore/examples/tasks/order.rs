//! Which steps of a task may start now.
//!
//! Apart, because it is pure: no clock, no process, no store, only indices of steps and what they wait for. Its one trick is
//! that a task's order is checked once, when it is made, so that afterwards "nothing may start and nothing runs" can only
//! mean that all is done or that a step has failed.
//!
//! The rules: a step starts when every step that it waits for is done. Steps that wait for nothing that is still open may run side by
//! side. Once a step has failed for good, no further step of the task starts; those that run may finish.

use std::collections::{HashMap, VecDeque};

/// Where a step stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StepState {
    /// Not started, or to be started once more: a retry, or one that its child's crash cut off.
    #[default]
    Waiting,
    /// A process runs for it.
    Running,
    /// It has completed, in this run or in an earlier one.
    Done,
    /// It has failed, and no retry is left.
    Failed,
}

/// What a task is to do next, from [`Order::next`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// These steps may start now, side by side, in the order of the file. Never empty.
    Start(Vec<usize>),
    /// Nothing may start until a step that runs has ended.
    Wait,
    /// Every step is done.
    Completed,
    /// A step has failed for good, this one first in the file, and nothing runs any more.
    Failed(usize),
}

/// What the steps of one task wait for, by their index in the task. Free of cycles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    after: Vec<Vec<usize>>,
}

/// Why steps have no order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// A step waits for one that the task does not have.
    #[error("waits for `{name}`, which is no step of this task")]
    Unknown {
        /// The step that waits, by its index.
        step: usize,
        /// What it waits for.
        name: String,
    },
    /// Steps wait for each other, so none of them could ever start.
    #[error("no step of a cycle can start: {}", chain(names))]
    Cycle {
        /// The steps of the cycle by index, the first in the file first; each waits for the one after it, the last for the first.
        steps: Vec<usize>,
        /// Their ids, in the same order.
        names: Vec<String>,
    },
}

fn chain(names: &[String]) -> String {
    let links = names.iter().zip(names.iter().cycle().skip(1));
    links.map(|(step, waits_for)| format!("`{step}` waits for `{waits_for}`")).collect::<Vec<_>>().join(", ")
}

impl Order {
    /// Orders steps, given as their ids and the ids that each waits for. Ids are unique (the plan has seen to it).
    ///
    /// # Errors
    ///
    /// [`OrderError::Unknown`] for an id that no step has, [`OrderError::Cycle`], which names one cycle, if there are any.
    pub fn new<'a>(steps: impl IntoIterator<Item = (&'a str, &'a [String])>) -> Result<Order, OrderError> {
        let (ids, waits): (Vec<&str>, Vec<&[String]>) = steps.into_iter().unzip();
        let index: HashMap<&str, usize> = ids.iter().enumerate().map(|(at, id)| (*id, at)).collect();
        let mut after = Vec::with_capacity(ids.len());
        for (step, names) in waits.into_iter().enumerate() {
            let found: Result<Vec<usize>, OrderError> = names
                .iter()
                .map(|name| {
                    index
                        .get(name.as_str())
                        .copied()
                        .ok_or_else(|| OrderError::Unknown { step, name: name.clone() })
                })
                .collect();
            after.push(found?);
        }
        let order = Order { after };
        match order.cycle() {
            None => Ok(order),
            Some(steps) => {
                let names = steps.iter().map(|&step| ids[step].to_owned()).collect();
                Err(OrderError::Cycle { steps, names })
            }
        }
    }

    /// What to do, given where each step stands.
    ///
    /// # Panics
    ///
    /// If there are not as many states as steps.
    pub fn next(&self, states: &[StepState]) -> Next {
        assert_eq!(states.len(), self.after.len(), "one state a step");
        let failed = states.iter().position(|state| *state == StepState::Failed);
        let running = states.contains(&StepState::Running);
        if let Some(step) = failed {
            return if running { Next::Wait } else { Next::Failed(step) };
        }
        let ready: Vec<usize> = (0..states.len())
            .filter(|&step| states[step] == StepState::Waiting)
            .filter(|&step| self.after[step].iter().all(|&before| states[before] == StepState::Done))
            .collect();
        if !ready.is_empty() {
            Next::Start(ready)
        } else if running {
            Next::Wait
        } else {
            // No cycle, nothing waits with all before it done, nothing runs or has failed: so all are done.
            Next::Completed
        }
    }

    /// One cycle, if there is any. Steps that can be taken away one by one, each once all that it waits for has gone, are not on a
    /// cycle (Kahn); of those that remain, each waits for another that remains, so a walk along them must come round.
    fn cycle(&self) -> Option<Vec<usize>> {
        let mut open: Vec<usize> = self.after.iter().map(Vec::len).collect();
        let mut waiting = vec![Vec::new(); self.after.len()];
        for (step, before) in self.after.iter().enumerate() {
            for &before in before {
                waiting[before].push(step);
            }
        }
        let mut free: VecDeque<usize> = (0..open.len()).filter(|&step| open[step] == 0).collect();
        while let Some(step) = free.pop_front() {
            for &next in &waiting[step] {
                open[next] -= 1;
                if open[next] == 0 {
                    free.push_back(next);
                }
            }
        }

        let mut at = open.iter().position(|&left| left > 0)?;
        let mut walk = Vec::new();
        let start = loop {
            if let Some(seen) = walk.iter().position(|&step| step == at) {
                break seen;
            }
            walk.push(at);
            at = self.after[at].iter().copied().find(|&before| open[before] > 0)?;
        };
        let mut cycle = walk.split_off(start);
        let first = cycle.iter().enumerate().min_by_key(|(_, step)| **step).map_or(0, |(at, _)| at);
        cycle.rotate_left(first);
        Some(cycle)
    }
}

#[cfg(test)]
mod tests {
    use super::StepState::{Done, Failed, Running, Waiting};
    use super::*;

    fn order(steps: &[(&str, &[&str])]) -> Result<Order, OrderError> {
        let owned: Vec<(&str, Vec<String>)> = steps
            .iter()
            .map(|(id, after)| (*id, after.iter().map(|name| name.to_string()).collect()))
            .collect();
        Order::new(owned.iter().map(|(id, after)| (*id, after.as_slice())))
    }

    /// One, two side by side after it, one after both.
    fn diamond() -> Order {
        order(&[("a", &[]), ("b", &["a"]), ("c", &["a"]), ("d", &["b", "c"])]).unwrap()
    }

    #[test]
    fn steps_start_when_all_they_wait_for_is_done() {
        let order = diamond();
        assert_eq!(order.next(&[Waiting, Waiting, Waiting, Waiting]), Next::Start(vec![0]));
        assert_eq!(order.next(&[Running, Waiting, Waiting, Waiting]), Next::Wait);
        assert_eq!(order.next(&[Done, Waiting, Waiting, Waiting]), Next::Start(vec![1, 2]));
        assert_eq!(order.next(&[Done, Running, Waiting, Waiting]), Next::Start(vec![2]));
        assert_eq!(order.next(&[Done, Running, Done, Waiting]), Next::Wait);
        assert_eq!(order.next(&[Done, Done, Done, Waiting]), Next::Start(vec![3]));
        assert_eq!(order.next(&[Done, Done, Done, Done]), Next::Completed);
    }

    #[test]
    fn after_a_failure_nothing_starts_and_what_runs_may_finish() {
        let order = diamond();
        assert_eq!(order.next(&[Done, Failed, Waiting, Waiting]), Next::Failed(1));
        assert_eq!(order.next(&[Done, Failed, Running, Waiting]), Next::Wait);
        assert_eq!(order.next(&[Done, Failed, Done, Waiting]), Next::Failed(1));
    }

    #[test]
    fn steps_may_wait_for_later_ones() {
        let order = order(&[("last", &["first"]), ("first", &[])]).unwrap();
        assert_eq!(order.next(&[Waiting, Waiting]), Next::Start(vec![1]));
        assert_eq!(order.next(&[Waiting, Done]), Next::Start(vec![0]));
    }

    /// Whatever completes first, every order comes to its end, each step started once.
    #[test]
    fn every_order_ends() {
        for pick in 0..24_usize {
            let order = diamond();
            let mut states = [Waiting; 4];
            let mut started = Vec::new();
            loop {
                match order.next(&states) {
                    Next::Start(ready) => {
                        for step in ready {
                            states[step] = Running;
                            started.push(step);
                        }
                    }
                    Next::Wait => {
                        let running: Vec<usize> = (0..4).filter(|&step| states[step] == Running).collect();
                        states[running[pick % running.len()]] = Done;
                    }
                    end => {
                        assert_eq!(end, Next::Completed);
                        break;
                    }
                }
            }
            started.sort_unstable();
            assert_eq!(started, [0, 1, 2, 3]);
        }
    }

    #[test]
    fn unknown_names_are_refused() {
        let error = order(&[("a", &[]), ("b", &["x"])]).unwrap_err();
        assert_eq!(error, OrderError::Unknown { step: 1, name: "x".into() });
        assert_eq!(error.to_string(), "waits for `x`, which is no step of this task");
    }

    #[test]
    fn cycles_are_named() {
        let itself = order(&[("a", &["a"])]).unwrap_err();
        assert_eq!(itself.to_string(), "no step of a cycle can start: `a` waits for `a`");

        // `in` is before the cycle and `out` behind it; neither is on it.
        let error = order(&[("out", &["c"]), ("in", &[]), ("a", &["in", "b"]), ("b", &["c"]), ("c", &["a"])])
            .unwrap_err();
        let OrderError::Cycle { steps, .. } = &error else { panic!("{error:?}") };
        assert_eq!(steps, &[2, 3, 4]);
        assert_eq!(
            error.to_string(),
            "no step of a cycle can start: `a` waits for `b`, `b` waits for `c`, `c` waits for `a`"
        );
    }
}
