//! What the workers said was acknowledged, and whether the store still has it in the next life.

use std::collections::{HashMap, HashSet};

use crate::wire::Line;

/// What is known of one task's stream.
#[derive(Clone, Copy, Debug)]
struct Known {
    generation: u64,
    /// The last command that was acknowledged.
    seq: u64,
    /// It was about to be deleted; whether that was done is not known.
    deleting: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Acks {
    tasks: HashMap<usize, Known>,
    /// The tasks whose stream the present life has found.
    found: HashSet<usize>,
    /// How many streams were compared.
    pub compared: u64,
    /// How many commands were acknowledged.
    pub acknowledged: u64,
}

impl Acks {
    /// Takes in a line; answers what is lost.
    pub fn take_in(&mut self, line: &Line) -> Vec<String> {
        match *line {
            Line::Created { task, generation } => {
                self.tasks.insert(task, Known { generation, seq: 0, deleting: false });
            }
            Line::Deleting { task, generation } => {
                if let Some(known) = self.tasks.get_mut(&task).filter(|known| known.generation == generation)
                {
                    known.deleting = true;
                }
            }
            Line::Acked { task, generation, seq } => {
                self.acknowledged += 1;
                if let Some(known) = self.tasks.get_mut(&task).filter(|known| known.generation == generation)
                {
                    known.seq = known.seq.max(seq);
                }
            }
            Line::Stream { task, generation, seq, .. } => {
                return self.found(task, generation, seq).into_iter().collect();
            }
            Line::Read => return self.missing(),
            Line::Sample(_) | Line::Wrong { .. } | Line::Ended => {}
        }
        Vec::new()
    }

    fn found(&mut self, task: usize, generation: u64, seq: u64) -> Option<String> {
        self.found.insert(task);
        self.compared += 1;
        let known = self.tasks.insert(task, Known { generation, seq, deleting: false })?;
        if generation == known.generation {
            let lost = known.seq.saturating_sub(seq);
            return (lost > 0).then(|| {
                format!(
                    "task-{task}: command {} was acknowledged, and the store has {seq}: {lost} are lost",
                    known.seq
                )
            });
        }
        // Deleted, and made anew, and killed before the one or the other was said.
        (generation < known.generation || !known.deleting).then(|| {
            format!("task-{task}: its stream was of generation {}, and is of {generation}", known.generation)
        })
    }

    /// All that was found is known; what was not is lost, unless it was about to be deleted.
    fn missing(&mut self) -> Vec<String> {
        let found = std::mem::take(&mut self.found);
        let mut lost = Vec::new();
        self.tasks.retain(|task, known| {
            if !found.contains(task) && !known.deleting {
                lost.push(format!(
                    "task-{task}: its stream was acknowledged with {} commands, and is not there",
                    known.seq
                ));
            }
            found.contains(task)
        });
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: usize = 4;

    fn known(seq: u64) -> Acks {
        let mut acks = Acks::default();
        assert!(acks.take_in(&Line::Created { task: TASK, generation: 1 }).is_empty());
        for seq in 1..=seq {
            assert!(acks.take_in(&Line::Acked { task: TASK, generation: 1, seq }).is_empty());
        }
        acks
    }

    fn stream(generation: u64, seq: u64) -> Line {
        Line::Stream { task: TASK, generation, version: seq + 1, seq }
    }

    #[test]
    fn what_is_there_or_was_never_acknowledged_is_no_loss() {
        let mut acks = known(3);
        assert!(acks.take_in(&stream(1, 4)).is_empty());
        assert!(acks.take_in(&Line::Read).is_empty());
        assert!(acks.take_in(&stream(1, 4)).is_empty(), "and again in the next life");
    }

    #[test]
    fn a_command_that_is_not_there_is_a_loss() {
        assert_eq!(known(3).take_in(&stream(1, 2)).len(), 1);
    }

    #[test]
    fn a_stream_that_is_not_there_is_a_loss_unless_it_was_to_be_deleted() {
        assert_eq!(known(3).take_in(&Line::Read).len(), 1);
        let mut acks = known(3);
        assert!(acks.take_in(&Line::Deleting { task: TASK, generation: 1 }).is_empty());
        assert!(acks.take_in(&Line::Read).is_empty());
    }

    #[test]
    fn another_stream_of_the_name_has_its_reason() {
        assert_eq!(known(3).take_in(&stream(2, 0)).len(), 1);
        let mut acks = known(3);
        acks.take_in(&Line::Deleting { task: TASK, generation: 1 });
        assert!(acks.take_in(&stream(2, 0)).is_empty());
        assert_eq!(acks.take_in(&stream(1, 3)).len(), 1, "it has come back");
    }
}
