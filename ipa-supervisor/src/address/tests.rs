use async_trait::async_trait;

use super::*;
use crate::sync::Mutex;
use crate::{
    BoxError, ChildSpec, ExitReason, Flow, Restart, Server, ServerContext, Settings, StopMode, Supervisor,
};

enum Msg {
    Get(Reply<u64>),
    Add(u64),
    /// Answers `true` by another way, then waits for ever.
    Hang(Reply<()>, oneshot::Sender<()>),
    Crash,
    CallSelf(Reply<Result<u64, CallError>>),
    /// Answers how many of so many casts to itself were queued.
    CastSelf(u64, Reply<u64>),
}

struct Counter(u64);

#[async_trait]
impl Server for Counter {
    type Message = Msg;

    async fn handle(&mut self, message: Msg, cx: &mut ServerContext<Msg>) -> Result<Flow, BoxError> {
        match message {
            Msg::Get(reply) => reply.send(self.0),
            Msg::Add(n) => self.0 += n,
            Msg::Hang(_reply, reached) => {
                let _ = reached.send(());
                std::future::pending::<()>().await;
            }
            Msg::Crash => panic!("as asked"),
            Msg::CallSelf(reply) => reply.send(cx.address().call(Msg::Get).await),
            Msg::CastSelf(casts, reply) => {
                let mut queued = 0;
                for _ in 0..casts {
                    match cx.address().cast(Msg::Add(1)).await {
                        Ok(()) => queued += 1,
                        Err(error) => assert!(matches!(error, CastError::Full(Msg::Add(1)))),
                    }
                }
                reply.send(queued);
            }
        }
        Ok(Flow::Continue)
    }
}

async fn counter(mailbox: Mailbox) -> (Supervisor, Address<Msg>) {
    let (spec, address) = ChildSpec::server_with("counter", mailbox, || Counter(0));
    (Supervisor::builder().child(spec.restart(Restart::Permanent)).start().await.unwrap(), address)
}

#[tokio::test(start_paused = true)]
async fn calls_and_casts_are_handled_in_order() {
    let (_supervisor, address) = counter(Mailbox::default()).await;
    for n in 1..=10 {
        address.cast(Msg::Add(n)).await.unwrap();
    }
    address.info(Msg::Add(100)).unwrap();
    assert_eq!(address.call(Msg::Get).await, Ok(155));
    assert_eq!(address.dropped_casts(), 0);
}

/// CR-18 PL-39 an address leads to the next incarnation, whose mailbox is new and whose state is fresh.
#[tokio::test(start_paused = true)]
async fn an_address_survives_a_restart_and_what_was_queued_does_not() {
    let (_supervisor, address) = counter(Mailbox::default()).await;
    let (reached, at_hang) = oneshot::channel();
    let running = tokio::spawn({
        let address = address.clone();
        async move { address.call(|reply| Msg::Hang(reply, reached)).await }
    });
    at_hang.await.unwrap();
    address.cast(Msg::Add(7)).await.unwrap();
    address.cast(Msg::Add(7)).await.unwrap();
    let queued = tokio::spawn({
        let address = address.clone();
        async move { address.call(Msg::Get).await }
    });
    tokio::task::yield_now().await;
    let before = tokio::time::Instant::now();
    _supervisor.terminate_child("counter").await.unwrap();
    assert_eq!(running.await.unwrap(), Err(CallError::Gone));
    assert_eq!(queued.await.unwrap(), Err(CallError::Gone));
    assert_eq!(before.elapsed(), Duration::ZERO, "at once, not at the call's deadline");
    assert_eq!(address.dropped_casts(), 2);
    assert_eq!(address.call(Msg::Get).await, Err(CallError::Gone));
    assert!(!address.is_up());
    let _ = _supervisor.restart_child("counter").await.unwrap();
    assert_eq!(address.call(Msg::Get).await, Ok(0));
}

#[tokio::test(start_paused = true)]
async fn a_call_in_a_server_that_crashes_is_gone_at_once() {
    let (supervisor, address) = counter(Mailbox::default()).await;
    address.cast(Msg::Crash).await.unwrap();
    assert_eq!(address.call(Msg::Get).await, Err(CallError::Gone));
    let up = loop {
        let child = supervisor.which_child("counter").await.unwrap().unwrap();
        if child.state == crate::ChildState::Running && child.child.incarnation.0 == 2 {
            break child;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(up.restarts, 1);
    assert_eq!(address.call(Msg::Get).await, Ok(0));
}

#[tokio::test(start_paused = true)]
async fn a_call_has_a_deadline_of_five_seconds() {
    let (_supervisor, address) = counter(Mailbox::default()).await;
    let before = tokio::time::Instant::now();
    let result = address.call(|reply| Msg::Hang(reply, oneshot::channel().0)).await;
    assert_eq!(result, Err(CallError::TimedOut(Duration::from_secs(5))));
    assert_eq!(before.elapsed(), Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_full_mailbox_refuses_or_makes_wait_as_it_was_told() {
    for when_full in [WhenFull::Refuse, WhenFull::Wait] {
        let (_supervisor, address) = counter(Mailbox { capacity: 1, when_full }).await;
        let (reached, at_hang) = oneshot::channel();
        address.cast(Msg::Hang(Reply(oneshot::channel().0), reached)).await.unwrap();
        at_hang.await.unwrap();
        address.cast(Msg::Add(1)).await.unwrap();
        let third = tokio::time::timeout(Duration::from_secs(1), address.cast(Msg::Add(1))).await;
        match when_full {
            WhenFull::Refuse => assert!(matches!(third, Ok(Err(CastError::Full(Msg::Add(1)))))),
            WhenFull::Wait => assert!(third.is_err(), "it waits"),
        }
        address.info(Msg::Add(1)).unwrap();
    }
}

/// RT-20 a server that calls itself is told so, instead of waiting for its own deadline.
#[tokio::test(start_paused = true)]
async fn a_server_that_calls_itself_is_refused() {
    let (_supervisor, address) = counter(Mailbox::default()).await;
    let before = tokio::time::Instant::now();
    assert_eq!(address.call(Msg::CallSelf).await, Ok(Err(CallError::WouldDeadlock)));
    assert_eq!(before.elapsed(), Duration::ZERO);
}

/// RT-20 a server whose mailbox is full would wait for itself in a cast to itself, for ever: it is told that it is full.
#[tokio::test(start_paused = true)]
async fn a_server_that_casts_to_itself_does_not_wait_for_a_place() {
    let (_supervisor, address) = counter(Mailbox { capacity: 2, when_full: WhenFull::Wait }).await;
    let before = tokio::time::Instant::now();
    assert_eq!(address.call(|reply| Msg::CastSelf(5, reply)).await, Ok(2));
    assert_eq!(address.call(Msg::Get).await, Ok(2), "and others wait for their places");
    assert_eq!(before.elapsed(), Duration::ZERO);
}

/// In a mailbox without places nobody waits for one.
#[tokio::test(start_paused = true)]
async fn a_mailbox_without_places_refuses() {
    let (_supervisor, address) = counter(Mailbox { capacity: 0, when_full: WhenFull::Wait }).await;
    let before = tokio::time::Instant::now();
    assert!(matches!(address.cast(Msg::Add(1)).await, Err(CastError::Full(Msg::Add(1)))));
    assert_eq!(address.call(Msg::Get).await, Err(CallError::Full));
    assert_eq!(before.elapsed(), Duration::ZERO);
    address.info(Msg::Add(1)).unwrap();
}

/// RT-25 a cooperative server finishes the message it is at, and takes no further one.
#[tokio::test(start_paused = true)]
async fn a_cooperative_server_finishes_its_message() {
    struct Slow(Arc<Mutex<Vec<u32>>>);
    #[async_trait]
    impl Server for Slow {
        type Message = u32;
        async fn handle(&mut self, message: u32, _cx: &mut ServerContext<u32>) -> Result<Flow, BoxError> {
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.0.lock().push(message);
            Ok(Flow::Continue)
        }
        async fn terminate(&mut self, _cx: &mut ServerContext<u32>, _reason: &ExitReason) {
            self.0.lock().push(0);
        }
        fn defaults() -> Settings {
            Settings { stop_mode: Some(StopMode::Cooperative), ..Settings::default() }
        }
    }
    let handled = Arc::new(Mutex::new(Vec::new()));
    let (spec, address) = ChildSpec::server("slow", {
        let handled = handled.clone();
        move || Slow(handled.clone())
    });
    let supervisor = Supervisor::builder().child(spec).start().await.unwrap();
    address.cast(1).await.unwrap();
    address.cast(2).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    supervisor.shutdown().await.unwrap();
    assert_eq!(*handled.lock(), [1, 0]);
    assert_eq!(address.dropped_casts(), 1);
}

/// A published address is found by its type and by no other, and named by it in errors.
#[test]
fn a_published_address_is_the_address() {
    let address = Address::<Msg>::new(Mailbox::default());
    let published = Reader::new(&address).published();
    let found = published.get::<Address<Msg>>().unwrap();
    assert!(Arc::ptr_eq(&found.0, &address.0));
    assert!(published.get::<Address<u32>>().is_none());
    assert!(published.get::<u32>().is_none());
    assert_eq!(published.type_name(), std::any::type_name::<Address<Msg>>());
    assert_eq!(Published::new(7_u32).get::<u32>(), Some(7));
    assert!(Published::new(7_u32).get::<Address<Msg>>().is_none());
}

fn opened(address: &Address<u32>) -> Reader<u32> {
    let reader = Reader::new(address);
    reader.open(false);
    reader
}

fn next<M: Send + 'static>(reader: &Reader<M>, cx: &task::Context<'_>) -> Poll<M> {
    reader.poll_next(cx, None::<fn(bool) -> bool>)
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut task::Context::from_waker(task::Waker::noop()))
}

/// Who stands in line for a place of one incarnation, even one that has got it, does not get into the mailbox of the next.
#[test]
fn who_waits_for_a_place_is_not_let_in_by_the_next_incarnation() {
    for has_got_it in [false, true] {
        let address = Address::new(Mailbox { capacity: 1, when_full: WhenFull::Wait });
        let reader = opened(&address);
        assert!(poll(pin!(address.cast(1))).is_ready());
        let (mut first, mut second) = (pin!(address.cast(2)), pin!(address.cast(3)));
        assert!(poll(first.as_mut()).is_pending());
        assert!(poll(second.as_mut()).is_pending());
        if has_got_it {
            let taken = next(&reader, &task::Context::from_waker(task::Waker::noop()));
            assert_eq!(taken, Poll::Ready(1));
        }
        drop(reader);
        assert_eq!(address.dropped_casts(), u64::from(!has_got_it));
        let reader = opened(&address);
        assert!(matches!(poll(first.as_mut()), Poll::Ready(Err(CastError::Gone(2)))));
        assert!(matches!(poll(second.as_mut()), Poll::Ready(Err(CastError::Gone(3)))));
        // The next one's places are all there, and its line is a new one.
        assert!(poll(pin!(address.cast(4))).is_ready());
        let mut waiting = pin!(address.cast(5));
        assert!(poll(waiting.as_mut()).is_pending());
        let cx = task::Context::from_waker(task::Waker::noop());
        assert_eq!(next(&reader, &cx), Poll::Ready(4));
        assert!(matches!(poll(waiting), Poll::Ready(Ok(()))));
        assert_eq!(next(&reader, &cx), Poll::Ready(5));
        assert_eq!(next(&reader, &cx), Poll::Pending);
    }
}

/// Whoever leaves the line of an incarnation that has ended leaves the next one's alone.
#[test]
fn leaving_an_old_line_changes_nothing_in_the_new_one() {
    let address = Address::new(Mailbox { capacity: 1, when_full: WhenFull::Wait });
    let reader = opened(&address);
    assert!(poll(pin!(address.cast(1))).is_ready());
    let mut old = Box::pin(address.cast(2));
    assert!(poll(old.as_mut()).is_pending());
    drop(reader);
    let reader = opened(&address);
    assert!(poll(pin!(address.cast(3))).is_ready());
    let mut new = pin!(address.cast(4));
    assert!(poll(new.as_mut()).is_pending());
    drop(old);
    let cx = task::Context::from_waker(task::Waker::noop());
    assert_eq!(next(&reader, &cx), Poll::Ready(3));
    let mut last = pin!(address.cast(5));
    assert!(poll(last.as_mut()).is_pending(), "the place is that of who stands in line");
    assert!(matches!(poll(new), Poll::Ready(Ok(()))));
}

/// RT-01 a reader that is to step back does so once, whether there is a message or not: what comes between its look and its taking one is not
/// taken in the same turn. What is there stays there, to be counted should the incarnation end before.
#[test]
fn a_reader_that_steps_back_takes_nothing_at_once() {
    struct Wakes(AtomicU64);
    impl task::Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let wakes = Arc::new(Wakes(AtomicU64::new(0)));
    let waker = task::Waker::from(wakes.clone());
    let cx = task::Context::from_waker(&waker);
    let address = Address::<u32>::new(Mailbox::default());
    for (there, woken) in [(true, 1), (false, 2)] {
        let reader = Reader::new(&address);
        reader.open(true);
        if there {
            address.info(1).unwrap();
        }
        assert_eq!(next(&reader, &cx), Poll::Pending);
        if !there {
            address.info(1).unwrap();
        }
        assert_eq!(wakes.0.load(Ordering::Relaxed), woken, "by itself, or by what came");
        address.info(2).unwrap();
        assert_eq!([(); 3].map(|()| next(&reader, &cx)), [Poll::Ready(1), Poll::Ready(2), Poll::Pending]);
    }
    let reader = Reader::new(&address);
    reader.open(true);
    address.info(3).unwrap();
    assert_eq!(next(&reader, &cx), Poll::Pending);
    drop(reader);
    assert_eq!(address.dropped_casts(), 1);
}

/// Nor does one whose supervisor is woken by the word that it waits, or works: each is said once for each message, before that is taken.
#[test]
fn a_reader_lets_those_go_first_whom_it_has_woken() {
    let cx = task::Context::from_waker(task::Waker::noop());
    let address = Address::<u32>::new(Mailbox::default());
    let said = std::cell::RefCell::new(String::new());
    // Whether the word that it waits wakes anybody, and the word that it works.
    let says = |waits: bool, works: bool| {
        let said = &said;
        Some(move |is_working: bool| {
            said.borrow_mut().push_str(if is_working { "works " } else { "waits " });
            if is_working { works } else { waits }
        })
    };
    let reader = opened(&address);
    let next = |reader: &Reader<u32>, waits, works| {
        let next = reader.poll_next(&cx, says(waits, works));
        (next, std::mem::take(&mut *said.borrow_mut()))
    };
    let pending = |said: &str| (Poll::Pending, said.to_string());
    let ready = |n, said: &str| (Poll::Ready(n), said.to_string());
    assert_eq!(next(&reader, true, true), pending("waits "), "there is none");
    assert_eq!(next(&reader, true, true), pending(""), "it has said so");
    (1..=5).for_each(|n| address.info(n).unwrap());
    assert_eq!(next(&reader, true, true), pending("works "));
    assert_eq!(next(&reader, true, true), ready(1, ""));
    assert_eq!(next(&reader, false, false), ready(2, "waits works "));
    assert_eq!(next(&reader, true, false), pending("waits works "), "the first word woke somebody");
    assert_eq!(next(&reader, true, false), ready(3, ""));
    assert_eq!(reader.poll_ready(&cx, says(false, false)), Poll::Ready(()), "and leaves it there");
    assert_eq!(reader.poll_ready(&cx, says(true, true)), Poll::Ready(()));
    assert_eq!(next(&reader, true, true), ready(4, "waits works "));
    assert_eq!(next(&reader, false, true), pending("waits works "));
    drop(reader);
    assert_eq!(address.dropped_casts(), 1, "the fifth");
    let reader = opened(&address);
    address.info(6).unwrap();
    assert_eq!(next(&reader, false, true), pending("waits works "), "a new one");
}

/// Either end says whether the server is up.
#[test]
fn a_reader_is_shown_as_its_address() {
    let address = Address::<u32>::new(Mailbox::default());
    let reader = opened(&address);
    assert_eq!(format!("{reader:?}"), "Address { up: true, .. }");
    drop(reader);
    assert_eq!(format!("{address:?}"), "Address { up: false, .. }");
}

/// A mailbox that is closed keeps neither its reader's task nor a buffer.
#[test]
fn a_closed_mailbox_keeps_no_waker() {
    struct Task;
    impl task::Wake for Task {
        fn wake(self: Arc<Self>) {}
    }
    let task = Arc::new(Task);
    let waker = task::Waker::from(task.clone());
    let address = Address::<u32>::new(Mailbox::default());
    let reader = opened(&address);
    assert!(next(&reader, &task::Context::from_waker(&waker)).is_pending());
    assert_eq!(Arc::strong_count(&task), 3, "here, in the waker, in the mailbox");
    drop(reader);
    assert_eq!(Arc::strong_count(&task), 2);
}

/// What an idle server holds for its life; more is paid for by each.
#[cfg(not(ipa_interleavings))]
#[test]
fn an_idle_mailbox_is_small() {
    // With the counts of the Arc around it.
    assert!(size_of::<Route<u64>>() + 2 * size_of::<usize>() <= 120);
}

/// The deadline counts from the call, not from the moment at which it begins to wait for it.
#[tokio::test(start_paused = true)]
async fn the_deadline_counts_from_the_call() {
    let address = Address::<Reply<u32>>::new(Mailbox::default());
    let reader = Reader::new(&address);
    reader.open(false);
    let begun = Instant::now();
    let mut call = pin!(address.call(|reply| reply));
    assert!(poll(call.as_mut()).is_pending());
    tokio::time::advance(Duration::from_secs(3)).await;
    assert_eq!(call.await, Err(CallError::TimedOut(Duration::from_secs(5))));
    assert_eq!(begun.elapsed(), Duration::from_secs(5));
}

/// An answer that is there counts, though the deadline has passed since the call last looked.
#[tokio::test(start_paused = true)]
async fn an_answer_that_is_there_is_in_time() {
    let address = Address::<Reply<u32>>::new(Mailbox::default());
    let reader = Reader::new(&address);
    reader.open(false);
    let mut call = pin!(address.call_within(Duration::from_secs(1), |reply| reply));
    assert!(poll(call.as_mut()).is_pending());
    let Poll::Ready(reply) = next(&reader, &task::Context::from_waker(task::Waker::noop())) else {
        panic!("the call is queued")
    };
    reply.send(7);
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(call.await, Ok(7));
}

/// Each incarnation has all the places of the mailbox, and no more, however many the last one had left.
#[test]
fn each_incarnation_has_all_places() {
    let address = Address::new(Mailbox { capacity: 2, when_full: WhenFull::Wait });
    for handled in 0..=2 {
        let reader = opened(&address);
        assert!(poll(pin!(address.cast(1))).is_ready());
        assert!(poll(pin!(address.cast(2))).is_ready());
        assert!(poll(pin!(address.cast(3))).is_pending());
        for _ in 0..handled {
            assert!(next(&reader, &task::Context::from_waker(task::Waker::noop())).is_ready());
        }
    }
    assert_eq!(address.dropped_casts(), 2 + 1);
}

/// A stop that comes when `init` is done and `run` has not begun: the mailbox is closed before `terminate` all the same.
#[cfg(not(ipa_interleavings))]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_before_the_run_closes_the_mailbox() {
    struct Late(Arc<Mutex<Vec<bool>>>, Arc<tokio::sync::Notify>);
    #[async_trait]
    impl Server for Late {
        type Message = u32;
        async fn init(&mut self, cx: &mut ServerContext<u32>) -> Result<crate::Init, BoxError> {
            self.1.notify_one();
            // Within one poll, so that nobody sees the stop before this is done.
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(cx.stopped()));
            Ok(crate::Init::Ready)
        }
        async fn handle(&mut self, _message: u32, _cx: &mut ServerContext<u32>) -> Result<Flow, BoxError> {
            unreachable!("nothing is sent")
        }
        async fn terminate(&mut self, cx: &mut ServerContext<u32>, _reason: &ExitReason) {
            self.0.lock().push(cx.address().is_up());
        }
    }
    let up = Arc::new(Mutex::new(Vec::new()));
    let begun = Arc::new(tokio::sync::Notify::new());
    let (spec, _address) = ChildSpec::server("late", {
        let (up, begun) = (up.clone(), begun.clone());
        move || Late(up.clone(), begun.clone())
    });
    let supervisor = Supervisor::builder().start().await.unwrap();
    let stop = async {
        begun.notified().await;
        supervisor.terminate_child("late").await
    };
    let (_started, stopped) = tokio::join!(supervisor.start_child(spec), stop);
    stopped.unwrap();
    assert_eq!(*up.lock(), [false]);
}
