//! Every order in which things may go where the order is open: of what is due at one moment, and of callers who call at once.
//!
//! It knows of a life only that it can be cloned and compared, what is due in it, and how to let that happen. No order is preferred:
//! the stack has to look like one of the lives that come of it. Ways that lead to the same life are one. Once it was open, the
//! order between the children is no longer looked at, each child's own is.

use std::collections::HashSet;

use super::*;

/// How many ways things may have gone before we do not care any more.
const TOO_MANY: usize = 2000;

/// Every way in which things may go up to a moment: what is due, and what calls there are, in any order.
fn explore<'a>(begin: Vec<(Life, Vec<(usize, &'a Call)>)>, moment: u64) -> (Vec<Life>, bool) {
    let (mut open, mut ends, mut is_open) = (begin, Vec::new(), false);
    let mut met: HashSet<(Life, usize)> = HashSet::new();
    while let Some((mut life, calls)) = open.pop() {
        let timers = life.timers();
        let next = timers.iter().map(|(at, _)| *at).min().filter(|at| *at <= moment);
        let due = timers.into_iter().filter(|(at, _)| Some(*at) == next);
        let mut ways: Vec<(Life, Vec<(usize, &'a Call)>)> = Vec::new();
        for (at, timer) in due {
            let mut life = life.clone();
            life.happen(at, timer);
            ways.push((life, calls.clone()));
        }
        for n in 0..calls.len() {
            let mut rest = calls.clone();
            let (number, call) = rest.remove(n);
            // A call whose future was dropped may not have been made.
            let dropped = call.looks();
            if dropped.is_none_or(|looks| looks > 0) {
                let mut life = life.clone();
                life.call(dropped.is_none().then_some(number), &call.op);
                ways.push((life, rest.clone()));
            }
            if dropped.is_some_and(|looks| looks == 0 || !call.op.begins_at_once()) {
                ways.push((life.clone(), rest));
            }
        }
        match ways.len() {
            0 => {
                life.now = moment;
                if !ends.contains(&life) {
                    ends.push(life);
                }
            }
            1 => open.append(&mut ways),
            _ => {
                is_open = true;
                for (mut life, calls) in ways {
                    // The order between children is not looked at then, so ways that differ in that alone are one.
                    life.out.log = by_child(&life.out.log);
                    life.out.answers.sort_unstable();
                    let left = calls.iter().map(|(number, _)| 1 << (number % 64)).sum();
                    if met.insert((life.clone(), left)) {
                        open.push((life, calls));
                    }
                }
                if met.len() > TOO_MANY {
                    return (Vec::new(), true);
                }
            }
        }
    }
    (ends, is_open)
}

impl Life {
    /// Lets time pass. Answers what may have become of it, and whether the order of things was open.
    pub fn run_to(self, moment: u64) -> (Vec<Life>, bool) {
        explore(vec![(self, Vec::new())], moment)
    }

    /// Several callers at once. Answers what may have become of it, in whatever order things happen.
    pub fn together(self, calls: Vec<(usize, &Call)>) -> (Vec<Life>, bool) {
        let now = self.now;
        explore(vec![(self, calls)], now)
    }
}
