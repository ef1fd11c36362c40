//! A stage with puppets: children that do as they are told, and a log of what happened.
#![allow(dead_code)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ipa_supervisor::{BoxError, Child, ChildSpec, Context, Exit, ExitReason, Init, async_trait};
use tokio::sync::mpsc;

/// How a puppet is told to end.
#[derive(Clone, Copy, Debug)]
pub enum How {
    Normal,
    Shutdown,
    Error,
    Panic,
}

#[derive(Clone, Default)]
pub struct Stage(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    log: Vec<String>,
    strings: HashMap<String, mpsc::UnboundedSender<How>>,
    fail: HashMap<String, u32>,
    ignore: HashMap<String, u32>,
    init: HashMap<String, Duration>,
    terminate: HashMap<String, Duration>,
}

impl Stage {
    /// A permanent puppet; `+id#n` is logged when it is up, `-id` when it has terminated.
    pub fn puppet(&self, id: &str) -> ChildSpec {
        let stage = self.clone();
        ChildSpec::new(id, move || Puppet { stage: stage.clone(), told: None })
    }
    /// Its next `n` inits fail.
    pub fn fail(&self, id: &str, n: u32) {
        self.0.lock().unwrap().fail.insert(id.into(), n);
    }
    /// Its next `n` inits decline.
    pub fn ignore(&self, id: &str, n: u32) {
        self.0.lock().unwrap().ignore.insert(id.into(), n);
    }
    pub fn slow_init(&self, id: &str, time: Duration) {
        self.0.lock().unwrap().init.insert(id.into(), time);
    }
    pub fn slow_terminate(&self, id: &str, time: Duration) {
        self.0.lock().unwrap().terminate.insert(id.into(), time);
    }
    /// Makes it end, and waits until everything has come to rest (a paused clock moves only then).
    pub async fn end(&self, id: &str, how: How) {
        self.tell(id, how);
        settle().await;
    }
    pub fn tell(&self, id: &str, how: How) {
        let string = self.0.lock().unwrap().strings.get(id).cloned();
        string.expect("it has been up").send(how).expect("it is up");
    }
    pub fn log(&self, line: String) {
        self.0.lock().unwrap().log.push(line);
    }
    /// What happened since the last look, in one line.
    pub fn take(&self) -> String {
        std::mem::take(&mut self.0.lock().unwrap().log).join(" ")
    }
}

pub async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

struct Puppet {
    stage: Stage,
    told: Option<mpsc::UnboundedReceiver<How>>,
}

#[async_trait]
impl Child for Puppet {
    async fn init(&mut self, cx: &mut Context) -> Result<Init, BoxError> {
        let id = cx.id().to_string();
        let slow = self.stage.0.lock().unwrap().init.get(&id).copied();
        if let Some(slow) = slow {
            tokio::time::sleep(slow).await;
        }
        let (tell, told) = mpsc::unbounded_channel();
        self.told = Some(told);
        let mut state = self.stage.0.lock().unwrap();
        let mut left = |which: &str| {
            let map = if which == "fail" { &mut state.fail } else { &mut state.ignore };
            map.get_mut(&id).filter(|left| **left > 0).map(|left| *left -= 1).is_some()
        };
        if left("fail") {
            state.log.push(format!("!{id}"));
            return Err("as told".into());
        }
        if left("ignore") {
            state.log.push(format!("~{id}"));
            return Ok(Init::Ignore);
        }
        state.strings.insert(id.clone(), tell);
        state.log.push(format!("+{id}{}", cx.child().incarnation));
        Ok(Init::Ready)
    }

    async fn run(&mut self, _cx: &mut Context) -> Result<Exit, BoxError> {
        match self.told.as_mut().expect("init ran").recv().await {
            Some(How::Normal) | None => Ok(Exit::Normal),
            Some(How::Shutdown) => Ok(Exit::shutdown()),
            Some(How::Error) => Err("as told".into()),
            Some(How::Panic) => std::panic::panic_any("as told"),
        }
    }

    async fn terminate(&mut self, cx: &mut Context, _reason: &ExitReason) {
        let slow = self.stage.0.lock().unwrap().terminate.get(cx.id().as_str()).copied();
        if let Some(slow) = slow {
            tokio::time::sleep(slow).await;
        }
        self.stage.log(format!("-{}", cx.id()));
    }
}
