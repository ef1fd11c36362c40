//! The worker: one life of the process that is killed, from the store that the life before left to the next kill, or to an end in good
//! order.

mod driver;
mod faulty;
mod follow;
mod inspect;
mod ledger;
mod pod;
mod witness;
mod world;

use std::error::Error;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipa_eventstore::{EventStore, SqliteEventStore};
use ipa_pod::{PodScope, PodStats, PodSupervisor, PodSupervisorRef};
use tokio::runtime::Handle;
use tokio::sync::{RwLock, watch};
use tokio::task::JoinSet;

use self::driver::{Driver, events};
use self::faulty::Faulty;
use self::inspect::Inspector;
use self::witness::Witnessed;
use self::world::{Tally, World};
use crate::random::Random;
use crate::wire::{Line, Sample};

/// What the errors and panics that were ordered say.
const AS_ORDERED: &str = "as ordered by the soak";

/// How many act at once.
const DRIVERS: u64 = 64;

/// What a worker is told.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The store.
    #[arg(long)]
    pub store: std::path::PathBuf,
    /// Which life it is, from 1.
    #[arg(long)]
    pub life: u64,
    /// What this life does follows from it.
    #[arg(long)]
    pub seed: u64,
    /// How many tasks there are.
    #[arg(long)]
    pub pods: usize,
    /// How often there is a sample.
    #[arg(long)]
    pub sample_ms: u64,
    /// How often there is a quiet moment.
    #[arg(long)]
    pub quiet_ms: u64,
}

/// Lives a life, until standard input is closed.
///
/// # Errors
///
/// When the store cannot be opened or read, or the pods' supervisor does not start.
pub fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    hush();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(live(options))
}

/// Panics that were ordered are not printed.
fn hush() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !info.payload_as_str().is_some_and(|text| text.contains(AS_ORDERED)) {
            print(info);
        }
    }));
}

async fn live(options: &Options) -> Result<(), Box<dyn Error>> {
    let begun = Instant::now();
    let mut end = until_closed();
    let tally = Arc::<Tally>::default();
    let store = SqliteEventStore::open(&options.store).await?;
    let world = Arc::new(World::new(store.clone(), options.pods, options.life, tally.clone())?);
    events::take_stock(&world).await?;

    let (followed, follower) = follow::store(world.clone()).await?;
    let faulty: Arc<dyn EventStore> = Arc::new(Faulty::new(store.clone(), tally.clone(), options.seed));
    let pods = PodSupervisor::builder(Witnessed::new(world.clone(), faulty.clone()), {
        let world = world.clone();
        move |scope: &PodScope| pod::spec(&world, &faulty, scope)
    })
    .registry(world.registry.clone())
    .start()
    .await?;
    let lifecycle = tokio::spawn(follow::pods(tally.clone(), pods.subscribe()));
    let gate = Arc::new(RwLock::new(()));
    let (stop, stopped) = watch::channel(false);
    let sampler = tokio::spawn(samples(
        world.clone(),
        pods.downgrade(),
        begun,
        Duration::from_millis(options.sample_ms),
    ));

    let mut drivers = JoinSet::new();
    // Shared out, so that thousands of pods are up within seconds.
    for number in 0..DRIVERS {
        let mut driver = Driver {
            world: world.clone(),
            pods: pods.downgrade(),
            random: Random::of(options.seed, number),
            gate: gate.clone(),
        };
        let stopped = stopped.clone();
        drivers.spawn(async move {
            let (world, mut quick) = (driver.world.clone(), stopped.clone());
            for task in world.tasks.iter().skip(number as usize).step_by(DRIVERS as usize) {
                if *quick.borrow_and_update() {
                    return;
                }
                let _acting = driver.gate.clone().read_owned().await;
                driver.begin(task).await;
            }
            driver.run(stopped).await;
        });
    }
    // The follower of the store, of the pods, the sampler, the pods' supervisor, and the drivers.
    let inspector = |drivers: usize, own: usize| Inspector {
        world: world.clone(),
        pods: pods.downgrade(),
        followed: followed.clone(),
        own_tasks: own + drivers,
    };
    let acting = inspector(drivers.len(), 4);
    loop {
        tokio::select! {
            _ = &mut end => break,
            () = tokio::time::sleep(Duration::from_millis(options.quiet_ms)) => {}
        }
        let _quiet = gate.write().await;
        acting.inspect().await;
    }

    // The end: everybody stops acting, the pods go, and nothing may be left.
    stop.send_replace(true);
    while drivers.join_next().await.is_some() {}
    inspector(0, 4).inspect().await;
    shut_down(&world, &pods).await;
    let stats = pods.stats();
    drop(pods);
    let _ = lifecycle.await;
    nothing_is_left(&world).await;
    events::take_stock(&world).await?;
    sampler.abort();
    let _ = sampler.await;
    let last = sample(&world, &stats, begun);
    drop(followed);
    store.close().await?;
    let _ = follower.await;
    let tasks = Handle::current().metrics().num_alive_tasks();
    world.check("nothing is left at the end", tasks == 0, || {
        format!("{tasks} tasks are alive after all has ended")
    });
    world.say(&Line::Sample(Sample { tasks: tasks as u64, ..last }));
    world.say(&Line::Ended);
    Ok(())
}

/// Resolves when standard input is closed: by the parent, or because there is none any more.
fn until_closed() -> tokio::sync::oneshot::Receiver<()> {
    let (closed, end) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok(1..) = std::io::stdin().read(&mut buffer) {}
        let _ = closed.send(());
    });
    end
}

async fn shut_down(world: &World, pods: &PodSupervisor) {
    let begun = Instant::now();
    let down = tokio::time::timeout(Duration::from_secs(120), pods.shutdown()).await;
    world.tally.took("shutdown", begun.elapsed());
    world.check("the shutdown leaves nobody", matches!(down, Ok(Ok(()))), || format!("{down:?}"));
}

/// No pod, no child, no lease: what lives by one would have a token or a key.
async fn nothing_is_left(world: &World) {
    let registry = &world.registry;
    let left = [
        ("pods registered", registry.pods().count()),
        ("children registered", registry.children().count()),
        ("labels", registry.labels().count()),
        ("pods alive", world.tasks.iter().filter(|task| task.witness.pod() != 0).count()),
        (
            "children alive",
            world
                .tasks
                .iter()
                .map(|task| {
                    (0..witness::CHILDREN.len()).filter(|place| task.witness.child(*place) != 0).count()
                })
                .sum(),
        ),
        ("processes alive", own_processes()),
    ];
    world.check("nothing is left at the end", left.iter().all(|(_, count)| *count == 0), || {
        format!("{left:?}")
    });
}

/// How many processes have this one for a parent; 0 where the system does not tell.
fn own_processes() -> usize {
    let me = std::process::id().to_string();
    let Ok(processes) = std::fs::read_dir(Path::new("/proc")) else { return 0 };
    processes
        .flatten()
        .filter(|process| {
            // The name, in parentheses, may contain anything; after its end come state and parent.
            let stat = std::fs::read_to_string(process.path().join("stat")).unwrap_or_default();
            stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)) == Some(&me)
        })
        .count()
}

async fn samples(world: Arc<World>, pods: PodSupervisorRef, begun: Instant, every: Duration) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        world.say(&Line::Sample(sample(&world, &pods.stats(), begun)));
    }
}

fn sample(world: &World, stats: &PodStats, begun: Instant) -> Sample {
    let (mut counts, checks, slowest) = world.tally.now();
    for (name, total) in [
        ("starts that made a pod active", stats.started_total),
        ("starts that failed", stats.start_failures_total),
        ("pods ended", stats.ended_total),
        ("children restarted", stats.child_restarts_total),
        ("pods stuck", stats.stuck_total),
    ] {
        counts.insert(name.to_owned(), total);
    }
    let restarted = counts.get("pods restarted").copied().unwrap_or(0);
    Sample {
        ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        resident: resident(),
        tasks: Handle::current().metrics().num_alive_tasks() as u64,
        pods: (stats.starting + stats.active + stats.stopping + stats.stuck) as u64,
        restarts: stats.child_restarts_total + restarted,
        counts,
        checks,
        slowest,
    }
}

/// The resident memory in bytes; 0 where the system does not tell.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.as_deref().and_then(|statm| statm.split(' ').nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}
