//! Programs as text, one line for each pod, child and step, so that one that fails can be read, kept and run again.
//!
//! What is the default is not written. `#` begins a comment.

use std::fmt::{self, Display, Formatter};
use std::str::{FromStr, SplitWhitespace};

use ipa_supervisor::{AutoShutdown, Restart, Strategy};

use crate::program::*;

impl Display for Program {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (task, pod) in self.pods.iter().enumerate() {
            writeln!(f, "pod {}{pod}", TASKS[task])?;
            for kid in &pod.kids {
                writeln!(f, "  child {kid}")?;
            }
        }
        for step in &self.steps {
            let calls: Vec<String> = step.iter().map(Call::to_string).collect();
            writeln!(f, "{}", calls.join(" | "))?;
        }
        let finale = match self.finale {
            Finale::Drain => "drain",
            Finale::Shutdown => "shutdown",
            Finale::Drop => "drop",
        };
        writeln!(f, "end by {finale}")
    }
}

impl Display for PodPlan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let default = Self::default();
        match self.strategy {
            Strategy::OneForOne => {}
            Strategy::RestForOne => f.write_str(" rest_for_one")?,
            Strategy::OneForAll => f.write_str(" one_for_all")?,
        }
        match self.auto_shutdown {
            AutoShutdown::Never => {}
            AutoShutdown::AnySignificant => f.write_str(" any_significant")?,
            AutoShutdown::AllSignificant => f.write_str(" all_significant")?,
        }
        if (self.max_restarts, self.within) != (default.max_restarts, default.within) {
            write!(f, " restarts {} within {}", self.max_restarts, self.within)?;
        }
        number(f, "start_timeout", self.start_timeout, default.start_timeout)?;
        number(f, "shutdown_timeout", self.shutdown_timeout, default.shutdown_timeout)?;
        number(f, "kill_grace", self.kill_grace, default.kill_grace)
    }
}

impl Display for KidPlan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(KIDS[self.id])?;
        match self.restart {
            Restart::Permanent => f.write_str(" permanent")?,
            Restart::Transient => {}
            Restart::Temporary => f.write_str(" temporary")?,
        }
        match self.shutdown {
            Stop::Within(ms) => number(f, "shutdown", ms, 5000)?,
            Stop::Infinity => f.write_str(" infinity")?,
            Stop::Brutal => f.write_str(" brutal_kill")?,
        }
        for (word, yes) in [("significant", self.significant), ("deaf", self.deaf)] {
            if yes {
                write!(f, " {word}")?;
            }
        }
        if let Some((initial, max)) = self.backoff {
            write!(f, " backoff {initial} max {max}")?;
        }
        number(f, "start_timeout", self.start_timeout.unwrap_or(0), 0)?;
        number(f, "silence", self.silence.unwrap_or(0), 0)?;
        number(f, "init", self.init, 0)?;
        number(f, "terminate", self.terminate, 0)?;
        number(f, "linger", self.linger, 0)?;
        f.write_str(match self.fault {
            None => "",
            Some(Fault::TerminatePanics) => " terminate_panics",
            Some(Fault::DropPanics) => " drop_panics",
        })
    }
}

fn number(f: &mut Formatter<'_>, name: &str, value: u64, default: u64) -> fmt::Result {
    if value == default { Ok(()) } else { write!(f, " {name} {value}") }
}

impl Display for Call {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.op)?;
        match self.dropped {
            None => Ok(()),
            Some(looks) => write!(f, " dropped {looks}"),
        }
    }
}

impl Display for Op {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let of = |task: &Task, kid: &KidId| format!("{}/{}", TASKS[*task], KIDS[*kid]);
        match self {
            Self::Stream(task) => write!(f, "stream {}", TASKS[*task]),
            Self::NoStream(task) => write!(f, "no_stream {}", TASKS[*task]),
            Self::Store(Store::Answers) => f.write_str("store answers"),
            Self::Store(Store::Slow(ms)) => write!(f, "store slow {ms}"),
            Self::Store(Store::Down) => f.write_str("store down"),
            Self::Store(Store::Panics) => f.write_str("store panics"),
            Self::Start(task) => write!(f, "start {}", TASKS[*task]),
            Self::Stop(task) => write!(f, "stop {}", TASKS[*task]),
            Self::StopWith(task) => write!(f, "stop_with {}", TASKS[*task]),
            Self::Restart(task) => write!(f, "restart {}", TASKS[*task]),
            Self::Revoke(task) => write!(f, "revoke {}", TASKS[*task]),
            Self::StartChild(task, plan) => write!(f, "start_child {} {plan}", TASKS[*task]),
            Self::TerminateChild(task, kid) => write!(f, "terminate_child {}", of(task, kid)),
            Self::RestartChild(task, kid) => write!(f, "restart_child {}", of(task, kid)),
            Self::DeleteChild(task, kid) => write!(f, "delete_child {}", of(task, kid)),
            Self::End(task, kid, how) => write!(f, "end {} {}", of(task, kid), how.word()),
            Self::Next(task, kid, init, times) => {
                write!(f, "next {} {} {times}", of(task, kid), init.words())
            }
            Self::NextPod(task, how, times) => write!(f, "next_pod {} {} {times}", TASKS[*task], how.word()),
            Self::Advance(ms) => write!(f, "advance {ms}"),
            Self::Edge(task, past) => write!(f, "edge {} {past}", TASKS[*task]),
        }
    }
}

const HOWS: [(How, &str); 5] = [
    (How::Normal, "normal"),
    (How::Shutdown, "shutdown"),
    (How::Error, "error"),
    (How::Panic, "panic"),
    (How::Hang, "hang"),
];

impl How {
    pub fn word(self) -> &'static str {
        HOWS.iter().find(|(how, _)| *how == self).map_or("", |(_, word)| word)
    }
}

impl Init {
    fn words(self) -> String {
        match self {
            Self::Slow(ms) => format!("slow {ms}"),
            Self::Ignore => "ignore".into(),
            Self::Error(ms) => format!("error {ms}"),
            Self::Panic(ms) => format!("panic {ms}"),
            Self::FactoryPanic => "factory_panic".into(),
        }
    }
}

// ------------------------------------------------------------------------------------------------ and back

impl FromStr for Program {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut program = Self { pods: Vec::new(), steps: Vec::new(), finale: Finale::Shutdown };
        for (n, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if !line.is_empty() {
                read_line(&mut program, line).map_err(|error| format!("line {}: {error}", n + 1))?;
            }
        }
        Ok(program)
    }
}

fn read_line(program: &mut Program, line: &str) -> Result<(), String> {
    let mut words = Words(line.split_whitespace());
    match line.split_whitespace().next() {
        Some("pod") => {
            words.next()?;
            let task = words.task()?;
            if task != program.pods.len() {
                return Err(format!("pods come in the order {TASKS:?}"));
            }
            program.pods.push(words.pod()?);
        }
        Some("child") => {
            words.next()?;
            let kid = words.kid_plan()?;
            program.pods.last_mut().ok_or("a child before the first pod")?.kids.push(kid);
        }
        Some("end") if line.starts_with("end by") => {
            program.finale = match line {
                "end by drain" => Finale::Drain,
                "end by shutdown" => Finale::Shutdown,
                "end by drop" => Finale::Drop,
                _ => return Err("no such end".into()),
            };
        }
        _ => {
            let calls = line.split('|').map(|call| Words(call.split_whitespace()).call());
            program.steps.push(calls.collect::<Result<_, _>>()?);
        }
    }
    Ok(())
}

struct Words<'a>(SplitWhitespace<'a>);

impl<'a> Words<'a> {
    fn next(&mut self) -> Result<&'a str, String> {
        self.0.next().ok_or_else(|| "the line ends too early".into())
    }

    fn number<T: FromStr>(&mut self) -> Result<T, String> {
        let word = self.next()?;
        word.parse().map_err(|_| format!("`{word}` is no number that fits"))
    }

    fn task(&mut self) -> Result<Task, String> {
        let word = self.next()?;
        named(&TASKS, word)
    }

    fn of(&mut self) -> Result<(Task, KidId), String> {
        let word = self.next()?;
        let (task, kid) = word.split_once('/').ok_or_else(|| format!("`{word}` is no task/child"))?;
        Ok((named(&TASKS, task)?, named(&KIDS, kid)?))
    }

    fn how(&mut self) -> Result<How, String> {
        let word = self.next()?;
        HOWS.iter().find(|(_, text)| *text == word).map(|(how, _)| *how).ok_or(format!("how is `{word}`?"))
    }

    fn pod(&mut self) -> Result<PodPlan, String> {
        let mut pod = PodPlan::default();
        while let Some(word) = self.0.next() {
            match word {
                "rest_for_one" => pod.strategy = Strategy::RestForOne,
                "one_for_all" => pod.strategy = Strategy::OneForAll,
                "any_significant" => pod.auto_shutdown = AutoShutdown::AnySignificant,
                "all_significant" => pod.auto_shutdown = AutoShutdown::AllSignificant,
                "restarts" => pod.max_restarts = self.number()?,
                "within" => pod.within = self.number()?,
                "start_timeout" => pod.start_timeout = self.number()?,
                "shutdown_timeout" => pod.shutdown_timeout = self.number()?,
                "kill_grace" => pod.kill_grace = self.number()?,
                other => return Err(format!("no option of a pod: `{other}`")),
            }
        }
        Ok(pod)
    }

    fn kid_plan(&mut self) -> Result<KidPlan, String> {
        let id = named(&KIDS, self.next()?)?;
        let mut kid = KidPlan { id, ..KidPlan::default() };
        // What follows may be that of the call around it.
        while let Some(word) = self.0.clone().next().filter(|word| *word != "dropped") {
            self.next()?;
            match word {
                "permanent" => kid.restart = Restart::Permanent,
                "temporary" => kid.restart = Restart::Temporary,
                "infinity" => kid.shutdown = Stop::Infinity,
                "brutal_kill" => kid.shutdown = Stop::Brutal,
                "significant" => kid.significant = true,
                "deaf" => kid.deaf = true,
                "terminate_panics" => kid.fault = Some(Fault::TerminatePanics),
                "drop_panics" => kid.fault = Some(Fault::DropPanics),
                "shutdown" => kid.shutdown = Stop::Within(self.number()?),
                "backoff" => kid.backoff = Some((self.number()?, 0)),
                "max" => kid.backoff = Some((kid.backoff.unwrap_or_default().0, self.number()?)),
                "start_timeout" => kid.start_timeout = Some(self.number()?),
                "silence" => kid.silence = Some(self.number()?),
                "init" => kid.init = self.number()?,
                "terminate" => kid.terminate = self.number()?,
                "linger" => kid.linger = self.number()?,
                other => return Err(format!("no option of a child: `{other}`")),
            }
        }
        Ok(kid)
    }

    fn call(mut self) -> Result<Call, String> {
        let op = self.op()?;
        let dropped = match self.0.next() {
            None => None,
            Some("dropped") => Some(self.number()?),
            Some(other) => return Err(format!("what is `{other}`?")),
        };
        match self.0.next() {
            None => Ok(Call { op, dropped }),
            Some(other) => Err(format!("what is `{other}`?")),
        }
    }

    fn op(&mut self) -> Result<Op, String> {
        Ok(match self.next()? {
            "stream" => Op::Stream(self.task()?),
            "no_stream" => Op::NoStream(self.task()?),
            "store" => Op::Store(match self.next()? {
                "answers" => Store::Answers,
                "slow" => Store::Slow(self.number()?),
                "down" => Store::Down,
                "panics" => Store::Panics,
                other => return Err(format!("a store that is `{other}`?")),
            }),
            "start" => Op::Start(self.task()?),
            "stop" => Op::Stop(self.task()?),
            "stop_with" => Op::StopWith(self.task()?),
            "restart" => Op::Restart(self.task()?),
            "revoke" => Op::Revoke(self.task()?),
            "start_child" => Op::StartChild(self.task()?, self.kid_plan()?),
            "terminate_child" => self.of().map(|(task, kid)| Op::TerminateChild(task, kid))?,
            "restart_child" => self.of().map(|(task, kid)| Op::RestartChild(task, kid))?,
            "delete_child" => self.of().map(|(task, kid)| Op::DeleteChild(task, kid))?,
            "end" => {
                let (task, kid) = self.of()?;
                Op::End(task, kid, self.how()?)
            }
            "next" => {
                let (task, kid) = self.of()?;
                let init = match self.next()? {
                    "slow" => Init::Slow(self.number()?),
                    "ignore" => Init::Ignore,
                    "error" => Init::Error(self.number()?),
                    "panic" => Init::Panic(self.number()?),
                    "factory_panic" => Init::FactoryPanic,
                    other => return Err(format!("an init that is `{other}`?")),
                };
                Op::Next(task, kid, init, self.number()?)
            }
            "next_pod" => Op::NextPod(self.task()?, self.how()?, self.number()?),
            "advance" => Op::Advance(self.number()?),
            "edge" => Op::Edge(self.task()?, self.number()?),
            other => return Err(format!("no such call: `{other}`")),
        })
    }
}

fn named(names: &[&str], name: &str) -> Result<usize, String> {
    names.iter().position(|known| *known == name).ok_or_else(|| format!("`{name}` is none of {names:?}"))
}
