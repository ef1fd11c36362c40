//! One command after the other over a store that does what it is told, compared with a model: the same answers, the same
//! state, the same stream.

use std::collections::VecDeque;

use ipa_eventstore::{EventStore, ExecuteError, Expected, StoreError};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::counter::{Command, added, create, now, start_as, stored, stream};
use crate::scripted::{Scripted, Turn};

const MAX_CONFLICTS: u32 = 2;
/// The first, and four more.
const TRIES: usize = 5;

#[derive(Clone, Debug)]
enum Op {
    /// A command with so many events; what becomes of its appends.
    Execute(usize, Vec<Fate>),
    Foreign(usize),
    Recreate(usize),
    /// The same with as many events as there are.
    RecreateAsMany,
}

#[derive(Clone, Copy, Debug)]
enum Fate {
    Fine,
    Unavailable,
    Lost,
    Done,
    /// Somebody else comes before it.
    After,
}

fn an_op() -> impl Strategy<Value = Op> {
    let fate = prop_oneof![
        2 => Just(Fate::Fine),
        2 => Just(Fate::Unavailable),
        3 => Just(Fate::Lost),
        2 => Just(Fate::Done),
        2 => Just(Fate::After),
    ];
    prop_oneof![
        8 => (0..4_usize, vec(fate, 0..8)).prop_map(|(events, fates)| Op::Execute(events, fates)),
        2 => (1..4_usize).prop_map(Op::Foreign),
        1 => (0..6_usize).prop_map(Op::Recreate),
        1 => Just(Op::RecreateAsMany),
    ]
}

/// What a command is answered, as far as the model says.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Done { version: usize, events: usize },
    Conflict,
    Unavailable,
    Indeterminate,
}

#[derive(Default)]
struct Model {
    /// Which stream of the name it is, and its numbers.
    stream: (u32, Vec<u64>),
    known: (u32, Vec<u64>),
    behind: bool,
    next: u64,
}

impl Model {
    /// Numbers that no event had yet.
    fn numbers(&mut self, count: usize) -> Vec<u64> {
        let first = self.next + 1;
        self.next += count as u64;
        (first..=self.next).collect()
    }

    fn catch_up(&mut self) {
        self.known = self.stream.clone();
        self.behind = false;
    }

    /// The answer, given what others append before each append whose fate that is.
    fn execute(&mut self, numbers: &[u64], mut fates: VecDeque<(Fate, Vec<u64>)>) -> Answer {
        if self.behind {
            self.catch_up();
        }
        if numbers.is_empty() {
            return Answer::Done { version: self.known.1.len(), events: 0 };
        }
        for _ in 0..=MAX_CONFLICTS {
            match self.append(numbers, &mut fates) {
                Ok(version) => {
                    self.catch_up();
                    return Answer::Done { version, events: numbers.len() };
                }
                Err(Answer::Conflict) => self.catch_up(),
                Err(answer) => {
                    self.behind = answer == Answer::Indeterminate;
                    return answer;
                }
            }
        }
        Answer::Conflict
    }

    fn append(&mut self, numbers: &[u64], fates: &mut VecDeque<(Fate, Vec<u64>)>) -> Result<usize, Answer> {
        let mut ours = None;
        let mut unknown = false;
        for _ in 0..TRIES {
            let (fate, others) = fates.pop_front().unwrap_or((Fate::Fine, vec![]));
            match fate {
                Fate::Unavailable if !unknown => return Err(Answer::Unavailable),
                Fate::Unavailable => continue,
                Fate::Lost => {
                    unknown = true;
                    continue;
                }
                Fate::After => self.stream.1.extend(others),
                Fate::Fine | Fate::Done => {}
            }
            if ours.is_none() {
                let another = self.stream.0 != self.known.0 && !self.known.1.is_empty();
                if another || self.stream.1.len() != self.known.1.len() {
                    return Err(Answer::Conflict);
                }
                self.stream.1.extend(numbers);
                ours = Some(self.stream.1.len());
            }
            match ours {
                Some(version) if !matches!(fate, Fate::Done) => return Ok(version),
                _ => unknown = true,
            }
        }
        Err(Answer::Indeterminate)
    }
}

async fn compare(ops: Vec<Op>) {
    let store = Scripted::default();
    create(&store, &[]).await;
    let (supervisor, counter) =
        start_as::<1>(store.clone(), |manager| manager.max_conflicts(MAX_CONFLICTS).snapshot_every(3)).await;
    let mut model = Model::default();
    for op in ops {
        match op {
            Op::Execute(events, fates) => {
                let numbers = model.numbers(events);
                let mut script = VecDeque::new();
                for fate in fates {
                    let others = if matches!(fate, Fate::After) { model.numbers(2) } else { vec![] };
                    store.then(match fate {
                        Fate::Fine => Turn::After(vec![]),
                        Fate::Unavailable => Turn::Unavailable,
                        Fate::Lost => Turn::IndeterminateLost,
                        Fate::Done => Turn::IndeterminateDone,
                        Fate::After => Turn::After(others.iter().copied().map(added).collect()),
                    });
                    script.push_back((fate, others));
                }
                let expected = model.execute(&numbers, script);
                let answer = match counter.execute(Command::AddAll(numbers)).await {
                    Ok(done) => Answer::Done { version: done.version as usize, events: done.events },
                    Err(ExecuteError::Conflict { .. }) => Answer::Conflict,
                    Err(ExecuteError::Store(StoreError::Unavailable(_))) => Answer::Unavailable,
                    Err(ExecuteError::Indeterminate(_)) => Answer::Indeterminate,
                    Err(error) => panic!("{error:?}"),
                };
                store.no_more();
                assert_eq!(answer, expected);
                let known = (model.known.1.len() as u64, model.known.1.iter().sum());
                assert_eq!(now(&counter).await, known);
            }
            Op::Foreign(count) => {
                let numbers = model.numbers(count);
                let events = numbers.iter().copied().map(added).collect();
                store.inner.append(&stream(), Expected::Any, events).await.unwrap();
                model.stream.1.extend(numbers);
            }
            Op::Recreate(_) | Op::RecreateAsMany => {
                let count = if let Op::Recreate(count) = op { count } else { model.stream.1.len() };
                let numbers = model.numbers(count);
                store.inner.delete_stream(&stream()).await.unwrap();
                create(&store.inner, &numbers).await;
                model.stream = (model.stream.0 + 1, numbers);
            }
        }
        assert_eq!(stored(&store.inner).await, model.stream.1);
    }
    supervisor.shutdown().await.unwrap();
    // Whatever snapshots there are by now.
    let (_supervisor, counter) = start_as::<1>(store.clone(), |manager| manager).await;
    assert_eq!(now(&counter).await, (model.stream.1.len() as u64, model.stream.1.iter().sum()));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn answers_state_and_stream_are_those_of_the_model(ops in vec(an_op(), 1..40)) {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
            .block_on(compare(ops));
    }
}
