//! Lists of a decoded entry: iterators that read as they go and end at anything malformed.

use super::cursor::{Reader, action_of};
use super::*;

pub(super) const PART_BYTES: usize = 32;
pub(super) const FINDING_BYTES: usize = 8;

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
        let [detector, action, mode, confidence] = self.0.array()?;
        Some(Finding {
            detector: detector_of(detector)?,
            action: action_of(action)?,
            mode: if mode == 0 { Mode::Enforce } else { Mode::Observe },
            confidence,
            count: self.0.u32()?,
        })
    }
}

fn detector_of(code: u8) -> Option<Detector> {
    Detector::ALL.into_iter().find(|detector| *detector as u8 == code)
}

/// Where findings lie.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a>(pub(super) Reader<'a>);

/// One place of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlaceView<'a> {
    /// The type.
    pub detector: Detector,
    /// Callers' text, printable.
    pub place: &'a str,
}

impl<'a> Iterator for Places<'a> {
    type Item = PlaceView<'a>;

    fn next(&mut self) -> Option<PlaceView<'a>> {
        Some(PlaceView { detector: detector_of(self.0.u8()?)?, place: self.0.text()? })
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
