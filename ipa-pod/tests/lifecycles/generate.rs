//! Random programs, and how they shrink.

use ipa_supervisor::{AutoShutdown, Restart, Strategy as Restarts};
use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;

use crate::program::*;

/// The length of something that mostly takes no time.
fn length() -> impl Strategy<Value = u64> {
    prop_oneof![6 => Just(0u64), 2 => 1u64..60, 1 => 200u64..900]
}

/// The length of an `init`: seldom any, or pods would spend their lives starting.
fn init() -> impl Strategy<Value = u64> {
    prop_oneof![10 => Just(0u64), 1 => 1u64..60, 1 => 100u64..500]
}

fn kid(id: impl Strategy<Value = KidId>, may_be_significant: bool) -> impl Strategy<Value = KidPlan> {
    let restart = prop_oneof![
        3 => Just(Restart::Transient),
        2 => Just(Restart::Permanent),
        1 => Just(Restart::Temporary)
    ];
    let shutdown = prop_oneof![
        4 => Just(Stop::Within(5000)),
        3 => (30u64..600).prop_map(Stop::Within),
        1 => Just(Stop::Within(0)),
        1 => Just(Stop::Infinity),
        1 => Just(Stop::Brutal)
    ];
    let linger = prop_oneof![12 => Just(0u64), 2 => 10u64..300, 1 => 1200u64..3000];
    let fault = weighted(0.15, prop_oneof![Just(Fault::TerminatePanics), Just(Fault::DropPanics)]);
    let start_timeout = weighted(0.15, 20u64..400);
    let backoff = weighted(0.2, (10u64..300, 100u64..1000));
    let silence = weighted(0.25, 50u64..500);
    let significant = if may_be_significant { 0.4 } else { 0.0 };
    (
        (id, restart, shutdown, prop::bool::weighted(significant), start_timeout, backoff, silence),
        (init(), prop::bool::weighted(0.12), length(), linger, fault),
    )
        .prop_map(
            |(
                (id, restart, shutdown, significant, start_timeout, backoff, silence),
                (init, deaf, terminate, linger, fault),
            )| {
                let significant = significant && restart != Restart::Permanent;
                KidPlan {
                    id,
                    restart,
                    shutdown,
                    significant,
                    start_timeout,
                    backoff,
                    silence,
                    init,
                    deaf,
                    terminate,
                    linger,
                    fault,
                }
            },
        )
}

fn pod() -> impl Strategy<Value = PodPlan> {
    let strategy = prop_oneof![
        2 => Just(Restarts::OneForOne),
        2 => Just(Restarts::RestForOne),
        2 => Just(Restarts::OneForAll)
    ];
    let auto_shutdown = prop_oneof![
        3 => Just(AutoShutdown::Never),
        1 => Just(AutoShutdown::AnySignificant),
        1 => Just(AutoShutdown::AllSignificant)
    ];
    let intensity = prop_oneof![2 => Just((3u32, 5000u64)), 3 => (0u32..5, 200u64..6000)];
    let times = (
        prop_oneof![2 => Just(30_000u64), 1 => 200u64..1500],
        prop_oneof![2 => Just(10_000u64), 1 => 100u64..2000],
        prop_oneof![2 => Just(1000u64), 1 => 50u64..900],
    );
    (strategy, auto_shutdown, intensity, times).prop_flat_map(
        |(strategy, auto_shutdown, intensity, times)| {
            let significant = auto_shutdown != AutoShutdown::Never;
            let kids = prop_oneof![
                1 => vec(kid(Just(0), significant), 0..2),
                5 => vec(kid(Just(0), significant), 2..=PLANNED)
            ];
            kids.prop_map(move |mut kids| {
                // Ids in order, so that a shrunk plan has the first ones.
                kids.iter_mut().enumerate().for_each(|(id, kid)| kid.id = id);
                PodPlan {
                    strategy,
                    auto_shutdown,
                    max_restarts: intensity.0,
                    within: intensity.1,
                    start_timeout: times.0,
                    shutdown_timeout: times.1,
                    kill_grace: times.2,
                    kids,
                }
            })
        },
    )
}

fn op() -> impl Strategy<Value = Op> {
    // The first task most of all, so that its pod lives through much.
    let task = || prop_oneof![9 => Just(0usize), 3 => Just(1usize), 1 => Just(2usize)];
    let id = || prop_oneof![6 => 0..3usize, 3 => 3..KIDS.len()];
    let how = prop_oneof![
        4 => Just(How::Error),
        3 => Just(How::Panic),
        2 => Just(How::Normal),
        1 => Just(How::Shutdown),
        2 => Just(How::Hang)
    ];
    let init = prop_oneof![
        3 => (5u64..900).prop_map(Init::Slow),
        1 => Just(Init::Ignore),
        2 => length().prop_map(Init::Error),
        2 => length().prop_map(Init::Panic),
        1 => Just(Init::FactoryPanic)
    ];
    let store = prop_oneof![
        3 => Just(Store::Answers),
        2 => (5u64..400).prop_map(Store::Slow),
        1 => Just(Store::Down),
        1 => Just(Store::Panics)
    ];
    let fails = prop_oneof![Just(How::Error), Just(How::Panic)];
    prop_oneof![
        2 => task().prop_map(Op::Stream),
        1 => Just(Op::NoStream(1)),
        1 => store.prop_map(Op::Store),
        16 => task().prop_map(Op::Start),
        2 => task().prop_map(Op::Stop),
        1 => task().prop_map(Op::StopWith),
        3 => task().prop_map(Op::Restart),
        1 => task().prop_map(Op::Revoke),
        4 => (task(), kid(id(), false)).prop_map(|(task, kid)| Op::StartChild(task, kid)),
        1 => (task(), kid(id(), true)).prop_map(|(task, kid)| Op::StartChild(task, kid)),
        4 => (task(), id()).prop_map(|(task, kid)| Op::TerminateChild(task, kid)),
        4 => (task(), id()).prop_map(|(task, kid)| Op::RestartChild(task, kid)),
        2 => (task(), id()).prop_map(|(task, kid)| Op::DeleteChild(task, kid)),
        30 => (task(), id(), how).prop_map(|(task, kid, how)| Op::End(task, kid, how)),
        5 => (task(), id(), init, 1u8..5).prop_map(|(task, kid, init, times)| Op::Next(task, kid, init, times)),
        1 => (task(), fails, 1u8..3).prop_map(|(task, how, times)| Op::NextPod(task, how, times)),
    ]
}

fn time() -> impl Strategy<Value = Op> {
    prop_oneof![
        5 => (1u64..80).prop_map(Op::Advance),
        4 => (100u64..1500).prop_map(Op::Advance),
        1 => (3000u64..12_000).prop_map(Op::Advance),
        2 => (0usize..TASKS.len(), 0u64..2).prop_map(|(task, past)| Op::Edge(task, past)),
    ]
}

fn step() -> impl Strategy<Value = Vec<Call>> {
    let alone = op().prop_map(|op| vec![Call::from(op)]);
    let dropped = (op(), 0u8..6).prop_map(|(op, looks)| vec![Call { op, dropped: Some(looks) }]);
    let together = vec(op().prop_map(Call::from), 2..5);
    prop_oneof![
        16 => alone,
        2 => dropped,
        4 => together,
        10 => time().prop_map(|op| vec![op.into()]),
    ]
}

pub fn program() -> impl Strategy<Value = Program> {
    let finale = prop_oneof![Just(Finale::Shutdown), Just(Finale::Drain), Just(Finale::Drop)];
    (vec(pod(), TASKS.len()), vec(step(), 1..32), finale, prop::bool::weighted(0.85)).prop_map(
        |(pods, mut steps, finale, begins)| {
            if begins {
                // Most programs have something to act on.
                let begin =
                    [Op::Stream(0), Op::Stream(1), Op::Start(0), Op::Start(1)].map(|op| vec![op.into()]);
                steps.splice(0..0, begin);
            }
            Program { pods, steps, finale }
        },
    )
}
