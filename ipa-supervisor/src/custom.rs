//! Writing a child type: how to put something that is not yours under supervision.
//!
//! Every child type of this crate is a plain [`Child`](crate::Child) on its public API, so yours can do all that they do. This
//! chapter writes one from nothing, around a server from somebody else's crate that runs on a thread of its own. There is no
//! code in this module.
//!
//! # 1. What is to be wrapped
//!
//! Here is the server. It counts words; it is started, answers on a channel, can be asked to stop, and gives out a handle
//! that joins its thread. It knows nothing of supervisors.
//!
//! ```
//! mod words {
//!     use std::{sync::mpsc, thread};
//!     use tokio::sync::oneshot;
//!
//!     type Question = Option<(String, oneshot::Sender<usize>)>; // None: stop
//!
//!     #[derive(Clone)]
//!     pub struct Client(mpsc::Sender<Question>);
//!
//!     pub fn start(ignored: Vec<String>) -> (Client, thread::JoinHandle<()>) {
//!         let (client, questions) = mpsc::channel::<Question>();
//!         let thread = thread::spawn(move || {
//!             while let Ok(Some((text, answer))) = questions.recv() {
//!                 let counts = |word: &&str| !ignored.iter().any(|ignored| ignored == word);
//!                 let _ = answer.send(text.split_whitespace().filter(counts).count());
//!             }
//!         });
//!         (Client(client), thread)
//!     }
//!
//!     impl Client {
//!         pub async fn count(&self, text: &str) -> Option<usize> {
//!             let (answer, answered) = oneshot::channel();
//!             self.0.send(Some((text.into(), answer))).ok()?;
//!             answered.await.ok()
//!         }
//!         pub fn stop(&self) {
//!             let _ = self.0.send(None);
//!         }
//!     }
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let (client, thread) = words::start(vec!["the".into()]);
//! assert_eq!(client.count("the quick brown fox").await, Some(3));
//! client.stop();
//! thread.join().unwrap();
//! assert_eq!(client.count("anybody there?").await, None);
//! # });
//! ```
//!
//! Four questions decide how anything is wrapped. When is it up? How does one learn that it ended, and how? How is it asked to
//! stop? And what if nobody gets to ask, because the child was killed?
//!
//! # 2. A builder, and the type's defaults
//!
//! A restart begins with a fresh value, so what a user describes is a *recipe*, and the spec's factory makes a child of it at
//! each start. What the type knows of itself goes into [`Child::defaults`](crate::Child::defaults). The caller has the last
//! word: the builder ends in a [`ChildSpec`](crate::ChildSpec), on which id, restart, shutdown and so on can be set as on any
//! other. What the caller leaves alone is the type's, and what the type leaves alone is the supervisor's.
//!
//! ```
//! use std::time::Duration;
//! use ipa_supervisor::{
//!     BoxError, Child, ChildId, ChildSpec, Context, Exit, Restart, Settings, Shutdown, Supervisor, async_trait,
//! };
//!
//! /// The recipe: what the user says.
//! #[derive(Clone, Default)]
//! pub struct Words { ignored: Vec<String> }
//!
//! impl Words {
//!     pub fn ignoring(mut self, word: impl Into<String>) -> Self {
//!         self.ignored.push(word.into());
//!         self
//!     }
//!     pub fn spec(self, id: impl Into<ChildId>) -> ChildSpec {
//!         ChildSpec::new(id, move || WordsChild { recipe: self.clone() })
//!     }
//! }
//!
//! /// The child: one for each start.
//! struct WordsChild { recipe: Words }
//!
//! #[async_trait]
//! impl Child for WordsChild {
//!     fn defaults() -> Settings {
//!         Settings {
//!             restart: Some(Restart::Transient),
//!             shutdown: Some(Shutdown::Timeout(Duration::from_secs(2))),
//!             ..Settings::default()
//!         }
//!     }
//! #   async fn run(&mut self, _cx: &mut Context) -> Result<Exit, BoxError> {
//! #       assert_eq!(self.recipe.ignored, ["the"]);
//! #       std::future::pending().await
//! #   }
//!     // init, run and terminate: see below
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let spec = Words::default().ignoring("the").spec("words").restart(Restart::Permanent);
//! let supervisor = Supervisor::builder().child(spec).start().await?;
//! let policy = supervisor.get_childspec("words").await?.unwrap();
//! assert_eq!(policy.restart, Restart::Permanent); // the caller's
//! assert_eq!(policy.shutdown, Shutdown::Timeout(Duration::from_secs(2))); // the type's
//! assert_eq!(policy.start_timeout, None); // nobody's: the supervisor's
//! # supervisor.shutdown().await?;
//! # Ok(()) }
//! ```
//!
//! # 3. The life: `init`, `run`, `terminate`, `Drop`
//!
//! The four questions have four places.
//!
//! - `init` returns when it is up. Whoever comes after it in the order may rely on that.
//! - `run` is the wait for its end. What the server ended with is what the child ends with: an error, or a panic that is
//!   passed on with [`resume_unwind`](std::panic::resume_unwind). The supervisor does the rest.
//! - `terminate` stops it in good order, and waits. It runs after every `run`, so it must bear that the server has gone already.
//! - `Drop` is for what is left: an `init` that was cancelled, a child that was killed. It cannot wait; it asks, or aborts.
//!
//! And one thing must hold whatever happens: **the incarnation has not ended before the server has.** Otherwise a second server
//! is started beside one that still runs, or a stop is answered while the file is still open. That is the
//! [lease](crate::Lease): whoever holds one keeps the incarnation from having ended. Here the thread's end is waited for on a
//! thread of tokio's ([`Context::spawn_blocking`](crate::Context::spawn_blocking)), which holds the lease meanwhile. It goes on
//! waiting when the child's task is long gone.
//!
//! ```
//! # mod words {
//! #     use std::{sync::mpsc, thread};
//! #     use tokio::sync::oneshot;
//! #     type Question = Option<(String, oneshot::Sender<usize>)>;
//! #     #[derive(Clone)]
//! #     pub struct Client(mpsc::Sender<Question>);
//! #     pub fn start(_ignored: Vec<String>) -> (Client, thread::JoinHandle<()>) {
//! #         let (client, questions) = mpsc::channel::<Question>();
//! #         let thread = thread::spawn(move || {
//! #             while let Ok(Some((text, answer))) = questions.recv() {
//! #                 let _ = answer.send(text.split_whitespace().count());
//! #             }
//! #         });
//! #         (Client(client), thread)
//! #     }
//! #     impl Client {
//! #         pub async fn count(&self, text: &str) -> Option<usize> {
//! #             let (answer, answered) = oneshot::channel();
//! #             self.0.send(Some((text.into(), answer))).ok()?;
//! #             answered.await.ok()
//! #         }
//! #         pub fn stop(&self) { let _ = self.0.send(None); }
//! #     }
//! # }
//! # use std::{panic::resume_unwind, thread};
//! # use ipa_supervisor::{BoxError, Child, ChildSpec, Context, Exit, ExitReason, Init, Supervisor, async_trait};
//! # use tokio::{sync::watch, task::JoinHandle};
//! # struct WordsChild { ignored: Vec<String>, server: Option<Server>, tell: watch::Sender<Option<words::Client>> }
//! /// What runs. Dropped by a kill, it asks the thread to stop; that it has, the lease tells.
//! struct Server { client: words::Client, ended: JoinHandle<thread::Result<()>> }
//!
//! impl Drop for Server {
//!     fn drop(&mut self) {
//!         self.client.stop();
//!     }
//! }
//!
//! #[async_trait]
//! impl Child for WordsChild {
//!     async fn init(&mut self, cx: &mut Context) -> Result<Init, BoxError> {
//!         let (client, thread) = words::start(self.ignored.clone());
//!         let ended = cx.spawn_blocking(move || thread.join()); // holds the lease until then
//!         let server = self.server.insert(Server { client, ended }); // before the first await: it may be the last
//!         server.client.count("are you there?").await.ok_or("the server died as it started")?;
//!         cx.publish(server.client.clone());
//! #       self.tell.send_replace(Some(server.client.clone()));
//!         Ok(Init::Ready)
//!     }
//!
//!     async fn run(&mut self, _cx: &mut Context) -> Result<Exit, BoxError> {
//!         let Some(server) = self.server.as_mut() else { return Err("run before init".into()) };
//!         let ended = (&mut server.ended).await;
//!         self.server = None; // nothing for terminate to do
//!         match ended? {
//!             Ok(()) => Ok(Exit::Normal), // somebody else asked it to stop
//!             Err(payload) => resume_unwind(payload),
//!         }
//!     }
//!
//!     async fn terminate(&mut self, _cx: &mut Context, _reason: &ExitReason) {
//!         if let Some(mut server) = self.server.take() {
//!             server.client.stop(); // it answers what it was asked before
//!             let _ = (&mut server.ended).await;
//!         }
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (tell, told) = watch::channel(None);
//! # let spec = ChildSpec::new("words", move || WordsChild { ignored: vec![], server: None, tell: tell.clone() });
//! let supervisor = Supervisor::builder().child(spec).start().await?;
//! # let client = told.borrow().clone().unwrap();
//! // `client` is what the child has published
//! assert_eq!(client.count("to be or not to be").await, Some(6));
//! supervisor.shutdown().await?;
//! assert_eq!(client.count("anybody there?").await, None); // the thread has ended
//! # Ok(()) }
//! ```
//!
//! The stop mode is left at [`StopMode::Drop`](crate::StopMode::Drop): `run` is nothing but a wait, which a stop drops, and
//! `terminate` follows. A `run` that has something to finish first sets
//! [`StopMode::Cooperative`](crate::StopMode::Cooperative) in its defaults and looks for
//! [`Context::stopped`](crate::Context::stopped).
//!
//! Who holds the lease depends on what is wrapped:
//!
//! | what | who holds the lease | what a kill does |
//! |---|---|---|
//! | a future, yours to run | [`Context::spawn`](crate::Context::spawn) | drops it |
//! | a thread with a join handle | [`Context::spawn_blocking`](crate::Context::spawn_blocking), joining it | what your `Drop` asks for |
//! | a task that somebody else spawned | a task of your own (bare `tokio::spawn`) that owns a [`Context::lease`](crate::Context::lease) and awaits its join handle | what your `Drop` asks for: abort it |
//! | something that keeps a value of yours until its end | that value, with a [`Context::lease`](crate::Context::lease) in it | what your `Drop` asks for |
//!
//! In the third row it is *not* `Context::spawn`: what that runs is aborted when the incarnation is over, so the wait would end,
//! and the foreign task would not.
//!
//! # 4. The address
//!
//! [`Context::publish`](crate::Context::publish) puts whatever leads to the server into the supervisor's
//! [`Directory`](crate::Directory), under the child's id, until the incarnation is over. Any type will do, and its type is how
//! it is asked for: in a pod, `scope.find::<words::Client>("words")`. A successor publishes its own, so whoever looks it up
//! for each use always talks to the one that runs now. Only pods come with a directory; this is all that there is to one:
//!
//! ```
//! use std::collections::HashMap;
//! use std::sync::{Arc, Mutex};
//! use ipa_supervisor::{ChildId, ChildRef, Directory, Entry, Published};
//! # use ipa_supervisor::{BoxError, Child, ChildSpec, Context, Exit, Init, Supervisor, async_trait};
//!
//! #[derive(Clone, Default)]
//! struct Addresses(Arc<Mutex<HashMap<ChildId, Published>>>);
//! struct Listed(ChildId, Addresses);
//!
//! impl Directory for Addresses {
//!     fn enter(&self, child: &ChildRef) -> Result<Arc<dyn Entry>, BoxError> {
//!         Ok(Arc::new(Listed(child.id.clone(), self.clone())))
//!     }
//! }
//! impl Entry for Listed {
//!     fn publish(&self, address: Published) {
//!         self.1.0.lock().unwrap().insert(self.0.clone(), address);
//!     }
//! }
//! impl Drop for Listed {
//!     fn drop(&mut self) {
//!         self.1.0.lock().unwrap().remove(&self.0);
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! #[derive(Clone, Debug, PartialEq)]
//! struct Port(u16);
//!
//! struct Listener;
//! #[async_trait]
//! impl Child for Listener {
//!     async fn init(&mut self, cx: &mut Context) -> Result<Init, BoxError> {
//!         cx.publish(Port(8080));
//!         Ok(Init::Ready)
//!     }
//! #   async fn run(&mut self, _cx: &mut Context) -> Result<Exit, BoxError> { std::future::pending().await }
//! }
//!
//! let addresses = Addresses::default();
//! let supervisor = Supervisor::builder()
//!     .directory(Arc::new(addresses.clone()))
//!     .child(ChildSpec::new("listener", || Listener))
//!     .start()
//!     .await?;
//! let find = || addresses.0.lock().unwrap().get("listener").and_then(Published::get::<Port>);
//! assert_eq!(find(), Some(Port(8080)));
//! supervisor.shutdown().await?;
//! assert_eq!(find(), None);
//! # Ok(()) }
//! ```
//!
//! # 5. What can go wrong, and how it shows
//!
//! - **The server ends by itself.** `run` returns; the spec's [`Restart`](crate::Restart) decides.
//! - **It does not come up.** `init` fails, and the start with it; nothing of the child is left. An `init` that hangs is killed
//!   after the spec's [`start_timeout`](crate::ChildSpec::start_timeout), if it has one.
//! - **It is slow to stop.** At the shutdown deadline the child's task is killed, `Drop` asks once more, and the incarnation
//!   ends when the server has.
//! - **It does not stop at all.** A thread cannot be killed. After the supervisor's kill grace (1 second by default) the child is
//!   *stuck*: the stop answers with an error that names it, listings show [`ChildState::Stuck`](crate::ChildState::Stuck), its id
//!   is not free, no successor is started. When it ends at last, it is reaped. What must be killable for good belongs in a
//!   [`Process`](crate::Process).
//! - **The lease was given to nobody.** Nothing shows, until a successor finds the port in use.
//!
//! A server that does not listen:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::{Arc, Mutex, mpsc};
//! use std::time::Duration;
//! use ipa_supervisor::{ChildSpec, ChildState, ShutdownError, Shutdown, Supervisor};
//!
//! let (release, held) = mpsc::channel::<()>();
//! let held = Arc::new(Mutex::new(held));
//! let deaf = ChildSpec::task("deaf", move |cx| {
//!     let held = held.clone();
//!     let server = cx.spawn_blocking(move || held.lock().unwrap().recv());
//!     async move { server.await.map(|_| ()) }
//! });
//! let supervisor = Supervisor::builder()
//!     .child(deaf.shutdown(Shutdown::Timeout(Duration::from_millis(1))))
//!     .kill_grace(Duration::from_millis(1))
//!     .start()
//!     .await?;
//!
//! let Err(ShutdownError::Stuck(stuck)) = supervisor.shutdown().await else { panic!("it has not ended") };
//! assert_eq!(stuck[0].0.id.as_str(), "deaf");
//! assert_eq!(supervisor.which_children().await?[0].state, ChildState::Stuck);
//!
//! drop(release); // it ends at last
//! supervisor.wait().await;
//! # Ok(()) }
//! ```
//!
//! # A list to check a child type against
//!
//! - Is it up when `init` returns?
//! - Does `run` end when the thing has, with what it ended with?
//! - Is it asked to stop on every way out: by `terminate`, and by `Drop` for a kill and a cancelled start?
//! - Does something hold the lease until it has ended, whatever becomes of the child's task?
//! - Does nothing hold a [`Context`](crate::Context) or a lease for longer than that?
//! - Does nothing block the child's task?
