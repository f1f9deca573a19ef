//! Nothing that is known to be slow gets slower by the byte when there is more of it (THREATS A25).
//!
//! The inputs are the benchmark's. Times are compared within one run, the shortest of a few, and what is asked for is far
//! from both: sixteen times the content may cost three times as much per byte, where a look that reads on to the end of
//! the text each time costs sixteen times as much.

use super::*;
use crate::safety::stream::{StreamKind, StreamScreen, Tools};
use inputs::{Form, INPUTS, Input, STREAMS};

#[path = "../../../../../benches/safety/inputs.rs"]
mod inputs;

const TIMES: usize = 16;
const GROWTH_MAX: f64 = 3.0;

/// Nanoseconds that this thread was given: what other tests take meanwhile does not count.
fn cpu_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid, exclusively borrowed timespec, and every Linux has this clock.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(failed, 0, "the clock of a thread");
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// What screening `body` takes, at best; in nanoseconds.
fn cost(input: &Input, body: &[u8], walker: &mut Walker, scan: &mut Scan) -> u64 {
    let rules = rules(Redact, Mode::Enforce).request(0).expect("the one route");
    let mut best = u64::MAX;
    for _ in 0..3 {
        let start = cpu_ns();
        match input.form {
            Form::Text => drop(screen_response(&Content::body(Body::Raw(body)), rules, scan)),
            Form::Json => {
                let document = walker.walk(body, &Limits::default()).expect("JSON");
                drop(screen_response(&Content::body(Body::Json(document)), rules, scan));
            }
            Form::Events | Form::Stream => with_caller("idp", |caller| {
                let kind = if input.form == Form::Events { StreamKind::Events } else { StreamKind::Text };
                let mut tools = Tools::new(rules, caller, &[], walker, scan);
                let (mut stream, mut out) = (StreamScreen::new(kind, 1 << 20), Vec::new());
                let _refused = body.chunks(input.read).try_for_each(|read| stream.push(read, &mut tools, &mut out));
            }),
        }
        best = best.min(cpu_ns() - start);
    }
    best
}

/// How many times as much a byte costs in `TIMES` times the content.
fn growth(input: &Input, walker: &mut Walker, scan: &mut Scan) -> f64 {
    // Of a small stream, most is said before anything is old enough to be decided.
    let small = input.of_len(if matches!(input.form, Form::Events | Form::Stream) { 16 << 10 } else { 4 << 10 });
    let large = input.of_len(small.len() * TIMES);
    let per_byte =
        |body: &[u8], walker: &mut Walker, scan: &mut Scan| cost(input, body, walker, scan) as f64 / body.len() as f64;
    per_byte(&large, walker, scan) / per_byte(&small, walker, scan)
}

#[test]
fn threat_a25_no_hostile_content_costs_more_per_byte_when_there_is_more_of_it() {
    check(INPUTS);
}

#[test]
fn threat_a25_no_stream_costs_more_per_byte_when_there_is_more_of_it_however_it_is_divided() {
    check(STREAMS);
}

#[track_caller]
fn check(inputs: &[Input]) {
    let (mut walker, mut scan) = (Walker::new(), Scan::default());
    for input in inputs {
        // Whatever else the machine does may hit one measurement; not the best of several.
        let least = (0..4).map(|_| growth(input, &mut walker, &mut scan)).find(|growth| *growth <= GROWTH_MAX);
        let Input { name, class, form, .. } = input;
        assert!(
            least.is_some(),
            "{name} ({class:?}, {form:?}) costs over {GROWTH_MAX} times as much per byte in {TIMES} times the content"
        );
    }
}
