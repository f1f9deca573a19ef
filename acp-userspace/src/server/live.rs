//! Lists of the open connections: asked for by the control thread, made by each worker when it next looks at the shared
//! flags, ten times a second. Nobody waits for anybody: whoever asked takes what is there when its patience ends.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::kernel::Live;

/// What is asked, and answered so far. One question at a time: a later one takes the place of an earlier.
#[derive(Debug, Default)]
pub struct LiveLists {
    /// Number of the last question; 0 = there was none.
    asked: AtomicU64,
    answers: Mutex<Answers>,
}

#[derive(Debug, Default)]
struct Answers {
    /// The question they are to.
    to: u64,
    workers: usize,
    rows: Vec<Live>,
}

impl LiveLists {
    /// Asks every worker; the question's number.
    pub fn ask(&self) -> u64 {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let number = self.asked.load(Ordering::Relaxed) + 1;
        *answers = Answers { to: number, workers: 0, rows: Vec::new() };
        self.asked.store(number, Ordering::Release);
        number
    }

    /// A worker that has answered the question `seen` looks whether there is another: one load if there is none.
    pub(super) fn answer(&self, seen: &Cell<u64>, list: impl FnOnce() -> Vec<Live>) {
        let asked = self.asked.load(Ordering::Acquire);
        if seen.replace(asked) == asked {
            return;
        }
        let rows = list();
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.to == asked {
            answers.workers += 1;
            answers.rows.extend(rows);
        }
    }

    /// How many workers have answered that question.
    #[must_use]
    pub fn answered(&self, number: u64) -> usize {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.to == number { answers.workers } else { 0 }
    }

    /// What was answered to that question; `None` if another was asked meanwhile.
    #[must_use]
    pub fn take(&self, number: u64) -> Option<Vec<Live>> {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        (answers.to == number).then(|| std::mem::take(&mut answers.rows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_worker_answers_a_question_once_and_an_overtaken_one_never() {
        let (lists, seen) = (LiveLists::default(), [Cell::new(0), Cell::new(0)]);
        lists.answer(&seen[0], || panic!("nobody asked"));
        let first = lists.ask();
        lists.answer(&seen[0], Vec::new);
        lists.answer(&seen[0], || panic!("answered already"));
        assert_eq!(lists.answered(first), 1);
        lists.answer(&seen[1], Vec::new);
        assert_eq!(lists.answered(first), 2);
        let second = lists.ask();
        assert_eq!((lists.answered(first), lists.answered(second)), (0, 0));
        assert!(lists.take(first).is_none() && lists.take(second).is_some());
    }
}
