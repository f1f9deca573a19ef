//! `cargo bench --bench safety -- --table`: what each input costs, as one call and at two sizes, as a JSON object a line.
//!
//! `cargo xtask bench --safety-speed` reads them. A time is the shortest of many runs, because everything else a machine
//! does only adds. What is refused as too much at the larger size is measured at half of it, and so on: what a refusal
//! costs says nothing of what is searched to its end.

use std::hint::black_box;
use std::time::{Duration, Instant};

use acp::protocol::json::{Limits, Walker};
use acp::safety::stream::StreamKind;
use acp::safety::{Body, Content, RouteRules, Scan};

use super::inputs::{Class, Form, INPUTS, Input, STREAMS};
use super::{screen, stream};

/// Sizes between which the time per byte must not grow (bytes). Of a small stream, most is said before anything is old
/// enough to be decided.
const SMALL: usize = 16 << 10;
const SMALL_STREAM: usize = 128 << 10;
const LARGE: usize = 1 << 20;
/// Of one call.
const CALL: usize = 1 << 10;
/// What is refused even at this size is measured all the same.
const LARGE_MIN: usize = 64 << 10;

/// What costs so many times as much per byte at the larger size is measured again.
const GROWTH: f64 = 1.2;

/// How long each is measured; how often at least, unless that takes too long.
const TIME: Duration = Duration::from_millis(40);
const RUNS_MIN: usize = 5;
const TIME_MAX: Duration = Duration::from_millis(500);

/// One measurement.
struct Cost {
    bytes: usize,
    walk: Duration,
    screen: Duration,
    refused: bool,
}

/// Prints a line for every input whose name or class holds `filter`.
#[expect(clippy::print_stdout, reason = "its output is what it is run for")]
pub(crate) fn print(filter: &str, rules: &RouteRules) {
    let mut bench = Bench { rules, walker: Walker::new(), scan: Scan::default() };
    for input in INPUTS.iter().chain(STREAMS).filter(|input| input.name.contains(filter) || class(input) == filter) {
        let small_len = if matches!(input.form, Form::Events | Form::Stream) { SMALL_STREAM } else { SMALL };
        let mut small = bench.cost(input, small_len);
        let (mut large, mut len) = (bench.cost(input, LARGE), LARGE);
        while large.refused && !small.refused && len > LARGE_MIN {
            len /= 2;
            large = bench.cost(input, len);
        }
        // What only looks as if it grew does not do so each time.
        for _ in 0..2 {
            if large.per_byte() > GROWTH * small.per_byte() {
                small = small.least(bench.cost(input, small_len));
                large = large.least(bench.cost(input, len));
            }
        }
        let call = bench.cost(input, CALL);
        println!(
            r#"{{"input":{:?},"class":"{}","form":"{:?}","call":{},"small":{},"large":{}}}"#,
            input.name,
            class(input),
            input.form,
            call.json(),
            small.json(),
            large.json()
        );
    }
}

fn class(input: &Input) -> &'static str {
    match input.class {
        Class::Clean => "clean",
        Class::Dense => "dense",
        Class::Hostile => "hostile",
    }
}

impl Cost {
    fn per_byte(&self) -> f64 {
        self.screen.as_secs_f64() / self.bytes as f64
    }

    /// The lesser times of two measurements of the same.
    fn least(self, other: Self) -> Self {
        Self { walk: self.walk.min(other.walk), screen: self.screen.min(other.screen), ..self }
    }

    fn json(&self) -> String {
        let Self { bytes, walk, screen, refused } = self;
        let (walk, screen) = (walk.as_nanos(), screen.as_nanos());
        format!(r#"{{"bytes":{bytes},"walk_ns":{walk},"screen_ns":{screen},"refused":{refused}}}"#)
    }
}

struct Bench<'r> {
    rules: &'r RouteRules,
    walker: Walker,
    scan: Scan,
}

impl Bench<'_> {
    fn cost(&mut self, input: &Input, len: usize) -> Cost {
        let body = input.of_len(len);
        let mut cost = Cost { bytes: body.len(), walk: Duration::MAX, screen: Duration::MAX, refused: false };
        let begun = Instant::now();
        for run in 0.. {
            let elapsed = begun.elapsed();
            if run > 0 && (elapsed >= TIME_MAX || run >= RUNS_MIN && elapsed >= TIME) {
                break;
            }
            let (walk, screen, passed) = self.once(input, &body);
            cost.walk = cost.walk.min(walk);
            cost.screen = cost.screen.min(screen);
            cost.refused = !passed;
        }
        cost
    }

    /// What the walk takes, what screening does, and whether the content passes.
    fn once(&mut self, input: &Input, body: &[u8]) -> (Duration, Duration, bool) {
        let start = Instant::now();
        let content = match input.form {
            Form::Json => match self.walker.walk(body, &Limits::default()) {
                Ok(document) => Body::Json(document),
                Err(_) => return (start.elapsed(), Duration::ZERO, false),
            },
            Form::Text => Body::Raw(body),
            Form::Events | Form::Stream => {
                let kind = if input.form == Form::Events { StreamKind::Events } else { StreamKind::Text };
                let body = black_box(body);
                let passed = stream(kind, input.read, body, self.rules, &mut self.walker, &mut self.scan);
                return (Duration::ZERO, start.elapsed(), passed);
            }
        };
        let walk = start.elapsed();
        let content = Content { body: content, query: None, path: "contacts" };
        let start = Instant::now();
        let passed = black_box(screen(black_box(&content), self.rules, &mut self.scan)).is_ok();
        (walk, start.elapsed(), passed)
    }
}
