//! An engine as a child process: texts go in as JSON strings, one a line; a JSON array of findings comes back for each.
//!
//! JSON carries texts with line feeds in one line, so offsets survive. CPU time is the process' own, read when it has
//! answered everything and before it is gone; what it took until its first answer to nothing (a header line) is told
//! apart as loading.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, BufWriter, Lines, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::super::sys;
use super::names::{Dialect, KindId};
use super::score::Finding;

/// Between two lines of progress.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// How to run an engine.
pub(super) struct Engine {
    /// For messages and headings.
    pub(super) name: &'static str,
    /// Its names for what it finds.
    pub(super) dialect: Dialect,
    /// Findings with less confidence do not count, percent.
    pub(super) confidence_min: u64,
    /// Whether its first line describes it.
    pub(super) has_header: bool,
}

/// What an engine said of all texts.
pub(super) struct Answers {
    /// By text.
    pub(super) findings: Vec<Vec<Finding>>,
    /// Its names that mean nothing here.
    pub(super) unknown: BTreeSet<String>,
    /// What it says about itself.
    pub(super) header: Option<Value>,
    /// What it took.
    pub(super) cost: Cost,
}

/// Time of one run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cost {
    /// CPU time in all.
    pub(super) cpu: Duration,
    /// Of this, until the header was printed; zero without one.
    pub(super) loading: Duration,
    /// Of the clock on the wall.
    pub(super) wall: Duration,
}

impl Engine {
    /// Runs `command` over the texts.
    ///
    /// # Errors
    /// When it cannot be started, fails, answers a text with anything but findings, or not all texts. An exit status
    /// that says "something was found" is not an error.
    pub(super) fn run<T: AsRef<str> + Sync>(&self, command: &mut Command, texts: &[T]) -> Result<Answers> {
        let start = Instant::now();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {} ({command:?})", self.name))?;
        let answers = self.converse(&mut child, texts, start);
        if answers.is_err() {
            // Its own message is on standard error; it may have ended already.
            let _ = child.kill();
        }
        let status = child.wait()?;
        answers.with_context(|| format!("{} ({status})", self.name))
    }

    fn converse<T: AsRef<str> + Sync>(&self, child: &mut Child, texts: &[T], start: Instant) -> Result<Answers> {
        let stdin = child.stdin.take().context("no standard input")?;
        let stdout = child.stdout.take().context("no standard output")?;
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut stdin = BufWriter::new(stdin);
                // An engine that ends early says why itself, and is found out by the answers that are missing.
                let _ = texts.iter().try_for_each(|text| writeln!(stdin, "{}", Value::from(text.as_ref())));
            });
            self.read(child.id(), BufReader::new(stdout).lines(), texts, start)
        })
    }

    fn read<T: AsRef<str>>(
        &self,
        pid: u32,
        mut lines: Lines<BufReader<ChildStdout>>,
        texts: &[T],
        start: Instant,
    ) -> Result<Answers> {
        let mut answers = Answers {
            findings: Vec::with_capacity(texts.len()),
            unknown: BTreeSet::new(),
            header: None,
            cost: Cost::default(),
        };
        if self.has_header {
            let header = lines.next().context("ended before it began")??;
            answers.header = Some(serde_json::from_str(&header).context("the header")?);
            answers.cost.loading = sys::process_cpu(pid)?;
        }
        let mut progress =
            Progress { name: self.name, texts: texts.len(), start: Instant::now(), next: PROGRESS_EVERY };
        for (line, text) in lines.zip(texts) {
            let findings = self.parse(&line?, text.as_ref(), &mut answers.unknown);
            answers.findings.push(findings.with_context(|| format!("text {}", answers.findings.len() + 1))?);
            progress.tell(answers.findings.len());
        }
        if answers.findings.len() != texts.len() {
            bail!("answered {} of {} texts", answers.findings.len(), texts.len());
        }
        answers.cost.wall = start.elapsed();
        // Not waited for yet, so its clock can still be read even if it has ended.
        answers.cost.cpu = sys::process_cpu(pid)?;
        Ok(answers)
    }

    /// Reads one line of findings.
    fn parse(&self, line: &str, text: &str, unknown: &mut BTreeSet<String>) -> Result<Vec<Finding>> {
        let value: Value = serde_json::from_str(line).with_context(|| format!("no JSON: {line}"))?;
        let all = value.as_array().with_context(|| format!("no array of findings: {line}"))?;
        let mut findings = Vec::new();
        for one in all {
            let at = |name: &str| one[name].as_u64().and_then(|at| usize::try_from(at).ok());
            let (Some(name), Some(start), Some(end)) = (one["type"].as_str(), at("start"), at("end")) else {
                bail!("a finding without type, start or end: {one}");
            };
            if text.get(start..end).is_none() {
                bail!("a finding outside of the text: {one}");
            }
            let confidence = one["confidence"].as_u64().with_context(|| format!("no confidence: {one}"))?;
            if confidence < self.confidence_min {
                continue;
            }
            let Some(kind) = KindId::of_finding(name, self.dialect) else {
                unknown.insert(name.to_owned());
                continue;
            };
            let acted_on = one["action"].as_str().is_some_and(|action| !["allow", "flag", "none"].contains(&action));
            findings.push(Finding { kind, range: start..end, acted_on });
        }
        Ok(findings)
    }
}

/// Says now and then how far an engine has come.
struct Progress {
    name: &'static str,
    texts: usize,
    start: Instant,
    next: Duration,
}

impl Progress {
    fn tell(&mut self, done: usize) {
        let elapsed = self.start.elapsed();
        if elapsed >= self.next {
            let rate = done as f64 / elapsed.as_secs_f64();
            eprintln!("{}: {done} of {} texts, {rate:.0} a second", self.name, self.texts);
            self.next = elapsed + PROGRESS_EVERY;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENGINE: Engine = Engine { name: "test", dialect: Dialect::Acp, confidence_min: 50, has_header: false };

    fn shell(script: &str) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]);
        shell
    }

    fn parse(line: &str, text: &str) -> Result<Vec<Finding>> {
        ENGINE.parse(line, text, &mut BTreeSet::new())
    }

    fn line(kind: &str, start: usize, end: usize, confidence: u64, action: &str) -> String {
        format!(r#"[{{"type":"{kind}","start":{start},"end":{end},"confidence":{confidence},"action":"{action}"}}]"#)
    }

    #[test]
    fn a_text_with_line_feeds_is_one_text() {
        let script = r#"while read -r line; do
            if [ "$line" = '"a\nb"' ]; then echo '[{"type":"EMAIL","start":0,"end":3,"confidence":90}]'; else echo '[]'; fi
        done"#;
        let answers = ENGINE.run(&mut shell(script), &["a\nb", "", "é"]).expect("runs");
        assert_eq!(answers.findings.iter().map(Vec::len).collect::<Vec<_>>(), [1, 0, 0]);
    }

    #[test]
    fn every_text_needs_an_answer_and_an_exit_status_may_say_that_something_was_found() {
        let answer_once = "read -r line; echo '[]'; cat > /dev/null";
        let error = ENGINE.run(&mut shell(answer_once), &["a", "b"]).err().expect("one answer is missing");
        assert!(format!("{error:#}").contains("1 of 2"), "{error:#}");
        assert!(ENGINE.run(&mut shell(&format!("{answer_once}; exit 3")), &["a"]).is_ok());
    }

    #[test]
    fn loading_is_told_apart_and_cpu_time_is_read_after_the_end() {
        let engine = Engine { has_header: true, ..ENGINE };
        let work = "i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); done";
        let answers =
            engine.run(&mut shell(&format!("{work}; echo '{{\"a\":1}}'; read -r line; {work}; echo '[]'")), &["a"]);
        let Answers { header, cost, .. } = answers.expect("runs");
        assert_eq!(header.expect("a header")["a"], 1);
        assert!(cost.loading > Duration::ZERO && cost.cpu > cost.loading, "{cost:?}");
    }

    #[test]
    fn offsets_are_bytes_of_the_decoded_text() {
        let found = parse(&line("EMAIL", 3, 8, 90, "flag"), "é a@b.c").expect("reads");
        assert_eq!((found[0].range.clone(), found[0].acted_on), (3..8, false));
        assert!(parse(&line("EMAIL", 1, 8, 90, "flag"), "é a@b.c").is_err(), "inside of a character");
        assert!(parse(&line("EMAIL", 3, 9, 90, "flag"), "é a@b.c").is_err(), "after the end");
    }

    #[test]
    fn findings_below_the_confidence_do_not_count() {
        let count = |confidence| parse(&line("EMAIL", 0, 1, confidence, "block"), "a").expect("reads").len();
        assert_eq!((count(49), count(50)), (0, 1));
    }

    #[test]
    fn an_unknown_name_is_kept_for_the_report() {
        let mut unknown = BTreeSet::new();
        let found = ENGINE.parse(&line("EMAIL_ADDRESS", 0, 1, 90, "block"), "a", &mut unknown).expect("reads");
        assert!(found.is_empty() && unknown.contains("EMAIL_ADDRESS"));
    }

    #[test]
    fn what_is_not_findings_is_an_error() {
        for answer in ["", "{}", "[1]", r#"[{"type":"EMAIL"}]"#, r#"[{"type":"EMAIL","start":0,"end":1}]"#] {
            assert!(parse(answer, "a").is_err(), "{answer}");
        }
    }
}
