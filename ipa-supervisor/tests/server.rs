//! Mailbox servers: when the mailbox closes, where it is published, and whose task a restart goes on on.

mod stage;

use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use ipa_supervisor::{
    Address, BoxError, ChildId, ChildRef, ChildSpec, Context, Directory, DynamicSupervisor, Entry, Exit,
    Flow, Init, Published, Restart, RestartIntensity, Server, ServerContext, Shutdown, StopMode, Supervisor,
    async_trait,
};
use stage::settle;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// What a server is to do.
#[derive(Clone, Copy)]
enum Do {
    Stop,
    Fail,
    Panic,
}

/// A server that says whether its mailbox was open when it was dropped.
struct Watchful {
    own: Arc<OnceLock<Address<Do>>>,
    open: Arc<Mutex<Vec<bool>>>,
}

impl Drop for Watchful {
    fn drop(&mut self) {
        let is_open = self.own.get().is_some_and(Address::is_up);
        self.open.lock().unwrap().push(is_open);
    }
}

#[async_trait]
impl Server for Watchful {
    type Message = Do;

    async fn handle(&mut self, what: Do, _cx: &mut ServerContext<Do>) -> Result<Flow, BoxError> {
        match what {
            Do::Stop => Ok(Flow::Stop(Exit::Normal)),
            Do::Fail => Err("told to".into()),
            Do::Panic => panic!("told to"),
        }
    }
}

/// Whatever a server ends by, its mailbox is closed before the server itself is dropped, which may take its time: who waits for an answer is
/// not kept waiting for that.
#[tokio::test(start_paused = true)]
async fn a_mailbox_closes_before_its_server_goes() {
    let supervisor = DynamicSupervisor::builder().start().await.unwrap();
    for told in [Some(Do::Stop), Some(Do::Fail), Some(Do::Panic), None] {
        for shutdown in [Shutdown::BrutalKill, Shutdown::Infinity] {
            let (own, open) = (Arc::new(OnceLock::new()), Arc::new(Mutex::new(Vec::new())));
            let made = (own.clone(), open.clone());
            let (spec, address) =
                ChildSpec::server("w", move || Watchful { own: made.0.clone(), open: made.1.clone() });
            let spec = spec.restart(Restart::Temporary).shutdown(shutdown).terminate_after_panic(false);
            let child = supervisor.start_child(spec).await.unwrap().child().unwrap();
            assert!(own.set(address.clone()).is_ok() && address.is_up());
            match told {
                Some(what) => address.cast(what).await.unwrap(),
                None => supervisor.terminate_child(&child).await.unwrap(),
            }
            settle().await;
            assert_eq!(*open.lock().unwrap(), [false]);
        }
    }
    supervisor.shutdown().await.unwrap();
}

/// A server that is to finish its message on a stop has nothing to finish while it waits for one.
#[tokio::test(start_paused = true)]
async fn an_idle_cooperative_server_stops_at_once() {
    let (own, open) = (Arc::new(OnceLock::new()), Arc::new(Mutex::new(Vec::new())));
    let (spec, _address) = ChildSpec::server("w", move || Watchful { own: own.clone(), open: open.clone() });
    let supervisor =
        Supervisor::builder().child(spec.stop_mode(StopMode::Cooperative)).start().await.unwrap();
    settle().await;
    let begun = Instant::now();
    supervisor.terminate_child("w").await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO);
    supervisor.shutdown().await.unwrap();
}

/// A server whose `init` puts the context of another in place of its own is what it was: its address is published under its own name.
#[tokio::test(start_paused = true)]
async fn a_server_that_takes_the_context_of_another_publishes_as_itself() {
    struct Takes(Context);
    #[async_trait]
    impl Server for Takes {
        type Message = ();
        fn init<'this, 'cx, 'init>(
            &'this mut self,
            cx: &'cx mut ServerContext<()>,
        ) -> Pin<Box<dyn Future<Output = Result<Init, BoxError>> + Send + 'init>>
        where
            'this: 'init,
            'cx: 'init,
            Self: 'init,
        {
            **cx = self.0.clone();
            Box::pin(std::future::ready(Ok(Init::Ready)))
        }
        async fn handle(&mut self, (): (), _cx: &mut ServerContext<()>) -> Result<Flow, BoxError> {
            Ok(Flow::Continue)
        }
    }
    /// Under which names anything was published.
    #[derive(Clone, Default)]
    struct Names(Arc<Mutex<Vec<ChildId>>>);
    struct Name(ChildId, Names);
    impl Directory for Names {
        fn enter(&self, child: &ChildRef) -> Result<Arc<dyn Entry>, BoxError> {
            Ok(Arc::new(Name(child.id.clone(), self.clone())))
        }
    }
    impl Entry for Name {
        fn publish(&self, _address: Published) {
            self.1.0.lock().unwrap().push(self.0.clone());
        }
    }
    let (tell, mut told) = mpsc::unbounded_channel();
    let gives = ChildSpec::task("gives", move |cx| {
        let _ = tell.send(cx.clone());
        async move { drop(cx.stopped().await) }
    });
    let names = Names::default();
    let supervisor =
        Supervisor::builder().directory(Arc::new(names.clone())).child(gives).start().await.unwrap();
    let other = told.recv().await.unwrap();
    let (takes, _address) = ChildSpec::server("takes", move || Takes(other.clone()));
    let _ = supervisor.start_child(takes.stop_mode(StopMode::Cooperative)).await.unwrap();
    assert_eq!(*names.0.lock().unwrap(), ["takes".into()]);
    // And it is stopped as what it is.
    settle().await;
    let begun = Instant::now();
    supervisor.terminate_child("takes").await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

/// A server that has waited for its first message is restarted on its own task, however soon it fails then, as it has let its worker go.
#[tokio::test(start_paused = true)]
async fn a_server_that_fails_at_its_first_message_goes_on_on_its_task() {
    struct Fails(mpsc::UnboundedSender<tokio::task::Id>);
    #[async_trait]
    impl Server for Fails {
        type Message = ();
        async fn handle(&mut self, (): (), _cx: &mut ServerContext<()>) -> Result<Flow, BoxError> {
            self.0.send(tokio::task::id())?;
            Err("told to".into())
        }
    }
    let (tasks, mut on) = mpsc::unbounded_channel();
    let (spec, address) = ChildSpec::server("f", move || Fails(tasks.clone()));
    let often = RestartIntensity::new(9, Duration::from_secs(1));
    let supervisor = Supervisor::builder().child(spec).intensity(often).start().await.unwrap();
    let mut runs_on = async || {
        settle().await;
        address.cast(()).await.unwrap();
        on.recv().await.unwrap()
    };
    let first = runs_on().await;
    assert_eq!([runs_on().await, runs_on().await], [first; 2]);
    supervisor.shutdown().await.unwrap();
}
