//! Options as data: what is read, what is refused, and what comes back of what was written.

use std::time::Duration;

use ipa_supervisor::machine::MachineOptions;
use ipa_supervisor::{Backoff, Kind, RestartIntensity, Settings, Shutdown, Supervisor};
use serde_json::{from_str, to_string};

#[test]
fn what_is_left_out_is_as_by_default() {
    assert_eq!(from_str::<MachineOptions>("{}").unwrap(), MachineOptions::default());
    assert_eq!(from_str::<Settings>("{}").unwrap(), Settings::default());
    assert_eq!(from_str::<Backoff>("{}").unwrap(), Backoff::default());
    let bounded: MachineOptions = from_str(r#"{"intensity": {"max_restarts": 7}}"#).unwrap();
    assert_eq!(bounded.intensity, RestartIntensity::new(7, Duration::from_secs(5)));
}

#[test]
fn what_is_misspelt_is_refused() {
    let errors = [
        from_str::<RestartIntensity>(r#"{"max_restarts": 3, "withn_ms": 5}"#).map(drop),
        from_str::<MachineOptions>(r#"{"kill_grace": 5}"#).map(drop),
        from_str::<Settings>(r#"{"restrat": "permanent"}"#).map(drop),
        from_str::<Backoff>(r#"{"factr": 2}"#).map(drop),
    ];
    for error in errors {
        assert!(error.unwrap_err().to_string().contains("unknown field"));
    }
}

/// A duration that is no whole number of milliseconds is rounded up, so that a short one does not come to mean none; and the longest there is
/// stays one that never ends.
#[test]
fn durations_come_back_no_shorter() {
    let again = |duration| {
        let settings = Settings { max_silence: Some(duration), ..Settings::default() };
        from_str::<Settings>(&to_string(&settings).unwrap()).unwrap().max_silence.unwrap()
    };
    let micros = [0, 1, 999, 1000, 1001, 5_000_000].map(Duration::from_micros);
    assert_eq!(micros.map(|duration| again(duration).as_millis()), [0, 1, 1, 1, 2, 5000]);
    let century = Duration::from_secs(100 * 366 * 24 * 60 * 60);
    assert!(again(Duration::MAX) > 1000 * century);
}

/// What the supervisor falls back on may say of its children that they are supervisors, too: how long they may take to stop follows from it.
#[tokio::test(start_paused = true)]
async fn a_kind_by_default() {
    let second = Some(Shutdown::Timeout(Duration::from_secs(1)));
    let defaults = Settings { kind: Some(Kind::Supervisor), shutdown: second, ..Settings::default() };
    let idle = ipa_supervisor::ChildSpec::task("a", |_cx| std::future::pending::<()>());
    let supervisor = Supervisor::builder().child_defaults(defaults).child(idle).start().await.unwrap();
    let policy = supervisor.get_childspec("a").await.unwrap().unwrap();
    assert_eq!((policy.kind, policy.shutdown), (Kind::Supervisor, Shutdown::Infinity));
}

/// Where there is no timer nothing is started that the first deadline would take along.
#[test]
#[should_panic(expected = "timers are disabled")]
fn a_runtime_without_timers_is_refused() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _ = runtime.block_on(Supervisor::builder().start());
}

/// A spec shows what was said of the child, and not its factory.
#[test]
fn a_spec_shows_its_settings() {
    let spec = ipa_supervisor::ChildSpec::task("a", |_cx| async {}).shutdown(Shutdown::BrutalKill);
    let text = format!("{spec:?}");
    assert!(text.starts_with(
        "ChildSpec { id: \"a\", settings: Settings { restart: None, shutdown: Some(BrutalKill), "
    ));
    assert!(text.ends_with(", .. }"), "{text}");
    let nested = ipa_supervisor::NestedSupervisor::new(Supervisor::builder());
    assert_eq!(format!("{nested:?}"), "NestedSupervisor { dynamic: false, .. }");
}
