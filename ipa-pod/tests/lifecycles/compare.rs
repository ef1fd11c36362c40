//! The stack and the model side by side: after each step both must look the same.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use ipa_pod::PodStatus;
use ipa_supervisor::Strategy;

use crate::model::{End, Event, Life, Line, Out, Seen, by_child};
use crate::program::*;
use crate::stack::{Idle, Stack};

/// What was run, by name.
pub type Tally = BTreeMap<&'static str, u64>;

/// Runs a program on a runtime of its own. An error says what differed.
pub fn run(program: &Program, tally: &mut Tally) -> Result<(), String> {
    let idle = Arc::<Idle>::default();
    let runtime = idle.runtime();
    runtime.block_on(async {
        let stack = Stack::new(&program.pods, idle).await;
        let lives = program.pods.iter().map(|plan| vec![Life::new(plan.clone())]).collect();
        let faulty =
            |plan: &PodPlan| plan.kids.iter().filter(|kid| kid.fault.is_some()).map(|kid| kid.id).collect();
        let both = Both {
            stack,
            lives,
            now: 0,
            task_of: Vec::new(),
            finale: None,
            totals: (0, 0, 0),
            strategies: program.pods.iter().map(|plan| plan.strategy).collect(),
            faulty: program.pods.iter().map(faulty).collect(),
            tally,
        };
        both.run(program).await
    })
}

struct Both<'a> {
    stack: Stack,
    /// For each task, what its life may be: more than one where the order of things was open.
    lives: Vec<Vec<Life>>,
    now: u64,
    /// The task that each call was about.
    task_of: Vec<Option<Task>>,
    /// What the call at the end was answered.
    finale: Option<String>,
    /// How many pods became active, how many of those have ended, and how many restarts there were, as published.
    totals: (u64, u64, u64),
    strategies: Vec<Strategy>,
    /// The planned children of each task that crash as they end.
    faulty: Vec<Vec<KidId>>,
    tally: &'a mut Tally,
}

impl Both<'_> {
    async fn run(mut self, program: &Program) -> Result<(), String> {
        self.count("programs", 1);
        for (n, step) in program.steps.iter().enumerate() {
            let text = || step.iter().map(Call::to_string).collect::<Vec<_>>().join(" | ");
            self.step(step).await.map_err(|error| format!("step {} `{}`: {error}", n + 1, text()))?;
            if self.lives.iter().any(Vec::is_empty) {
                // So much was open that it is not worth the time.
                self.count("given up", 1);
                return Ok(());
            }
        }
        self.end(program.finale).await.map_err(|error| format!("at the end: {error}"))
    }

    async fn step(&mut self, step: &[Call]) -> Result<(), String> {
        self.count("steps", 1);
        if let [Call { op, .. }] = step
            && op.takes_time()
        {
            self.count(op.kind(), 1);
            let moment = match op {
                Op::Advance(time) => self.now + time,
                Op::Edge(task, past) => {
                    let oldest = self.lives[*task].first().and_then(Life::oldest_restart);
                    oldest.map_or(self.now, |oldest| self.now.max(oldest + past))
                }
                _ => self.now,
            };
            return self.run_to(moment).await;
        }
        let first = self.task_of.len();
        let calls: Vec<&Call> = step.iter().filter(|call| !call.op.takes_time()).collect();
        for (n, call) in calls.iter().enumerate() {
            self.count(call.op.kind(), 1);
            self.task_of.push(call.op.task());
            let heard = self.stack.call(first + n, call);
            match call.op {
                Op::End(_, _, How::Error) if heard => self.count("crashes by error", 1),
                Op::End(_, _, How::Panic) if heard => self.count("crashes by panic", 1),
                _ => {}
            }
            self.count("calls dropped", u64::from(call.looks().is_some()));
        }
        self.count("calls together", u64::from(calls.len() > 1));
        self.stack.rest(self.now).await;
        let mut open = Vec::new();
        for (task, lives) in self.lives.iter_mut().enumerate() {
            let here = |call: &Call| call.op.task().is_none_or(|of| of == task);
            let calls = calls.iter().enumerate().filter(|(_, call)| here(call));
            let calls: Vec<(usize, &Call)> = calls.map(|(n, call)| (first + n, *call)).collect();
            open.push(pass(lives, |life| life.together(calls.clone())));
        }
        self.compare(&open).await
    }

    /// Lets time pass for both.
    async fn run_to(&mut self, moment: u64) -> Result<(), String> {
        self.now = moment;
        self.stack.run_to(moment).await;
        let mut open = Vec::new();
        for lives in &mut self.lives {
            open.push(pass(lives, |life| life.run_to(moment)));
        }
        self.count("orders left open", open.iter().filter(|open| **open).count() as u64);
        self.compare(&open).await
    }

    /// Keeps the lives that look like the stack. `open`: for which tasks the order of things is.
    async fn compare(&mut self, open: &[bool]) -> Result<(), String> {
        let (outs, rest) = self.stack.outs(|number| self.task_of.get(number).copied().flatten());
        if let Some(answer) = rest.into_iter().next() {
            self.check_finale(&answer)?;
            self.finale = Some(answer);
        }
        for (task, real) in outs.into_iter().enumerate() {
            let seen = self.stack.seen(task).await?;
            self.note(task, &real);
            let lives = &mut self.lives[task];
            if lives.is_empty() {
                continue;
            }
            for life in lives.iter_mut() {
                life.out.answers.sort_unstable();
            }
            let same = |life: &Life| {
                let log = match open[task] {
                    true => by_child(&life.out.log) == by_child(&real.log),
                    false => life.out.log == real.log,
                };
                log && (&life.out.events, &life.out.answers) == (&real.events, &real.answers)
                    && life.seen() == seen
            };
            if !lives.iter().any(same) {
                let mut text = format!("{} is not what the model says\n", TASKS[task]);
                for life in lives.iter().take(3) {
                    differences(&mut text, life, &real, &seen);
                }
                return Err(text);
            }
            lives.retain(same);
            let mut kept: Vec<Life> = Vec::new();
            for mut life in lives.drain(..) {
                life.out = Out::default();
                if !kept.contains(&life) {
                    kept.push(life);
                }
            }
            *lives = kept;
        }
        Ok(())
    }

    fn note(&mut self, task: Task, real: &Out) {
        for event in &real.events {
            match event {
                Event::Starting => self.count("pods", 1),
                Event::Active => self.totals.0 += 1,
                Event::ChildRestarted(_, _, end) => {
                    self.totals.2 += 1;
                    self.count("restarts", 1);
                    if *end == End::Killed {
                        self.count("crashes by silence", 1);
                    }
                    if self.strategies[task] != Strategy::OneForOne {
                        self.count("group restarts", 1);
                    }
                }
                Event::Stopping("too many restarts") => self.count("pods given up", 1),
                Event::Stopping("significant") => self.count("pods ended by significant children", 1),
                Event::Stopping(_) => {}
                Event::Stuck(_) => self.count("pods stuck", 1),
                Event::Ended { was_active, .. } => self.totals.1 += u64::from(*was_active),
            }
        }
        for (_, answer) in &real.answers {
            if answer.starts_with("stuck") {
                self.count("stuck children", 1);
            } else if answer == "cancelled" {
                self.count("starts cancelled", 1);
            } else if answer.contains("timed out") {
                self.count("starts timed out", 1);
            } else if answer.contains("failed") {
                self.count("starts failed", 1);
            }
        }
        let faults = real.log.iter().filter(|line| match line {
            Line::Gone(kid, _) => self.faulty[task].contains(kid),
            _ => false,
        });
        self.count("ends by a crash in drop or terminate", faults.count() as u64);
    }

    async fn end(&mut self, finale: Finale) -> Result<(), String> {
        self.count(
            match finale {
                Finale::Drain => "ends by drain",
                Finale::Shutdown => "ends by shutdown",
                Finale::Drop => "ends by drop",
            },
            1,
        );
        self.stack.finish(usize::MAX, finale);
        for lives in &mut self.lives {
            lives.iter_mut().for_each(|life| life.close(finale));
            pass(lives, |life| life.together(Vec::new()));
        }
        self.stack.rest(self.now).await;
        self.compare(&[true; TASKS.len()]).await?;
        while let Some(moment) = self.lives.iter().flatten().filter_map(Life::next_moment).min() {
            self.run_to(moment).await?;
        }
        if self.finale.is_none() && finale != Finale::Drop {
            return Err("the call at the end was not answered".into());
        }
        if finale != Finale::Drop {
            let stats = self.stack.stats();
            let totals = (stats.started_total, stats.ended_total, stats.child_restarts_total);
            let now = stats.starting + stats.active + stats.stopping + stats.stuck;
            if (totals, now) != (self.totals, 0) {
                return Err(format!(
                    "pods active, ended, and restarts: {:?} were published, {stats:?}",
                    self.totals
                ));
            }
        }
        self.stack.drop_handle();
        self.stack.rest(self.now).await;
        let (tasks, entries) = (Stack::tasks(), self.stack.entries());
        if (tasks, entries) != (0, 0) {
            return Err(format!("{tasks} tasks and {entries} entries are left"));
        }
        if let Some(task) =
            (0..TASKS.len()).find(|task| self.lives[*task].iter().any(|life| life.seen() != Seen::default()))
        {
            return Err(format!("{} should still have a pod", TASKS[task]));
        }
        match self.stack.holders() {
            0 => Ok(()),
            holders => Err(format!("{holders} still hold what the pods were made of")),
        }
    }

    /// Whether this was the moment and the answer for the call at the end: all have ended, or do not.
    fn check_finale(&self, answer: &str) -> Result<(), String> {
        let mut stuck = 0;
        for (task, lives) in self.lives.iter().enumerate() {
            match lives.first().and_then(|life| life.seen().pod).map(|pod| pod.status) {
                // It ended in the moment in which it was found stuck: whoever looked in between has seen that.
                None if answer.contains(TASKS[task]) && lives.iter().any(Life::is_stuck_now) => stuck += 1,
                None => {}
                Some(PodStatus::Stuck) if answer.contains(TASKS[task]) => stuck += 1,
                Some(status) => return Err(format!("answered `{answer}` while {} is {status}", TASKS[task])),
            }
        }
        if (answer == "ok") == (stuck == 0) {
            Ok(())
        } else {
            Err(format!("answered `{answer}`, {stuck} stuck"))
        }
    }

    fn count(&mut self, what: &'static str, more: u64) {
        *self.tally.entry(what).or_default() += more;
    }
}

/// What may become of lives; answers whether that was open.
fn pass(lives: &mut Vec<Life>, becoming: impl Fn(Life) -> (Vec<Life>, bool)) -> bool {
    let mut open = false;
    for life in std::mem::take(lives) {
        let (mut passed, is_open) = becoming(life);
        open |= is_open;
        if passed.is_empty() {
            // Too much was open in this one, which may be the one that the stack lives: the others prove nothing without it.
            lives.clear();
            break;
        }
        lives.append(&mut passed);
    }
    open
}

fn differences(text: &mut String, life: &Life, real: &Out, seen: &Seen) {
    let mut line = |what: &str, model: String, real: String| {
        if model != real {
            let _ = writeln!(text, "  {what}\n    model: {model}\n    stack: {real}");
        }
    };
    let there = life.seen();
    line("log", format!("{:?}", life.out.log), format!("{:?}", real.log));
    line("events", format!("{:?}", life.out.events), format!("{:?}", real.events));
    line("answers", format!("{:?}", life.out.answers), format!("{:?}", real.answers));
    line("pod", format!("{:?}", there.pod), format!("{:?}", seen.pod));
    line("registered", format!("{:?}", there.registered), format!("{:?}", seen.registered));
    line("permits", format!("{:?}", there.permits), format!("{:?}", seen.permits));
    let _ = writeln!(text, "  at {} ms", life.now());
}
