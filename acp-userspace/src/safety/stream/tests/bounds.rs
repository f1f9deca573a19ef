//! What is let go, when, and what ends a stream that holds too much.

use super::*;

/// What has left after each event, and how the stream went on.
fn step_by_step(events: &[String], held_bytes_max: usize) -> (Vec<usize>, Result<(), Reason>) {
    with_caller("idp", |caller| {
        let (mut walker, mut scan, mut out) = (Walker::new(), Scan::default(), Vec::new());
        let mut tools = Tools::new(rules(Redact), caller, &[], &mut walker, &mut scan);
        let mut screen = StreamScreen::new(StreamKind::Events, held_bytes_max);
        let mut left = Vec::new();
        for event in events {
            if let Err(refused) = screen.push(event.as_bytes(), &mut tools, &mut out) {
                return (left, Err(refused.reason));
            }
            assert!(screen.held() <= 2 * held_bytes_max);
            left.push(out.len());
        }
        (left, Ok(()))
    })
}

fn delta(index: usize, content: &str) -> String {
    let choice = json!({"index": index, "delta": {"content": content}});
    format!("data: {}\n\n", json!({"choices": [choice]}))
}

fn finish(index: usize) -> String {
    let choice = json!({"index": index, "delta": {}, "finish_reason": "stop"});
    format!("data: {}\n\n", json!({"choices": [choice]}))
}

#[test]
fn a_text_that_ended_is_let_go_at_once_and_no_other() {
    let events = [delta(0, "no. 078-05"), delta(1, "no. 219-09"), finish(0), finish(1)];
    let lens: Vec<usize> = events.iter().map(String::len).collect();
    // The second text waits, and what comes behind it with it.
    let all: usize = lens.iter().sum();
    assert_eq!(step_by_step(&events, 1 << 20), (vec![0, 0, lens[0], all], Ok(())));
}

#[test]
fn texts_that_go_on_at_once_are_bounded_and_those_that_ended_make_room() {
    let undecided: Vec<_> = (0..=TEXTS_MAX).map(|index| delta(index, "5")).collect();
    let (left, result) = step_by_step(&undecided, 1 << 20);
    assert_eq!((left.len(), result), (TEXTS_MAX, Err(Reason::ResponseUnscannable)));
    let ended: Vec<_> = (0..=TEXTS_MAX).flat_map(|index| [delta(index, "5"), finish(index)]).collect();
    let (left, result) = step_by_step(&ended, 1 << 20);
    assert_eq!((left.last(), result), (Some(&ended.concat().len()), Ok(())));
}

#[test]
fn events_that_wait_are_bounded() {
    let events: Vec<_> = std::iter::once(delta(0, "5")).chain((0..100).map(|_| delta(1, "words "))).collect();
    let (left, result) = step_by_step(&events, 4096);
    assert_eq!((left.last(), result), (Some(&0), Err(Reason::ResponseUnscannable)));
    assert!(left.len() > 4096 / events[1].len() - 2, "{}", left.len());
}
