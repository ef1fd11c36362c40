//! Children, a store and a pod factory that do as a program says, and write down what happens to them.

use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use ipa_pod::{Admission, AdmitError, Permit, PodScope, PodSpec, Revoker, TaskId};
use ipa_supervisor::{
    Backoff, BoxError, Child, ChildSpec, Context, Exit, ExitReason, Init as Ready, Lease, Restart,
    RestartIntensity, Shutdown, SignificantRestart, StopMode, async_trait,
};
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::model::{HEALTHY, Line};
use crate::program::*;

/// What the puppets of one program share: one room for each task, and the store.
pub struct World {
    rooms: Vec<Mutex<Room>>,
    store: Mutex<Store>,
}

/// What there is to one task.
#[derive(Default)]
pub struct Room {
    plan: PodPlan,
    pub stream: bool,
    pub next: Vec<(KidId, Init, u8)>,
    pub next_pod: Option<(How, u8)>,
    pub log: Vec<Line>,
    /// How the children that run are told to end.
    tells: [Option<oneshot::Sender<How>>; KIDS.len()],
    pub revoker: Option<Revoker>,
    pub permits: usize,
}

impl World {
    pub fn new(plans: &[PodPlan]) -> Arc<Self> {
        let room = |plan: &PodPlan| Mutex::new(Room { plan: plan.clone(), ..Room::default() });
        Arc::new(Self { rooms: plans.iter().map(room).collect(), store: Mutex::new(Store::Answers) })
    }

    pub fn room(&self, task: Task) -> MutexGuard<'_, Room> {
        self.rooms[task].lock().unwrap()
    }

    pub fn set_store(&self, store: Store) {
        *self.store.lock().unwrap() = store;
    }

    fn store(&self) -> Store {
        *self.store.lock().unwrap()
    }

    /// Makes the spec of a task's pod.
    pub fn pod(self: &Arc<Self>, scope: &PodScope) -> Result<PodSpec, BoxError> {
        let task = number_of(scope.task());
        let (plan, fails) = {
            let mut room = self.room(task);
            let fails = room.next_pod.as_mut().filter(|(_, times)| *times > 0).map(|(how, times)| {
                *times -= 1;
                *how
            });
            (room.plan.clone(), fails)
        };
        match fails {
            None => {}
            Some(How::Panic) => panic_as_told(),
            Some(_) => return Err("as told".into()),
        }
        Ok(PodSpec::new()
            .strategy(plan.strategy)
            .auto_shutdown(plan.auto_shutdown)
            .intensity(RestartIntensity::new(plan.max_restarts, ms(plan.within)))
            .start_timeout(ms(plan.start_timeout))
            .shutdown_timeout(ms(plan.shutdown_timeout))
            .kill_grace(ms(plan.kill_grace))
            .children(plan.kids.iter().map(|kid| self.child(task, kid))))
    }

    /// Makes the spec of a child.
    pub fn child(self: &Arc<Self>, task: Task, plan: &KidPlan) -> ChildSpec {
        let (world, kid) = (self.clone(), plan.clone());
        let make = move || {
            let next = {
                let mut room = world.room(task);
                let next = room.next.iter_mut().find(|(of, _, times)| *of == kid.id && *times > 0);
                next.map(|(_, init, times)| {
                    *times -= 1;
                    *init
                })
            };
            if next == Some(Init::FactoryPanic) {
                panic_as_told();
            }
            let init = next.unwrap_or(Init::Slow(kid.init));
            Puppet { world: world.clone(), task, plan: kid.clone(), init, life: None }
        };
        let mut spec =
            ChildSpec::new(KIDS[plan.id], make).restart(plan.restart).shutdown(match plan.shutdown {
                Stop::Within(time) => Shutdown::Timeout(ms(time)),
                Stop::Infinity => Shutdown::Infinity,
                Stop::Brutal => Shutdown::BrutalKill,
            });
        if plan.significant {
            spec = spec.significant(match plan.restart {
                Restart::Temporary => SignificantRestart::Temporary,
                Restart::Transient | Restart::Permanent => SignificantRestart::Transient,
            });
        }
        if plan.deaf {
            spec = spec.stop_mode(StopMode::Cooperative);
        }
        if let Some(timeout) = plan.start_timeout {
            spec = spec.start_timeout(ms(timeout));
        }
        if let Some(silence) = plan.silence {
            spec = spec.max_silence(ms(silence));
        }
        if let Some((initial, max)) = plan.backoff {
            let (initial, max, reset_after) = (ms(initial), ms(max), ms(HEALTHY));
            spec = spec.backoff(Backoff { initial, max, factor: 2.0, jitter: 0.0, reset_after });
        }
        spec
    }

    /// Tells a child to end, if it runs.
    pub fn end(&self, task: Task, kid: KidId, how: How) -> bool {
        let tell = self.room(task).tells[kid].take();
        // Refused by one whose `run` is over.
        tell.is_some_and(|tell| tell.send(how).is_ok())
    }
}

/// The store.
pub struct Streams(pub Arc<World>);

#[async_trait]
impl Admission for Streams {
    async fn admit(&self, task: &TaskId) -> Result<Permit, AdmitError> {
        let task = number_of(task);
        if let Store::Slow(time) = self.0.store() {
            sleep(ms(time)).await;
        }
        match self.0.store() {
            Store::Down => return Err(AdmitError::Unavailable("as told".into())),
            Store::Panics => panic_as_told(),
            Store::Answers | Store::Slow(_) => {}
        }
        let mut room = self.0.room(task);
        if !room.stream {
            return Err(AdmitError::StreamNotFound);
        }
        room.permits += 1;
        room.log.push(Line::Permit);
        let (permit, revoker) = Permit::holding(Held(self.0.clone(), task)).with_revoker();
        room.revoker = Some(revoker);
        Ok(permit)
    }
}

struct Held(Arc<World>, Task);

impl Drop for Held {
    fn drop(&mut self) {
        let mut room = self.0.room(self.1);
        room.permits -= 1;
        room.revoker = None;
        room.log.push(Line::PermitBack);
    }
}

struct Puppet {
    world: Arc<World>,
    task: Task,
    plan: KidPlan,
    init: Init,
    /// Which run it is, once its `init` has begun, and what keeps that from having ended.
    life: Option<(u64, Lease)>,
}

impl Puppet {
    fn log(&self, line: impl FnOnce(KidId, u64) -> Line) {
        if let Some((run, _)) = &self.life {
            self.world.room(self.task).log.push(line(self.plan.id, *run));
        }
    }
}

#[async_trait]
impl Child for Puppet {
    async fn init(&mut self, cx: &mut Context) -> Result<Ready, BoxError> {
        self.life = Some((cx.child().incarnation.0, cx.lease()));
        self.log(Line::Init);
        match self.init {
            Init::Slow(time) => wait(time).await,
            Init::Ignore => return Ok(Ready::Ignore),
            Init::Error(time) => {
                wait(time).await;
                return Err("as told".into());
            }
            Init::Panic(time) => {
                wait(time).await;
                panic_as_told();
            }
            Init::FactoryPanic => {}
        }
        self.log(Line::Up);
        Ok(Ready::Ready)
    }

    async fn run(&mut self, cx: &mut Context) -> Result<Exit, BoxError> {
        cx.waiting();
        let (tell, told) = oneshot::channel();
        self.world.room(self.task).tells[self.plan.id] = Some(tell);
        match told.await {
            Ok(How::Normal) => Ok(Exit::Normal),
            Ok(How::Shutdown) => Ok(Exit::shutdown()),
            Ok(How::Error) => Err("as told".into()),
            Ok(How::Panic) => panic_as_told(),
            Ok(How::Hang) => {
                cx.working();
                std::future::pending().await
            }
            Err(_) => Err("nobody will ever tell this child to end".into()),
        }
    }

    async fn terminate(&mut self, _cx: &mut Context, _reason: &ExitReason) {
        self.log(Line::Terminate);
        wait(self.plan.terminate).await;
        if self.plan.fault == Some(Fault::TerminatePanics) {
            panic_as_told();
        }
    }
}

impl Drop for Puppet {
    fn drop(&mut self) {
        self.log(Line::Gone);
        let Some((_, lease)) = self.life.take() else { return };
        let lingers = self.plan.linger;
        if let (true, Ok(runtime)) = (lingers > 0, tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move {
                sleep(ms(lingers)).await;
                drop(lease);
            });
        }
        if self.plan.fault == Some(Fault::DropPanics) && !std::thread::panicking() {
            panic_as_told();
        }
    }
}

/// A panic that is no news, and so does not go by the hook.
fn panic_as_told() -> ! {
    resume_unwind(Box::new("as told"))
}

/// A wait of no length is none.
async fn wait(time: u64) {
    if time > 0 {
        sleep(ms(time)).await;
    }
}

pub fn ms(time: u64) -> Duration {
    Duration::from_millis(time)
}

pub fn number_of(task: &TaskId) -> Task {
    TASKS.iter().position(|name| *name == task.as_str()).unwrap()
}

pub fn kid_of(id: &ipa_supervisor::ChildId) -> KidId {
    KIDS.iter().position(|name| *name == id.as_str()).unwrap()
}
