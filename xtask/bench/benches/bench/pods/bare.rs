//! The limit: what somebody writes by hand on tokio who wants the same result and nothing else.
//!
//! It does: a name for the pod, taken before anything starts, and one for each child, in sharded maps, as guards; children from
//! factories that can make them again; started in order, each awaited until it is up; a start that is answered when all are; a child that
//! panics or fails is noticed and made again; stopped in reverse, each awaited; a stop that is answered when all is gone. It does not:
//! restart limits, deadlines, kills, stuck children, events, metadata, dynamic children, errors with a cause.

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use rustc_hash::{FxBuildHasher, FxHashMap};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use super::{CHILDREN, Pods};

/// Names in a sharded map.
pub struct Names<V> {
    shards: Vec<RwLock<FxHashMap<Arc<str>, V>>>,
}

impl<V: Clone> Names<V> {
    pub fn new() -> Self {
        Self { shards: (0..64).map(|_| RwLock::default()).collect() }
    }

    fn shard(&self, name: &str) -> &RwLock<FxHashMap<Arc<str>, V>> {
        // The upper bits: the map below uses the lower ones.
        &self.shards[(FxBuildHasher.hash_one(name) >> 58) as usize]
    }

    /// Takes the name, if it is free.
    pub fn take(self: &Arc<Self>, name: Arc<str>, value: V) -> Option<Name<V>> {
        let mut shard = self.shard(&name).write();
        match shard.entry(name.clone()) {
            std::collections::hash_map::Entry::Occupied(_) => None,
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(value);
                drop(shard);
                Some(Name { names: self.clone(), name })
            }
        }
    }

    pub fn get(&self, name: &str) -> Option<V> {
        self.shard(name).read().get(name).cloned()
    }

    pub fn list(&self) -> Vec<(Arc<str>, V)> {
        let mut all = Vec::with_capacity(self.count());
        for shard in &self.shards {
            all.extend(shard.read().iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        all
    }

    pub fn count(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().len()).sum()
    }
}

/// A name that is free again when this is dropped.
pub struct Name<V: Clone> {
    names: Arc<Names<V>>,
    name: Arc<str>,
}

impl<V: Clone> Drop for Name<V> {
    fn drop(&mut self) {
        let removed = self.names.shard(&self.name).write().remove(&self.name);
        drop(removed);
    }
}

/// A mailbox that costs nothing while it is empty.
#[derive(Default)]
pub struct Mailbox {
    queue: Mutex<VecDeque<(u64, oneshot::Sender<u64>)>>,
    stopped: Mutex<bool>,
    wake: Notify,
}

impl Mailbox {
    fn stop(&self) {
        *self.stopped.lock() = true;
        self.wake.notify_one();
    }
}

/// Makes a child, as often as need be, and spawns it; it says when it is up.
type Factory = Box<dyn Fn(Arc<Mailbox>, oneshot::Sender<()>) -> JoinHandle<()> + Send>;

async fn echo(mailbox: Arc<Mailbox>, up: oneshot::Sender<()>) {
    let _ = up.send(());
    loop {
        while let Some((number, reply)) = { mailbox.queue.lock().pop_front() } {
            let _ = reply.send(number);
        }
        if *mailbox.stopped.lock() {
            return;
        }
        mailbox.wake.notified().await;
    }
}

#[derive(Clone)]
pub struct Bare {
    pods: Arc<Names<Arc<Pod>>>,
    children: Arc<Names<Arc<Mailbox>>>,
}

/// What others see of a pod.
#[derive(Default)]
pub struct Pod {
    active: Mutex<bool>,
    stop: Notify,
    gone: Mutex<Vec<oneshot::Sender<()>>>,
}

struct Running {
    factory: Factory,
    mailbox: Arc<Mailbox>,
    name: Option<Name<Arc<Mailbox>>>,
    task: JoinHandle<()>,
}

impl Bare {
    async fn up(&self, id: &str, child: &str, factory: Factory) -> Running {
        let mailbox = Arc::new(Mailbox::default());
        let name = self.children.take(format!("{id}/{child}").into(), mailbox.clone());
        let (up, is_up) = oneshot::channel();
        let task = factory(mailbox.clone(), up);
        is_up.await.expect("the child comes up");
        Running { factory, mailbox, name, task }
    }

    async fn live(self, id: Arc<str>, pod: Arc<Pod>, name: Name<Arc<Pod>>, started: oneshot::Sender<()>) {
        let mut children = Vec::with_capacity(CHILDREN.len());
        for child in CHILDREN {
            let factory: Factory = Box::new(|mailbox, up| tokio::spawn(echo(mailbox, up)));
            children.push(self.up(&id, child, factory).await);
        }
        *pod.active.lock() = true;
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
                () = pod.stop.notified() => break,
                n = ended => {
                    let child = children.remove(n);
                    drop(child.name);
                    children.insert(n, self.up(&id, CHILDREN[n], child.factory).await);
                }
            }
        }
        *pod.active.lock() = false;
        while let Some(child) = children.pop() {
            child.mailbox.stop();
            let _ = child.task.await;
            drop(child.name);
        }
        drop(name);
        let gone = std::mem::take(&mut *pod.gone.lock());
        for waiting in gone {
            let _ = waiting.send(());
        }
    }
}

impl Pods for Bare {
    async fn new() -> Self {
        Self { pods: Arc::new(Names::new()), children: Arc::new(Names::new()) }
    }

    async fn start(&self, id: String) {
        let (pod, id): (Arc<Pod>, Arc<str>) = (Arc::default(), id.into());
        let name = self.pods.take(id.clone(), pod.clone()).expect("the name is free");
        let (started, is_started) = oneshot::channel();
        tokio::spawn(self.clone().live(id, pod, name, started));
        is_started.await.expect("the pod starts");
    }

    async fn stop(&self, id: String) {
        let pod = self.pods.get(&id).expect("the pod runs");
        let (gone, is_gone) = oneshot::channel();
        pod.gone.lock().push(gone);
        pod.stop.notify_one();
        is_gone.await.expect("the pod stops");
    }

    fn runs(&self, id: &str) -> bool {
        self.pods.get(id).is_some()
    }

    fn count(&self) -> usize {
        self.pods.count()
    }
}
