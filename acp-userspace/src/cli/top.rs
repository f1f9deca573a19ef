//! `acp top`: what a running gateway does, now, over its admin socket.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};

use self::figures::Figures;
use self::sample::{Metrics, Sample};
use self::view::{Sort, View};
use super::kernel::socket;

mod figures;
mod sample;
mod view;

/// Watch a running gateway: requests, refusals by layer and by the kernel, tenants, connections.
///
/// Rates are of the time between two looks. Tenants are counted as the audit log has them; their connections as the
/// kernel has them. On anything but a terminal it looks twice, prints once and ends.
///
/// Keys: q ends; s sorts the tenants by the next column; space pauses.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The gateway's admin socket (`admin.socket`).
    #[arg(long, value_name = "PATH", default_value = "/run/acp/admin.sock")]
    socket: PathBuf,
    /// Seconds between two looks, 0.2 to 3600.
    #[arg(long, short = 'n', default_value = "2", value_parser = interval)]
    interval: Duration,
    /// Look twice, print once, and end.
    #[arg(long)]
    once: bool,
}

fn interval(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.2..=3_600.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "a number of seconds from 0.2 to 3600".to_owned())
}

/// Runs the command.
///
/// # Errors
/// The gateway cannot be asked at the start, or the terminal cannot be used. One that goes away later is shown so.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let first = ask(&args.socket, started)?;
    if args.once || !io::stdout().is_terminal() {
        std::thread::sleep(args.interval);
        let figures = Figures::between(&first, &ask(&args.socket, started)?);
        let text = view::text(&View::new(figures));
        return match io::stdout().lock().write_all(text.as_bytes()) {
            // Whoever read the output has had enough (`| head`).
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
            _ => Ok(ExitCode::SUCCESS),
        };
    }
    let mut terminal = ratatui::try_init().context("cannot use the terminal")?;
    let shown = watch(&mut terminal, args, started, first);
    ratatui::restore();
    shown.map(|()| ExitCode::SUCCESS)
}

fn watch(
    terminal: &mut ratatui::DefaultTerminal,
    args: &Args,
    started: Instant,
    mut last: Sample,
) -> anyhow::Result<()> {
    let mut view = View::new(Figures::between(&last, &last));
    let mut due = Instant::now() + args.interval;
    loop {
        terminal.draw(|frame| view::draw(frame, &view))?;
        if event::poll(due.saturating_duration_since(Instant::now()))? {
            match press(&event::read()?) {
                Some(Press::End) => return Ok(()),
                Some(Press::Sort) => view.sort = view.sort.next(),
                Some(Press::Pause) => view.paused = !view.paused,
                None => {}
            }
            continue;
        }
        due = Instant::now() + args.interval;
        if view.paused {
            continue;
        }
        match ask(&args.socket, started) {
            Ok(sample) => {
                view.figures = Figures::between(&last, &sample);
                view.trouble = None;
                last = sample;
            }
            Err(error) => view.trouble = Some(format!("{error:#}")),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Press {
    End,
    Sort,
    Pause,
}

fn press(event: &Event) -> Option<Press> {
    let Event::Key(key) = event else { return None };
    if key.kind != KeyEventKind::Press {
        return None;
    }
    match key.code {
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Some(Press::End),
        KeyCode::Char('q') | KeyCode::Esc => Some(Press::End),
        KeyCode::Char('s') => Some(Press::Sort),
        KeyCode::Char(' ') => Some(Press::Pause),
        _ => None,
    }
}

/// One look: five questions to the socket.
fn ask(path: &Path, started: Instant) -> anyhow::Result<Sample> {
    let get = |what: &str| -> anyhow::Result<Vec<u8>> {
        let answer = socket::ask(path, what, None)?;
        match answer.status {
            200 => Ok(answer.body),
            404 => bail!("this gateway has no {what}: it is of another version"),
            status => bail!("the gateway answered {status} for {what}"),
        }
    };
    let unreadable = |what: &'static str| move || format!("the gateway's {what} cannot be read");
    Ok(Sample {
        at: started.elapsed(),
        metrics: Metrics::parse(&String::from_utf8_lossy(&get("/metrics")?)),
        status: serde_json::from_slice(&get("/status")?).with_context(unreadable("status"))?,
        tenants: serde_json::from_slice(&get("/tenants")?).with_context(unreadable("tenants"))?,
        connections: serde_json::from_slice(&get("/kernel/connections")?).with_context(unreadable("connections"))?,
        penalties: serde_json::from_slice(&get("/kernel/penalties")?).with_context(unreadable("penalties"))?,
    })
}

impl Sort {
    fn next(self) -> Self {
        match self {
            Self::Requests => Self::Refused,
            Self::Refused => Self::Connections,
            Self::Connections => Self::Bytes,
            Self::Bytes => Self::Requests,
        }
    }
}

#[cfg(test)]
mod tests {
    use ratatui::crossterm::event::KeyEvent;

    use super::*;

    #[test]
    fn keys_do_what_the_help_says() {
        let key = |code, modifiers| press(&Event::Key(KeyEvent::new(code, modifiers)));
        assert_eq!(key(KeyCode::Char('q'), KeyModifiers::NONE), Some(Press::End));
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Press::End));
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::NONE), None);
        assert_eq!(key(KeyCode::Char('s'), KeyModifiers::NONE), Some(Press::Sort));
        assert_eq!(key(KeyCode::Char(' '), KeyModifiers::NONE), Some(Press::Pause));
    }

    #[test]
    fn an_interval_has_bounds() {
        assert_eq!(interval("0.5"), Ok(Duration::from_millis(500)));
        for bad in ["0", "0.1", "-1", "1e9", "NaN", "x"] {
            assert!(interval(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sorting_comes_back_to_where_it_began() {
        let seen: Vec<Sort> = std::iter::successors(Some(Sort::Requests), |sort| Some(sort.next())).take(5).collect();
        assert_eq!(seen, [Sort::Requests, Sort::Refused, Sort::Connections, Sort::Bytes, Sort::Requests]);
    }
}
