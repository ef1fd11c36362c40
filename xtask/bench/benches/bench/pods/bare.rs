//! The limit: what somebody writes by hand on tokio who wants the same result and nothing else.
//!
//! It does: a name for the pod, taken before anything starts, and one for each child, in sharded maps, as guards; children from
//! factories that can make them again; started in order, each awaited until it is up; a start that is answered when all are; a child that
//! panics or fails is noticed and made again; stopped in reverse, each awaited; a stop that is answered when all is gone; a pod that
//! panics itself lets its children stop and its names go, and whoever waits for its stop is told. It does not:
//! restart limits, deadlines, kills, stuck children, events, metadata, dynamic children, errors with a cause.

use std::borrow::Borrow;
use std::collections::VecDeque;
use std::future::Future;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use parking_lot::{Mutex, RwLock};
use rustc_hash::FxBuildHasher;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use super::{CHILDREN, Pods};

/// Names in a sharded map. A name is hashed once, when it comes: the hash is kept with it, for when its table grows and when it goes.
pub struct Names<K, V> {
    shards: Vec<Arc<Shard<K, V>>>,
}

/// On cache lines of its own, so that the locks of two shards do not slow each other down.
#[repr(align(64))]
struct Shard<K, V>(RwLock<HashTable<Taken<K, V>>>);

struct Taken<K, V> {
    hash: u64,
    name: K,
    value: V,
}

fn hash<Q: Hash + ?Sized>(name: &Q) -> u64 {
    FxBuildHasher.hash_one(name)
}

impl<K: Hash + Eq + Clone, V: Clone> Names<K, V> {
    pub fn new() -> Self {
        Self { shards: (0..64).map(|_| Arc::new(Shard(RwLock::new(HashTable::new())))).collect() }
    }

    /// The shard of a hash. Not by its own bits: a table takes its tags from the highest and its buckets from the lowest, so the names
    /// of a shard would have them in common.
    fn shard(&self, hash: u64) -> &Arc<Shard<K, V>> {
        &self.shards[(hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58) as usize]
    }

    /// Takes the name, if it is free.
    pub fn take(&self, name: K, value: V) -> Option<Name<K, V>> {
        let hash = hash(&name);
        let shard = self.shard(hash);
        let mut table = shard.0.write();
        match table.entry(hash, |taken| taken.name == name, |taken| taken.hash) {
            Entry::Occupied(_) => None,
            Entry::Vacant(entry) => {
                entry.insert(Taken { hash, name: name.clone(), value });
                drop(table);
                Some(Name { shard: shard.clone(), hash, name })
            }
        }
    }

    pub fn get<Q: Hash + Eq + ?Sized>(&self, name: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let hash = hash(name);
        let table = self.shard(hash).0.read();
        table.find(hash, |taken| taken.name.borrow() == name).map(|taken| taken.value.clone())
    }

    pub fn list(&self) -> Vec<(K, V)> {
        let mut all = Vec::with_capacity(self.count());
        for shard in &self.shards {
            all.extend(shard.0.read().iter().map(|taken| (taken.name.clone(), taken.value.clone())));
        }
        all
    }

    pub fn count(&self) -> usize {
        self.shards.iter().map(|shard| shard.0.read().len()).sum()
    }
}

/// A name that is free again when this is dropped.
pub struct Name<K: Eq, V> {
    shard: Arc<Shard<K, V>>,
    hash: u64,
    name: K,
}

impl<K: Eq, V> Drop for Name<K, V> {
    fn drop(&mut self) {
        let mut table = self.shard.0.write();
        if let Ok(entry) = table.find_entry(self.hash, |taken| taken.name == self.name) {
            let (removed, _) = entry.remove();
            // Dropping name and value is not the shard's business.
            drop(table);
            drop(removed);
        }
    }
}

/// A mailbox that costs nothing while it is empty.
#[derive(Default)]
pub struct Mailbox {
    waiting: Mutex<Waiting>,
    wake: Notify,
}

#[derive(Default)]
struct Waiting {
    questions: VecDeque<(u64, oneshot::Sender<u64>)>,
    stopped: bool,
}

/// A question at which a child panics.
const CRASH: u64 = u64::MAX;

impl Mailbox {
    fn ask(&self, number: u64) -> oneshot::Receiver<u64> {
        let (reply, answer) = oneshot::channel();
        self.waiting.lock().questions.push_back((number, reply));
        self.wake.notify_one();
        answer
    }

    fn stop(&self) {
        self.waiting.lock().stopped = true;
        self.wake.notify_one();
    }
}

/// Makes a child, as often as need be, and spawns it; it says when it is up.
type Factory = Box<dyn Fn(Arc<Mailbox>, oneshot::Sender<()>) -> JoinHandle<()> + Send>;

async fn echo(mailbox: Arc<Mailbox>, up: oneshot::Sender<()>) {
    let _ = up.send(());
    loop {
        let (questions, stopped) = {
            let mut waiting = mailbox.waiting.lock();
            (std::mem::take(&mut waiting.questions), waiting.stopped)
        };
        for (number, reply) in questions {
            assert!(number != CRASH, "told to");
            let _ = reply.send(number);
        }
        if stopped {
            return;
        }
        mailbox.wake.notified().await;
    }
}

#[derive(Clone)]
pub struct Bare {
    pods: Arc<Names<Arc<str>, Arc<Pod>>>,
    children: Arc<Names<ChildName, Arc<Mailbox>>>,
}

/// The pod's, and which of its children.
type ChildName = (Arc<str>, &'static str);

/// What others see of a pod.
#[derive(Default)]
pub struct Pod {
    status: Mutex<Status>,
    stop: Notify,
}

#[derive(Default)]
struct Status {
    active: bool,
    gone: bool,
    /// Who waits until it is gone.
    waiting: Vec<oneshot::Sender<()>>,
}

/// As long as the pod's task is there. Whichever way that ends, nobody waits for ever; of one that has panicked nobody is told that it
/// has stopped.
struct Life(Arc<Pod>);

impl Drop for Life {
    fn drop(&mut self) {
        let waiting = {
            let mut status = self.0.status.lock();
            status.active = false;
            status.gone = true;
            std::mem::take(&mut status.waiting)
        };
        if !std::thread::panicking() {
            for waiting in waiting {
                let _ = waiting.send(());
            }
        }
    }
}

/// The child stops when this is dropped, by a panic of its pod, too.
struct Owned(Arc<Mailbox>);

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.stop();
    }
}

struct Running {
    factory: Factory,
    mailbox: Owned,
    name: Name<ChildName, Arc<Mailbox>>,
    task: JoinHandle<()>,
}

impl Bare {
    async fn up(&self, id: &Arc<str>, child: &'static str, factory: Factory) -> Running {
        let mailbox = Owned(Arc::default());
        let name = self.children.take((id.clone(), child), mailbox.0.clone()).expect("the name is free");
        let (up, is_up) = oneshot::channel();
        let task = factory(mailbox.0.clone(), up);
        is_up.await.expect("the child comes up");
        Running { factory, mailbox, name, task }
    }

    /// Starts the pod when something has been done that has to come before it, once its name is taken.
    pub async fn start_after(&self, id: String, first: impl Future<Output = ()>) {
        let (pod, id): (Arc<Pod>, Arc<str>) = (Arc::default(), id.into());
        let name = self.pods.take(id.clone(), pod.clone()).expect("the name is free");
        first.await;
        let (started, is_started) = oneshot::channel();
        tokio::spawn(self.clone().live(id, pod, name, started));
        is_started.await.expect("the pod starts");
    }

    async fn live(
        self,
        id: Arc<str>,
        pod: Arc<Pod>,
        name: Name<Arc<str>, Arc<Pod>>,
        started: oneshot::Sender<()>,
    ) {
        let life = Life(pod);
        let mut children = Vec::with_capacity(CHILDREN.len());
        for child in CHILDREN {
            let factory: Factory = Box::new(|mailbox, up| tokio::spawn(echo(mailbox, up)));
            children.push(self.up(&id, child, factory).await);
        }
        life.0.status.lock().active = true;
        let _ = started.send(());
        loop {
            // The first child that ends, or the stop.
            let ended = std::future::poll_fn(|cx| {
                for (n, child) in children.iter_mut().enumerate() {
                    if std::pin::Pin::new(&mut child.task).poll(cx).is_ready() {
                        return std::task::Poll::Ready(n);
                    }
                }
                std::task::Poll::Pending
            });
            tokio::select! {
                biased;
                () = life.0.stop.notified() => break,
                n = ended => {
                    let Running { factory, name, .. } = children.remove(n);
                    drop(name);
                    children.insert(n, self.up(&id, CHILDREN[n], factory).await);
                }
            }
        }
        life.0.status.lock().active = false;
        while let Some(Running { mailbox, name, task, .. }) = children.pop() {
            drop(mailbox);
            let _ = task.await;
            drop(name);
        }
        drop(name);
        drop(life);
    }
}

impl Pods for Bare {
    async fn new() -> Self {
        Self { pods: Arc::new(Names::new()), children: Arc::new(Names::new()) }
    }

    async fn start(&self, id: String) {
        self.start_after(id, std::future::ready(())).await;
    }

    async fn stop(&self, id: String) {
        let pod = self.pods.get(&*id).expect("the pod runs");
        let (gone, is_gone) = oneshot::channel();
        {
            let mut status = pod.status.lock();
            if status.gone {
                return;
            }
            status.waiting.push(gone);
        }
        pod.stop.notify_one();
        is_gone.await.expect("the pod stops");
    }

    /// That a child which panics is made again is no part of what is measured of a pod; that it is, is seen to here.
    async fn check(&self) {
        let id = "checked";
        self.start(id.to_owned()).await;
        let work = (Arc::from(id), CHILDREN[1]);
        let first = self.children.get(&work).expect("the child runs");
        assert_eq!(first.ask(7).await, Ok(7));
        assert!(first.ask(CRASH).await.is_err());
        let second = loop {
            match self.children.get(&work) {
                Some(again) if !Arc::ptr_eq(&again, &first) => break again,
                _ => tokio::task::yield_now().await,
            }
        };
        assert_eq!(second.ask(8).await, Ok(8));
        assert_eq!((self.pods.count(), self.children.count()), (1, CHILDREN.len()));
        self.stop(id.to_owned()).await;
        assert_eq!((self.pods.count(), self.children.count()), (0, 0));
    }

    fn runs(&self, id: &str) -> bool {
        self.pods.get(id).is_some()
    }

    fn count(&self) -> usize {
        self.pods.count()
    }
}
