//! Random lives of pods, compared step by step with a model of a few lines.
//!
//! The model knows what a pod should be: which tasks have streams, which have pods, which of a pod's children run in which
//! incarnation, and which restarts still count. The real stack is driven by the same program under a paused clock, and after
//! each step it must look the same: answers, listings, registries, restart counts, and the order in which children came and went.

mod common;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Log, Streams};
use ipa_pod::{PodSpec, PodSupervisor, RestartPodError, StartPodError, StopPodError};
use ipa_supervisor::{BoxError, Child, ChildSpec, ChildState, Context, Exit, ExitReason, Init, async_trait};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::sync::mpsc;

const TASKS: [&str; 3] = ["ada", "bob", "cyd"];
const CHILDREN: [&str; 3] = ["state", "work", "sync"];

#[derive(Clone, Copy, Debug)]
enum Step {
    CreateStream(usize),
    DeleteStream(usize),
    Start(usize),
    Stop(usize),
    Restart(usize),
    End(usize, usize, How),
    Terminate(usize, usize),
    RestartChild(usize, usize),
    Advance(u64),
    /// An end at the very moment at which the pod's oldest restart is this many milliseconds older than the window.
    EndAtTheEdge(usize, usize, u64),
}

#[derive(Clone, Copy, Debug)]
enum How {
    Error,
    Panic,
    Normal,
}

// ------------------------------------------------------------------------------------------------ the model

#[derive(Default)]
struct Model {
    now: u64,
    streams: [bool; 3],
    pods: BTreeMap<usize, PodModel>,
    log: Vec<String>,
}

/// A pod: each child's incarnation and whether it runs; when its restarts were.
#[derive(Default)]
struct PodModel {
    children: [(u64, bool); 3],
    restarts: Vec<u64>,
    total: u64,
}

impl Model {
    fn start(&mut self, task: usize) -> &'static str {
        if self.pods.contains_key(&task) {
            return "already started";
        }
        if !self.streams[task] {
            return "stream not found";
        }
        self.pods.insert(task, PodModel::default());
        for child in 0..CHILDREN.len() {
            self.up(task, child);
        }
        "ok"
    }

    fn stop(&mut self, task: usize) -> &'static str {
        let Some(pod) = self.pods.remove(&task) else { return "not running" };
        for child in (0..CHILDREN.len()).rev().filter(|child| pod.children[*child].1) {
            self.log.push(format!("-{}/{}", TASKS[task], CHILDREN[child]));
        }
        "ok"
    }

    fn restart(&mut self, task: usize) -> &'static str {
        self.stop(task);
        self.start(task)
    }

    fn end(&mut self, task: usize, child: usize, how: How) {
        let now = self.now;
        let Some(pod) = self.pods.get_mut(&task).filter(|pod| pod.children[child].1) else { return };
        pod.children[child].1 = false;
        self.log.push(format!("-{}/{}", TASKS[task], CHILDREN[child]));
        if matches!(how, How::Normal) {
            return; // transient
        }
        pod.restarts.push(now);
        pod.restarts.retain(|at| at + 5000 >= now);
        if pod.restarts.len() > 3 {
            self.stop(task);
        } else {
            pod.total += 1;
            self.up(task, child);
        }
    }

    fn terminate(&mut self, task: usize, child: usize) -> &'static str {
        let Some(pod) = self.pods.get_mut(&task) else { return "no pod" };
        if std::mem::take(&mut pod.children[child].1) {
            self.log.push(format!("-{}/{}", TASKS[task], CHILDREN[child]));
        }
        "ok"
    }

    fn restart_child(&mut self, task: usize, child: usize) -> &'static str {
        match self.pods.get(&task) {
            None => "no pod",
            Some(pod) if pod.children[child].1 => "running",
            Some(_) => {
                self.up(task, child);
                "ok"
            }
        }
    }

    fn up(&mut self, task: usize, child: usize) {
        let Some(pod) = self.pods.get_mut(&task) else { return };
        let (incarnation, runs) = &mut pod.children[child];
        *incarnation += 1;
        *runs = true;
        self.log.push(format!("+{}/{}#{incarnation}", TASKS[task], CHILDREN[child]));
    }
}

// ------------------------------------------------------------------------------------------------ the real thing

type Ends = Arc<Mutex<HashMap<(String, String), mpsc::UnboundedSender<How>>>>;

/// A child that ends as it is told.
struct Puppet {
    task: String,
    log: Log,
    ends: Ends,
    told: Option<mpsc::UnboundedReceiver<How>>,
}

#[async_trait]
impl Child for Puppet {
    async fn init(&mut self, cx: &mut Context) -> Result<Init, BoxError> {
        let (tell, told) = mpsc::unbounded_channel();
        self.told = Some(told);
        self.ends.lock().unwrap().insert((self.task.clone(), cx.id().to_string()), tell);
        self.log.push(format!("+{}/{}{}", self.task, cx.id(), cx.child().incarnation));
        Ok(Init::Ready)
    }

    async fn run(&mut self, _cx: &mut Context) -> Result<Exit, BoxError> {
        match self.told.as_mut().unwrap().recv().await {
            Some(How::Error) => Err("as told".into()),
            Some(How::Panic) => std::panic::panic_any("as told"),
            Some(How::Normal) | None => Ok(Exit::Normal),
        }
    }

    async fn terminate(&mut self, cx: &mut Context, _reason: &ExitReason) {
        self.log.push(format!("-{}/{}", self.task, cx.id()));
    }
}

struct Real {
    pods: PodSupervisor,
    streams: Streams,
    log: Log,
    ends: Ends,
}

impl Real {
    async fn new() -> Self {
        let (streams, log, ends) = (Streams::default(), Log::default(), Ends::default());
        let factory = {
            let (log, ends) = (log.clone(), ends.clone());
            move |scope: &ipa_pod::PodScope| {
                let puppet = |id: &&'static str| {
                    let (task, log, ends) = (scope.task().to_string(), log.clone(), ends.clone());
                    ChildSpec::new(*id, move || Puppet {
                        task: task.clone(),
                        log: log.clone(),
                        ends: ends.clone(),
                        told: None,
                    })
                };
                Ok(PodSpec::new().children(CHILDREN.iter().map(puppet)))
            }
        };
        let pods = PodSupervisor::builder(streams.clone(), factory).start().await.unwrap();
        Self { pods, streams, log, ends }
    }

    async fn start(&self, task: usize) -> &'static str {
        start_result(self.pods.start_pod(TASKS[task]).await.map(drop))
    }

    async fn stop(&self, task: usize) -> &'static str {
        match self.pods.stop_pod(TASKS[task]).await {
            Ok(()) => "ok",
            Err(StopPodError::NotRunning(_)) => "not running",
            Err(error) => panic!("{error}"),
        }
    }

    async fn restart(&self, task: usize) -> &'static str {
        match self.pods.restart_pod(TASKS[task]).await {
            Ok(_) => "ok",
            Err(RestartPodError::Start(error)) => start_result(Err(error)),
            Err(error) => panic!("{error}"),
        }
    }

    fn end(&self, task: usize, child: usize, how: How) {
        let key = (TASKS[task].to_owned(), CHILDREN[child].to_owned());
        if let Some(tell) = self.ends.lock().unwrap().get(&key) {
            let _ = tell.send(how); // refused by one that is gone
        }
    }

    async fn terminate(&self, task: usize, child: usize) -> &'static str {
        match self.pods.get_pod(TASKS[task]) {
            Err(_) => "no pod",
            Ok(pod) => {
                pod.terminate_child(CHILDREN[child]).await.map_or_else(|error| panic!("{error}"), |()| "ok")
            }
        }
    }

    async fn restart_child(&self, task: usize, child: usize) -> &'static str {
        let Ok(pod) = self.pods.get_pod(TASKS[task]) else { return "no pod" };
        match pod.restart_child(CHILDREN[child]).await {
            Ok(_) => "ok",
            Err(ipa_supervisor::RestartChildError::Running) => "running",
            Err(error) => panic!("{error}"),
        }
    }

    /// What anybody can see of it: per task the restarts, and each child's incarnation and whether it runs.
    async fn look(&self) -> BTreeMap<usize, (u64, Vec<(u64, bool)>)> {
        let mut seen = BTreeMap::new();
        for info in self.pods.list_pods() {
            let task = TASKS.iter().position(|task| *task == info.task.as_str()).unwrap();
            let children = info.pod.which_children().await.unwrap();
            let children =
                children.iter().map(|child| (child.child.incarnation.0, child.state == ChildState::Running));
            seen.insert(task, (info.restarts, children.collect()));
        }
        seen
    }
}

fn start_result(result: Result<(), StartPodError>) -> &'static str {
    match result {
        Ok(()) => "ok",
        Err(StartPodError::AlreadyStarted { .. }) => "already started",
        Err(StartPodError::StreamNotFound(_)) => "stream not found",
        Err(error) => panic!("{error}"),
    }
}

// ------------------------------------------------------------------------------------------------ side by side

async fn run(program: Vec<Step>) -> Result<(), TestCaseError> {
    let (mut model, real) = (Model::default(), Real::new().await);
    for (n, step) in program.into_iter().enumerate() {
        let (expected, answer) = match step {
            Step::CreateStream(task) => {
                model.streams[task] = true;
                real.streams.0.lock().unwrap().streams.insert(TASKS[task].into());
                ("", "")
            }
            Step::DeleteStream(task) => {
                model.streams[task] = false;
                real.streams.0.lock().unwrap().streams.remove(TASKS[task]);
                ("", "")
            }
            Step::Start(task) => (model.start(task), real.start(task).await),
            Step::Stop(task) => (model.stop(task), real.stop(task).await),
            Step::Restart(task) => (model.restart(task), real.restart(task).await),
            Step::End(task, child, how) => {
                model.end(task, child, how);
                real.end(task, child, how);
                ("", "")
            }
            Step::Terminate(task, child) => (model.terminate(task, child), real.terminate(task, child).await),
            Step::RestartChild(task, child) => {
                (model.restart_child(task, child), real.restart_child(task, child).await)
            }
            Step::Advance(ms) => {
                model.now += ms;
                tokio::time::sleep(Duration::from_millis(ms)).await;
                ("", "")
            }
            Step::EndAtTheEdge(..) => ("", ""),
        };
        prop_assert_eq!(expected, answer, "step {} {:?}: the answer", n, step);
        if let Step::EndAtTheEdge(task, child, past) = step
            && let Some(oldest) = model.pods.get(&task).and_then(|pod| pod.restarts.first().copied())
        {
            let wait = (oldest + 5000 + past).saturating_sub(model.now);
            model.now += wait;
            tokio::time::sleep(Duration::from_millis(wait)).await;
            model.end(task, child, How::Error);
            real.end(task, child, How::Error);
        }
        // A paused clock moves only when nothing else is left to do: after this all has come to rest.
        tokio::time::sleep(Duration::from_millis(1)).await;
        model.now += 1;
        let pods = model.pods.iter().map(|(task, pod)| (*task, (pod.total, pod.children.to_vec())));
        prop_assert_eq!(
            pods.collect::<BTreeMap<_, _>>(),
            real.look().await,
            "step {} {:?}: the pods",
            n,
            step
        );
        let running = model.pods.values().flat_map(|pod| &pod.children).filter(|(_, runs)| *runs).count();
        prop_assert_eq!(
            running,
            real.pods.registry().children().count(),
            "step {} {:?}: the registry",
            n,
            step
        );
        prop_assert_eq!(&model.log, &real.log.lines(), "step {} {:?}: who came and went", n, step);
    }
    real.pods.shutdown().await.unwrap();
    prop_assert_eq!(real.pods.count_pods() + real.pods.registry().children().count(), 0);
    let left = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    prop_assert_eq!(left, 0, "tasks left");
    Ok(())
}

fn step() -> impl Strategy<Value = Step> {
    let (task, child) = (0..TASKS.len(), 0..CHILDREN.len());
    let how = prop_oneof![Just(How::Error), Just(How::Panic), Just(How::Normal)];
    prop_oneof![
        2 => task.clone().prop_map(Step::CreateStream),
        1 => task.clone().prop_map(Step::DeleteStream),
        5 => task.clone().prop_map(Step::Start),
        2 => task.clone().prop_map(Step::Stop),
        2 => task.clone().prop_map(Step::Restart),
        2 => (task.clone(), child.clone(), 0u64..2).prop_map(|(task, child, past)| Step::EndAtTheEdge(task, child, past)),
        8 => (task.clone(), child.clone(), how).prop_map(|(task, child, how)| Step::End(task, child, how)),
        2 => (task.clone(), child.clone()).prop_map(|(task, child)| Step::Terminate(task, child)),
        2 => (task, child).prop_map(|(task, child)| Step::RestartChild(task, child)),
        3 => prop_oneof![0u64..50, 1200u64..1800, 4990u64..5010].prop_map(Step::Advance),
    ]
}

/// RI-04 RI-05 CR-02 CR-04 CR-07 PL-33 PL-34 random programs over three tasks: the stack does what the model says.
#[test]
fn pods_live_as_the_model_says() {
    // A panic that a child was told to have is no news.
    std::panic::set_hook(Box::new(|info| {
        if info.payload().downcast_ref::<&str>() != Some(&"as told") {
            eprintln!("{info}");
        }
    }));
    let programs = proptest::collection::vec(step(), 1..60);
    let config = Config { failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&programs, |program| {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(run(program))
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}
