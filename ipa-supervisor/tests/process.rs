//! Operating-system processes as children, with real ones. They tell of themselves through named pipes, whose end of file says
//! that the last process that held them open is dead; nothing here sleeps.

use std::fs;
use std::future::poll_fn;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::task::Poll;
use std::time::{Duration, Instant};

use ipa_supervisor::{
    BoxError, Cause, Child, ChildSpec, Context, DynamicSupervisor, Exit, ExitReason, Init, Note, Output,
    Process, ProcessEnd, ProcessError, ProcessInfo, Restart, Settings, Shutdown, StartChildError,
    StartFailure, StopSignal, Supervisor, TerminateChildError, async_trait,
};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::sync::{mpsc as channel, oneshot};

/// How long a test waits for what should happen at once.
const PATIENCE: Duration = Duration::from_secs(30);

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("what a test waited for did not happen")
}

fn pid(number: u32) -> Pid {
    Pid::from_raw(number as i32).unwrap()
}

/// Whether there is no process of this number any more, not even a zombie.
fn is_gone(number: u32) -> bool {
    test_kill_process(pid(number)) == Err(rustix::io::Errno::SRCH)
}

/// Whether a shell can handle the signal: not if this process was started with it ignored.
fn can_be_trapped(signal: &str) -> bool {
    let script = format!("trap 'exit 7' {signal}; kill -{signal} $$; exit 0");
    Command::new("sh").args(["-c", &script]).status().unwrap().code() == Some(7)
}

/// A named pipe that processes write to.
struct Fifo(PathBuf);

impl Fifo {
    fn new(directory: &Path, name: &str) -> Self {
        let path = directory.join(name);
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        Self(path)
    }

    /// The first line that is written, and then all that is until every writer has closed it or died.
    fn listen(&self) -> (oneshot::Receiver<String>, oneshot::Receiver<String>) {
        let (first, line) = oneshot::channel();
        let (all, rest) = oneshot::channel();
        let path = self.0.clone();
        // Not a task of the runtime's, which would hang with it if nobody ever wrote.
        std::thread::spawn(move || {
            let mut file = fs::File::open(path).unwrap();
            let (mut text, mut byte) = (Vec::new(), [0]);
            while file.read(&mut byte).unwrap() == 1 && byte != *b"\n" {
                text.push(byte[0]);
            }
            let _ = first.send(String::from_utf8(text).unwrap());
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            let _ = all.send(text);
        });
        (line, rest)
    }
}

/// A shell script that knows `$fifo`, quiet.
fn script(fifo: &Fifo, text: &str) -> Process {
    Process::shell(text).env("fifo", &fifo.0).output(Output::Null)
}

fn observed() -> (Arc<dyn ipa_supervisor::Observer>, channel::UnboundedReceiver<Note>) {
    let (sender, notes) = channel::unbounded_channel();
    let observer = move |note: &Note| {
        let _ = sender.send(note.clone());
    };
    (Arc::new(observer), notes)
}

async fn next_exit(notes: &mut channel::UnboundedReceiver<Note>) -> ExitReason {
    loop {
        if let Note::Exited { reason, .. } = soon(notes.recv()).await.unwrap() {
            return reason;
        }
    }
}

/// A call may be answered before the observer is told what it brought about: to be asked after the next call.
fn shutdown_errors(notes: &mut channel::UnboundedReceiver<Note>) -> Vec<String> {
    let mut errors = Vec::new();
    while let Ok(note) = notes.try_recv() {
        if let Note::ShutdownError(_, reason) = note {
            errors.push(reason.to_string());
        }
    }
    errors
}

async fn start(supervisor: &DynamicSupervisor, spec: impl Into<ChildSpec>) {
    assert!(soon(supervisor.start_child(spec)).await.unwrap().child().is_some());
}

fn start_failure(error: StartChildError) -> Arc<StartFailure> {
    match error {
        StartChildError::Failed(failure) => failure,
        error => panic!("not a failed start: {error}"),
    }
}

fn process_error(reason: &ExitReason) -> &ProcessError {
    reason.source().and_then(|error| error.downcast_ref()).expect("a ProcessError")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_status_is_the_exit_reason() {
    let (observer, mut notes) = observed();
    let supervisor = DynamicSupervisor::builder().observer(observer).start().await.unwrap();
    let mut reasons = Vec::new();
    for line in ["exit 0", "exit 3", "kill -KILL $$", "exec no-such-program"] {
        let spec = Process::shell(line).output(Output::Null).spec(line).restart(Restart::Temporary);
        start(&supervisor, spec).await;
        reasons.push(next_exit(&mut notes).await);
    }
    assert!(matches!(reasons[0], ExitReason::Normal), "{}", reasons[0]);
    assert!(
        matches!(process_error(&reasons[1]), ProcessError::Exited { status, .. } if status.code() == Some(3))
    );
    assert_eq!(reasons[1].to_string(), "failed: `sh` exited with code 3");
    assert!(
        matches!(process_error(&reasons[2]), ProcessError::Exited { status, .. } if status.signal() == Some(9))
    );
    assert_eq!(reasons[2].to_string(), "failed: `sh` was ended by signal: 9 (SIGKILL)");
    assert!(reasons[3].to_string().contains("code 127, a shell's word"), "{}", reasons[3]);
    soon(supervisor.shutdown()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transient_process_is_restarted_after_a_failure_only() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = Fifo::new(directory.path(), "fifo");
    let (line, _rest) = fifo.listen();
    let (observer, mut notes) = observed();
    let process =
        script(&fifo, "mkdir failed-once && exit 1; echo second >$fifo").current_dir(directory.path());
    let supervisor = Supervisor::builder()
        .observer(observer)
        .child(process.spec("worker").restart(Restart::Transient))
        .start()
        .await
        .unwrap();
    assert_eq!(soon(line).await.unwrap(), "second");
    assert!(next_exit(&mut notes).await.is_abnormal());
    assert!(!next_exit(&mut notes).await.is_abnormal());
    soon(supervisor.shutdown()).await.unwrap();
    while let Ok(note) = notes.try_recv() {
        assert!(!matches!(note, Note::Started(_)), "started a third time");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_is_a_signal_that_the_process_may_handle() {
    // What it does on a signal, which signal is sent, and how its stop is judged.
    let cases = [
        ("trap 'exit 0' TERM", StopSignal::Terminate, &[][..]),
        ("trap 'exit 143' TERM", StopSignal::Terminate, &[]),
        ("true", StopSignal::Terminate, &[]),
        ("trap '' TERM; trap 'exit 0' INT", StopSignal::Interrupt, &[]),
        ("trap 'exit 3' TERM", StopSignal::Terminate, &["failed: `sh` exited with code 3"]),
    ];
    for (setup, signal, errors) in cases {
        if signal == StopSignal::Interrupt && !can_be_trapped("INT") {
            eprintln!(
                "SIGINT is ignored here, as in a job in the background: nothing to be seen of `{setup}`"
            );
            continue;
        }
        // A shell that is signalled just before it blocks in `wait` looks at the signal when that returns, so that must be soon.
        let directory = tempfile::tempdir().unwrap();
        let fifo = Fifo::new(directory.path(), "fifo");
        let (line, _rest) = fifo.listen();
        let (observer, mut notes) = observed();
        let process = script(&fifo, &format!("{setup}; echo up >$fifo; while :; do sleep 1 & wait; done"))
            .stop_signal(signal);
        let supervisor = Supervisor::builder()
            .observer(observer)
            .child(process.spec("worker").shutdown(Shutdown::Infinity))
            .start()
            .await
            .unwrap();
        assert_eq!(soon(line).await.unwrap(), "up");
        soon(supervisor.terminate_child("worker")).await.unwrap();
        soon(supervisor.shutdown()).await.unwrap();
        assert_eq!(shutdown_errors(&mut notes), errors, "{setup}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_ignores_the_signal_is_killed_at_the_deadline() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = Fifo::new(directory.path(), "fifo");
    let (line, rest) = fifo.listen();
    let (observer, mut notes) = observed();
    // The background process ignores the signal as well, and holds the pipe open.
    let process = script(&fifo, "trap '' TERM; exec 3>$fifo; sleep 1000 & echo $$ >&3; sleep 1000");
    let deadline = Duration::from_millis(150);
    let supervisor = Supervisor::builder()
        .observer(observer)
        .child(process.spec("deaf").shutdown(Shutdown::Timeout(deadline)))
        .start()
        .await
        .unwrap();
    let number = soon(line).await.unwrap().parse().unwrap();
    assert!(!is_gone(number));
    let asked = Instant::now();
    soon(supervisor.terminate_child("deaf")).await.unwrap();
    assert!(is_gone(number));
    assert!(asked.elapsed() >= deadline);
    assert_eq!(soon(rest).await.unwrap(), "", "the rest of the group lives on");
    soon(supervisor.shutdown()).await.unwrap();
    assert_eq!(shutdown_errors(&mut notes), ["killed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_brutal_kill_does_not_ask() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = Fifo::new(directory.path(), "fifo");
    let (line, rest) = fifo.listen();
    let process = script(&fifo, "trap 'echo asked >&3; exit' TERM; exec 3>$fifo; echo $$ >&3; sleep 1000");
    let supervisor = Supervisor::builder()
        .child(process.spec("worker").shutdown(Shutdown::BrutalKill))
        .start()
        .await
        .unwrap();
    let number = soon(line).await.unwrap().parse().unwrap();
    soon(supervisor.terminate_child("worker")).await.unwrap();
    assert!(is_gone(number));
    assert_eq!(soon(rest).await.unwrap(), "");
    soon(supervisor.shutdown()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_of_the_group_dies_with_its_leader() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = Fifo::new(directory.path(), "fifo");
    let (line, rest) = fifo.listen();
    let supervisor = DynamicSupervisor::builder().start().await.unwrap();
    let (spec, end) =
        script(&fifo, "exec 3>$fifo; (trap '' TERM HUP; sleep 1000) & echo up >&3; exit 0").once("job");
    start(&supervisor, spec).await;
    assert_eq!(soon(line).await.unwrap(), "up");
    assert!(matches!(soon(end).await, ProcessEnd::Exited { status, .. } if status.success()));
    assert_eq!(soon(rest).await.unwrap(), "", "the background process lives on");
    soon(supervisor.shutdown()).await.unwrap();
}

/// A child type on top of this one: it ties a guard to the incarnation's lease.
struct Guarded {
    process: Process,
    guard: Option<Box<dyn FnOnce() + Send>>,
}

struct OnDrop(Option<Box<dyn FnOnce() + Send>>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        if let Some(call) = self.0.take() {
            call();
        }
    }
}

#[async_trait]
impl Child for Guarded {
    async fn init(&mut self, cx: &mut Context) -> Result<Init, BoxError> {
        cx.lease().tie(OnDrop(self.guard.take()));
        self.process.init(cx).await
    }
    async fn run(&mut self, cx: &mut Context) -> Result<Exit, BoxError> {
        self.process.run(cx).await
    }
    fn defaults() -> Settings {
        Process::defaults()
    }
}

/// Whether the process was gone when the guard of its incarnation's lease was dropped, after `end_it`.
fn gone_when_its_guard_is_dropped(end_it: impl FnOnce(tokio::runtime::Runtime, Supervisor)) -> bool {
    let directory = tempfile::tempdir().unwrap();
    let fifo = Fifo::new(directory.path(), "fifo");
    let (line, _rest) = fifo.listen();
    let (sender, receiver) = mpsc::channel();
    let number: Arc<Mutex<Option<u32>>> = Arc::default();
    let (known, process) = (number.clone(), script(&fifo, "trap '' TERM; echo $$ >$fifo; sleep 1000"));
    let spec = ChildSpec::new("guarded", move || {
        let (known, sender) = (known.clone(), sender.clone());
        let guard = move || sender.send(is_gone(known.lock().unwrap().unwrap())).unwrap();
        Guarded { process: process.clone(), guard: Some(Box::new(guard)) }
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let supervisor = runtime.block_on(Supervisor::builder().child(spec).start()).unwrap();
    let line = runtime.block_on(soon(line)).unwrap();
    *number.lock().unwrap() = Some(line.parse().unwrap());
    end_it(runtime, supervisor);
    receiver.recv_timeout(PATIENCE).expect("the lease does not end")
}

#[test]
fn with_the_runtime_gone_the_lease_still_ends_after_the_process() {
    assert!(gone_when_its_guard_is_dropped(|runtime, supervisor| {
        drop(runtime);
        drop(supervisor);
    }));
}

#[test]
fn with_the_supervisor_killed_the_lease_ends_after_the_process() {
    assert!(gone_when_its_guard_is_dropped(|runtime, supervisor| {
        supervisor.kill(Cause::Revoked);
        runtime.block_on(soon(supervisor.wait()));
    }));
}

#[test]
fn the_watch_tells_the_end_when_the_runtime_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = Fifo::new(directory.path(), "fifo");
    let (line, _rest) = fifo.listen();
    let (spec, end) = script(&fifo, "echo $$ >$fifo; sleep 1000").once("job");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let supervisor = runtime.block_on(Supervisor::builder().child(spec).start()).unwrap();
    let number: u32 = runtime.block_on(soon(line)).unwrap().parse().unwrap();
    drop(runtime);
    let another = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let end = another.block_on(soon(end));
    assert!(
        matches!(end, ProcessEnd::Exited { pid, status, stopped: true } if pid == number && status.signal() == Some(9)),
        "{end:?}"
    );
    assert!(is_gone(number));
    drop(supervisor);
}

#[tokio::test]
async fn a_watched_process_that_never_was_is_told_of() {
    let (spec, end) = Process::command("true").once("job");
    drop(spec);
    assert_eq!(soon(end).await, ProcessEnd::NotExecuted);
    let (spec, end) = Process::command("no-such-program").once("job");
    let supervisor = DynamicSupervisor::builder().start().await.unwrap();
    soon(supervisor.start_child(spec)).await.unwrap_err();
    assert_eq!(soon(end).await, ProcessEnd::NotExecuted);
    soon(supervisor.shutdown()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn files_get_the_output() {
    let directory = tempfile::tempdir().unwrap();
    let [file, log] = ["file", "log"].map(|name| directory.path().join(name));
    fs::write(&file, "much older text, which goes").unwrap();
    fs::write(&log, "kept\n").unwrap();
    let supervisor = DynamicSupervisor::builder().start().await.unwrap();
    for output in [Output::File(file.clone()), Output::Append(log.clone())] {
        let (spec, end) = Process::shell("echo 1; echo 2 >&2; echo 3; echo 4 >&2").output(output).once("job");
        start(&supervisor, spec).await;
        assert!(matches!(soon(end).await, ProcessEnd::Exited { status, .. } if status.success()));
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "1\n2\n3\n4\n");
    assert_eq!(fs::read_to_string(&log).unwrap(), "kept\n1\n2\n3\n4\n");
    let (spec, end) = Process::shell("echo out; echo err >&2")
        .stdout(Output::Null)
        .stderr(Output::File(file.clone()))
        .once("job");
    start(&supervisor, spec).await;
    soon(end).await;
    assert_eq!(fs::read_to_string(&file).unwrap(), "err\n");
    soon(supervisor.shutdown()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_environment_directory_and_input_are_as_told() {
    let directory = tempfile::tempdir().unwrap();
    let supervisor = DynamicSupervisor::builder().start().await.unwrap();
    let text =
        "[$#] [$1] [$2] [$GIVEN] [${HOME-unset}] [$(pwd -P)] [$(cat)] [$(test -p /dev/stdin && echo pipe)]";
    let plain = Process::command("/bin/sh")
        .arg("-c")
        .arg(format!("printf '%s' \"{text}\""))
        .args(["name", "two words  *", ""])
        .env("HOME", "not for long")
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("GIVEN", "a'b\"c")
        .current_dir(directory.path());
    let expected = format!(
        "[2] [two words  *] [] [a'b\"c] [unset] [{}] [] []",
        directory.path().canonicalize().unwrap().display()
    );
    // The gate makes no difference.
    let gated = plain.clone().before_exec(|_| async { Ok::<_, BoxError>(()) });
    for (name, process) in [("plain", plain), ("gated", gated)] {
        let file = directory.path().join(name);
        let (spec, end) = process.output(Output::File(file.clone())).once(name);
        start(&supervisor, spec).await;
        assert!(matches!(soon(end).await, ProcessEnd::Exited { status, .. } if status.success()), "{name}");
        assert_eq!(fs::read_to_string(&file).unwrap(), expected, "{name}");
    }
    soon(supervisor.shutdown()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_started_says_why() {
    let supervisor = DynamicSupervisor::builder().start().await.unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let hook = move |_: ProcessInfo| {
        counted.fetch_add(1, Ordering::Relaxed);
        async { Ok::<_, BoxError>(()) }
    };
    let cases = [
        (
            Process::command("no-such-program").current_dir("/usr"),
            &["cannot execute `no-such-program`", "`/usr`"],
        ),
        (
            Process::command("/etc/passwd").current_dir("/usr"),
            &["cannot execute `/etc/passwd`", "ermission denied"],
        ),
        (Process::command("true").current_dir("/no/such"), &["`true`", "working directory `/no/such`"]),
        (
            Process::command("true").output(Output::File("/no/such/file".into())),
            &["`true`", "`/no/such/file`"],
        ),
    ];
    for (process, words) in cases {
        for process in [process.clone(), process.before_exec(hook.clone())] {
            let error = soon(supervisor.start_child(process.spec("child"))).await.unwrap_err();
            let failure = start_failure(error);
            let text = failure.to_string();
            assert!(words.iter().all(|word| text.contains(word)), "{text}");
            let error = process_error(&failure.reason);
            assert!(std::error::Error::source(error).is_some(), "{text} keeps no source");
        }
    }
    assert_eq!(calls.load(Ordering::Relaxed), 0, "a hook was called for what cannot be executed");
    assert_eq!(soon(supervisor.count_children()).await.unwrap().active, 0);
    soon(supervisor.shutdown()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hook_knows_the_process_before_the_program_runs_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let marker = directory.path().join("marker");
    let (sender, mut infos) = channel::unbounded_channel();
    let seen = marker.clone();
    let process = Process::shell("echo $$ >marker").current_dir(directory.path()).before_exec(move |info| {
        let (sender, early) = (sender.clone(), seen.exists());
        async move { sender.send((info, early, is_gone(info.pid))) }
    });
    let supervisor = DynamicSupervisor::builder().start().await.unwrap();
    let (spec, end) = process.once("job");
    start(&supervisor, spec).await;
    let end = soon(end).await;
    let (info, early, gone): (ProcessInfo, bool, bool) = infos.recv().await.unwrap();
    assert!(!early && !gone);
    assert_eq!(info.pid, info.group);
    assert!(
        matches!(end, ProcessEnd::Exited { pid, status, stopped: false } if pid == info.pid && status.success()),
        "{end:?}"
    );
    assert_eq!(fs::read_to_string(marker).unwrap().trim(), info.pid.to_string());
    soon(supervisor.shutdown()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_fails_or_does_not_return_executes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let supervisor = DynamicSupervisor::builder().start().await.unwrap();
    let marking = || Process::shell("echo >marker").current_dir(directory.path());

    let (spec, end) = marking().before_exec(|_| async { Err("the disk is full") }).once("fails");
    let failure = start_failure(soon(supervisor.start_child(spec)).await.unwrap_err());
    assert_eq!(
        failure.reason.to_string(),
        "failed: `sh` was not executed, because the hook before it failed: the disk is full"
    );
    assert_eq!(soon(end).await, ProcessEnd::NotExecuted);

    // Stopped while its hook is pending.
    let (sender, mut held) = channel::unbounded_channel();
    let (spec, end) = marking()
        .before_exec(move |info| {
            sender.send(info.pid).unwrap();
            std::future::pending::<Result<(), BoxError>>()
        })
        .once("hangs");
    let other = Supervisor::builder().start().await.unwrap();
    let handle = other.downgrade();
    let starting = tokio::spawn(async move { handle.start_child(spec).await });
    let number = soon(held.recv()).await.unwrap();
    soon(other.terminate_child("hangs")).await.unwrap();
    assert!(is_gone(number));
    assert!(matches!(soon(starting).await.unwrap(), Err(StartChildError::Cancelled)));
    assert_eq!(soon(end).await, ProcessEnd::NotExecuted);
    soon(other.shutdown()).await.unwrap();

    // Ended by a third party at its gate: the start is up for an instant, and then it says so.
    let (spec, end) =
        marking().before_exec(|info| async move { kill_process(pid(info.pid), Signal::KILL) }).once("killed");
    let _ = soon(supervisor.start_child(spec)).await;
    let end = soon(end).await;
    // The hook may have returned before the reaper has noticed.
    assert!(
        matches!(end, ProcessEnd::NotExecuted)
            || matches!(end, ProcessEnd::Exited { status, .. } if status.signal() == Some(9)),
        "{end:?}"
    );
    assert!(!directory.path().join("marker").exists(), "a program was executed");
    soon(supervisor.shutdown()).await.unwrap();
}

/// Collects the lines that processes log.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Line>>>);

struct Line {
    level: tracing::Level,
    child: String,
    stream: String,
    text: String,
}

impl Collector {
    /// The one that all tests share. A subscriber of one thread's would see nothing of what another logs.
    fn shared() -> Self {
        static SHARED: OnceLock<Collector> = OnceLock::new();
        SHARED
            .get_or_init(|| {
                let collector = Self::default();
                tracing::subscriber::set_global_default(collector.clone()).unwrap();
                collector
            })
            .clone()
    }

    fn take(&self, child: &str) -> Vec<Line> {
        let ours = |line: &mut Line| line.child.starts_with(child);
        self.0.lock().unwrap().extract_if(.., ours).collect()
    }
}

impl tracing::Subscriber for Collector {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "ipa_supervisor::process"
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        #[derive(Default)]
        struct Fields(std::collections::BTreeMap<&'static str, String>);
        impl tracing::field::Visit for Fields {
            fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
                self.0.insert(field.name(), value.into());
            }
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                self.0.insert(field.name(), format!("{value:?}"));
            }
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut take = |name| fields.0.remove(name).unwrap_or_default();
        let (child, stream, text) = (take("child"), take("stream"), take("message"));
        let line = Line { level: *event.metadata().level(), child, stream, text };
        self.0.lock().unwrap().push(line);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_gets_every_line_before_the_end_is_told() {
    let collector = Collector::shared();
    let supervisor = DynamicSupervisor::builder().start().await.unwrap();
    let long = 8 * 1024 + 1;
    let text = format!(
        "seq 1 20000; echo; echo careful >&2; head -c {long} /dev/zero | tr '\\0' x; echo; printf '  unended'; exit 0"
    );
    let (spec, end) = Process::shell(text).once("chatty");
    start(&supervisor, spec).await;
    soon(end).await;
    let (errors, lines): (Vec<Line>, Vec<Line>) =
        collector.take("chatty#1").into_iter().partition(|line| line.stream == "stderr");
    assert!(matches!(&errors[..], [line] if line.text == "careful" && line.level == tracing::Level::WARN));
    assert!(lines.iter().all(|line| line.stream == "stdout" && line.level == tracing::Level::INFO));
    let lines: Vec<String> = lines.into_iter().map(|line| line.text).collect();
    let (numbers, others) = lines.split_at(20_000);
    assert!(numbers.iter().zip(1..).all(|(line, number)| *line == number.to_string()));
    assert_eq!(others.iter().map(String::len).collect::<Vec<_>>(), [8 * 1024, 1, 9]);
    assert_eq!(others[2], "  unended");
    soon(supervisor.shutdown()).await.unwrap();
}

#[tokio::test]
async fn an_escaped_grandchild_that_holds_the_output_open_delays_nothing() {
    let collector = Collector::shared();
    let directory = tempfile::tempdir().unwrap();
    let fifo = Fifo::new(directory.path(), "fifo");
    let (line, _rest) = fifo.listen();
    let supervisor = DynamicSupervisor::builder().start().await.unwrap();
    // It leaves the group, says so, and holds standard output open for ever. The process waits for its word.
    let text =
        "mkfifo word; setsid sh -c 'echo $$ >$fifo; echo >word; exec sleep 1000' & read _ <word; echo last";
    let process = Process::shell(text).env("fifo", &fifo.0).current_dir(directory.path());
    let (spec, end) = process.once("escaping");
    start(&supervisor, spec).await;
    let escaped = soon(line).await.unwrap().parse().unwrap();
    assert!(matches!(soon(end).await, ProcessEnd::Exited { status, .. } if status.success()));
    let lines: Vec<String> = collector.take("escaping").into_iter().map(|line| line.text).collect();
    assert_eq!(lines, ["last"]);
    assert!(!is_gone(escaped));
    kill_process(pid(escaped), Signal::KILL).unwrap();
    soon(supervisor.shutdown()).await.unwrap();
}

/// A child that tells when the start of its process is under way.
struct Announced {
    process: Process,
    starting: Option<oneshot::Sender<()>>,
}

#[async_trait]
impl Child for Announced {
    async fn init(&mut self, cx: &mut Context) -> Result<Init, BoxError> {
        let mut init = self.process.init(cx);
        assert!(poll_fn(|task| Poll::Ready(init.as_mut().poll(task).is_pending())).await);
        let _ = self.starting.take().unwrap().send(());
        init.await
    }
    async fn run(&mut self, cx: &mut Context) -> Result<Exit, BoxError> {
        self.process.run(cx).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_cancelled_before_there_is_a_process_kills_it_when_there_is() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = Fifo::new(directory.path(), "fifo");
    let (observer, mut notes) = observed();
    let supervisor =
        Supervisor::builder().kill_grace(Duration::ZERO).observer(observer).start().await.unwrap();
    // The output file is a pipe that nobody reads yet, so the start hangs in opening it.
    let process = Process::command("sleep").arg("1000").output(Output::File(fifo.0.clone()));
    let (sender, starting) = oneshot::channel();
    let late = ChildSpec::once_with("late", || Announced { process, starting: Some(sender) });
    let handle = supervisor.downgrade();
    let started = tokio::spawn(async move { handle.start_child(late.shutdown(Shutdown::BrutalKill)).await });
    soon(starting).await.unwrap();
    let error = soon(supervisor.terminate_child("late")).await.unwrap_err();
    assert!(matches!(error, TerminateChildError::Stuck(_)), "{error}");
    soon(started).await.unwrap().unwrap_err();
    // Now that it can be opened, there is a process, which would live for long; its end is the pipe's.
    let (_line, rest) = fifo.listen();
    assert_eq!(soon(rest).await.unwrap(), "");
    while !matches!(soon(notes.recv()).await.unwrap(), Note::Reaped(_)) {}
    soon(supervisor.shutdown()).await.unwrap();
}
