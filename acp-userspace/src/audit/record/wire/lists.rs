//! Lists of a decoded entry: iterators that read as they go and end at anything malformed.

use super::cursor::{Reader, action_of};
use super::*;

pub(super) const PART_BYTES: usize = 32;
pub(super) const FINDING_BYTES: usize = 7;

/// Texts: labels, policy ids, scopes.
#[derive(Clone, Copy, Debug)]
pub struct Texts<'a>(pub(super) Reader<'a>);

impl<'a> Iterator for Texts<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.0.text()
    }
}

/// A hold's parts.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a>(pub(super) Reader<'a>);

impl Iterator for Parts<'_> {
    type Item = HoldPart;

    fn next(&mut self) -> Option<HoldPart> {
        Some(HoldPart { budget: Key128(self.0.array()?), lease: self.0.u64()?, held_microusd: self.0.u64()? })
    }
}

/// Findings.
#[derive(Clone, Copy, Debug)]
pub struct Findings<'a>(pub(super) Reader<'a>);

impl Iterator for Findings<'_> {
    type Item = Finding;

    fn next(&mut self) -> Option<Finding> {
        let [detector, action, mode] = self.0.array()?;
        Some(Finding {
            detector: *Detector::ALL.iter().find(|d| **d as u8 == detector)?,
            action: action_of(action)?,
            mode: if mode == 0 { Mode::Enforce } else { Mode::Observe },
            count: self.0.u32()?,
        })
    }
}

/// Would-be decisions.
#[derive(Clone, Copy, Debug)]
pub struct WouldBes<'a>(pub(super) Reader<'a>);

impl<'a> Iterator for WouldBes<'a> {
    type Item = WouldBe<'a>;

    fn next(&mut self) -> Option<WouldBe<'a>> {
        Some(WouldBe { layer: self.0.layer()?, reason: self.0.reason()?, rule: self.0.text()? })
    }
}
