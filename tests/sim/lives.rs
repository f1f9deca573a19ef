//! How processes end, and how the next one begins.

use std::path::PathBuf;

use super::invariants::Breach;
use super::rules::VARIANTS;
use super::steps::{Expected, Running, Simulation};
use super::task::At;
use super::world::World;

impl Simulation {
    /// The process is killed, now or in the middle of the log's next write, and another one starts.
    pub(super) fn crash(&mut self) -> Result<(), Breach> {
        let next = self.next_dir();
        let now = self.now;
        // All of the write, and the rings not yet released, is the case that cursors are for.
        let cut = match self.random.below(6) {
            0..3 => None,
            3 => Some(256),
            _ => Some(self.random.below(256)),
        };
        match cut {
            Some(cut) => self.world().killed_writing(&next, cut, now),
            None => self.world().killed(&next),
        }
        self.note(format!("crash, cut {cut:?}, {} on their way", self.running.len()));
        self.happened(if cut.is_some() { "crashes in a write" } else { "crashes" });
        let lost: Vec<Running> = std::mem::take(&mut self.running);
        for running in &lost {
            if matches!(running.task.at(), At::Send | At::Answer) {
                let versions = running.versions.clone();
                let expected = Expected { reason: None, settled: None, countable: false, lost: true, versions };
                self.expected.insert(running.task.id(), expected);
            }
        }
        drop(lost);
        self.model.died();
        let old = self.root.path().join(format!("boot-{}", self.boot - 1));
        self.world = None;
        if old.exists() {
            let _ = std::fs::remove_dir_all(old);
        }
        self.open(next)
    }

    /// The process drains, ends, and another one starts where it left.
    pub(super) fn restart(&mut self) -> Result<(), Breach> {
        self.quiesce()?;
        let now = self.now;
        let Some(world) = self.world.take() else { unreachable!("a gateway runs between steps") };
        let dir = world.close(now);
        self.closed(&dir)?;
        self.model.died();
        self.note("restart".to_owned());
        self.happened("restarts");
        self.boot += 1;
        self.open(dir)
    }

    fn next_dir(&mut self) -> PathBuf {
        self.boot += 1;
        self.root.path().join(format!("boot-{}", self.boot))
    }

    fn open(&mut self, dir: PathBuf) -> Result<(), Breach> {
        let down = 1 + self.random.below(500);
        self.pass(down);
        self.variant = self.random.index(VARIANTS.len());
        self.generation += 1;
        self.stalled_until = 0;
        self.replanned = true;
        self.world = Some(World::open(&dir, &VARIANTS[self.variant], self.generation, self.now));
        self.publish_revoked();
        self.books()?;
        let joined = self.read()?;
        self.compare(&joined)
    }
}
