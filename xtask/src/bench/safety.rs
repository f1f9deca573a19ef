//! `bench --safety`: how much of what is labelled the gateway's scan finds, and how much of what it finds is right,
//! beside Microsoft Presidio on the same texts in the same run.
//!
//! Both engines get every labelled text of the corpora (`ACP_CORPORA`), once, in the same order, as a process that reads
//! JSON strings and prints findings. What a label is, which finding finds it, and what is not judged stands in `corpus`
//! and `score`; what the figures have to be in `verdict`. Texts with nothing in them come from the corpora and from this
//! machine (`negatives`): the gateway gets all of them, Presidio every n-th, because it would take the better part of an
//! hour.
//!
//! Everything missed or wrong goes to `target/bench/safety/`, with the texts: labelled public test data, and lines of
//! this machine, which is why those files stay there.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::json;

mod corpus;
mod dispute;
mod engine;
mod forms;
mod names;
mod negatives;
mod presidio;
mod score;
mod table;
mod verdict;

use super::host;
use corpus::{Corpus, Record};
use engine::{Answers, Engine};
use names::Dialect;
use negatives::Hits;
use score::{Finding, Score};
use table::Side;

/// Options of `cargo xtask bench --safety`.
#[derive(clap::Args, Clone, Debug)]
#[group(skip)]
pub(super) struct Args {
    /// With --safety: also write the report, as Markdown, to this file.
    #[arg(long, requires = "safety", value_name = "FILE")]
    report: Option<PathBuf>,
    /// With --safety: measure the gateway alone; context-bound types are then not judged.
    #[arg(long, requires = "safety")]
    without_presidio: bool,
    /// With --safety: findings of the gateway with less confidence do not count, percent.
    #[arg(long, requires = "safety", default_value_t = 0, value_name = "PERCENT")]
    acp_confidence: u64,
    /// With --safety: findings of Presidio with less confidence do not count, percent.
    #[arg(long, requires = "safety", default_value_t = 35, value_name = "PERCENT")]
    presidio_confidence: u64,
    /// With --safety: lines of source code and logs for the gateway, at most.
    #[arg(long, requires = "safety", default_value_t = 200_000, value_name = "COUNT")]
    lines: usize,
    /// With --safety: how many of these lines Presidio gets, evenly chosen.
    #[arg(long, requires = "safety", default_value_t = 10_000, value_name = "COUNT")]
    presidio_lines: usize,
}

/// Texts of one run.
struct Texts {
    corpus: Corpus,
    lines: Vec<String>,
}

/// Measures, and prints the report.
///
/// # Errors
/// When an engine fails, or a figure is not what it has to be.
#[expect(clippy::print_stdout, reason = "the report is what the command is for")]
pub(super) fn run(args: &Args, acp: &Path, root: &Path) -> Result<()> {
    let texts = Texts { corpus: corpus::load(&corpus::folder()?)?, lines: negatives::lines(args.lines) };
    eprintln!("{} labelled texts, {} lines of source code and logs", texts.corpus.records.len(), texts.lines.len());
    let folder = root.join("safety");
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;

    let engine = Engine { name: "acp", dialect: Dialect::Acp, confidence_min: args.acp_confidence, has_header: false };
    let scan = || {
        let mut command = Command::new(acp);
        command.args(["scan", "--json-lines", "-"]);
        Ok(command)
    };
    let (acp, mut remarks) = measure(&engine, scan, &texts, 1, &folder)?;
    let peer = if args.without_presidio {
        None
    } else {
        let step = texts.lines.len().div_ceil(args.presidio_lines.max(1)).max(1);
        let (peer, said) =
            measure(&presidio::engine(args.presidio_confidence), presidio::command, &texts, step, &folder)?;
        remarks.extend(said);
        remarks.push(format!("Presidio's findings count from a confidence of {} %.", args.presidio_confidence));
        Some(peer)
    };
    if !texts.corpus.unknown.is_empty() {
        remarks.push(format!("Labels that count nowhere: {}.", texts.corpus.unknown.join(", ")));
    }
    remarks.push(format!("Measured on {}.", host::processor()));
    let (report, failures) = report(&acp, peer.as_ref(), &remarks);
    println!("{report}");
    if let Some(file) = &args.report {
        fs::write(file, &report).with_context(|| format!("writing {}", file.display()))?;
    }
    if !failures.is_empty() {
        bail!("{}", failures.join("; "));
    }
    Ok(())
}

/// One engine over everything, or over every `step`-th of the lines; and what has to be said about it.
fn measure(
    engine: &Engine,
    command: impl Fn() -> Result<Command>,
    texts: &Texts,
    step: usize,
    folder: &Path,
) -> Result<(Side, Vec<String>)> {
    let labelled: Vec<&str> = texts.corpus.records.iter().map(|record| record.text.as_str()).collect();
    let lines: Vec<&str> = texts.lines.iter().step_by(step).map(String::as_str).collect();
    let answers = engine.run(&mut command()?, &labelled)?;
    let of_lines = engine.run(&mut command()?, &lines)?;
    let score = Score::of(&texts.corpus.records, &answers.findings);
    write_mistakes(folder, engine.name, &texts.corpus.records, &score)?;
    write_hits(folder, engine.name, &lines, &of_lines.findings)?;
    let negatives = [corpus_hits(&texts.corpus.records, &answers.findings), line_hits(&of_lines.findings)];
    let remarks = remarks(engine, &answers, &of_lines);
    let cost = (answers.cost, labelled.len());
    Ok((Side { name: engine.name, dialect: engine.dialect, score, cost, negatives }, remarks))
}

fn remarks(engine: &Engine, answers: &Answers, of_lines: &Answers) -> Vec<String> {
    let mut remarks = Vec::new();
    if let Some(header) = &answers.header {
        remarks.push(format!("Peer: {}.", presidio::describe(header)));
        remarks
            .push(format!("Its types that nothing here is labelled with: {}.", presidio::unmapped(header).join(", ")));
    } else {
        let unknown: Vec<&str> = answers.unknown.union(&of_lines.unknown).map(String::as_str).collect();
        if !unknown.is_empty() {
            remarks.push(format!("Types of {} that count nowhere: {}.", engine.name, unknown.join(", ")));
        }
    }
    remarks
}

/// The corpora's texts with nothing in them, each judged inside its scope.
fn corpus_hits(records: &[Record], findings: &[Vec<Finding>]) -> Hits {
    let mut hits = Hits::default();
    for (record, findings) in records.iter().zip(findings) {
        if record.file.starts_with("negatives_") {
            let judged = findings.iter().filter(|finding| record.scope.covers(finding.kind));
            hits.count(judged, |finding| finding.acted_on);
        }
    }
    hits
}

fn line_hits(findings: &[Vec<Finding>]) -> Hits {
    let mut hits = Hits::default();
    findings.iter().for_each(|findings| hits.count(findings.iter(), negatives::is_mistake));
    hits
}

/// The report, and every reason why the run fails.
fn report(acp: &Side, peer: Option<&Side>, remarks: &[String]) -> (String, Vec<String>) {
    let verdicts = table::judge(acp, peer);
    let mut failures: Vec<String> = verdicts
        .iter()
        .filter(|(_, verdict)| verdict.is_failure())
        .map(|(row, verdict)| format!("{row}: {}", verdict.name()))
        .collect();
    let [corpora, lines] = &acp.negatives;
    if !verdict::few_enough(&[corpora, lines]) {
        failures.push(format!("more than one in {} texts without anything is acted on", verdict::NEGATIVES_PER_HIT));
    }
    if lines.texts < verdict::LINES_MIN {
        failures.push(format!("only {} lines of source code and logs on this machine", lines.texts));
    }
    let mut text = table::accuracy(acp, peer, &verdicts);
    for part in [table::negatives(acp, peer), table::cost(acp, peer)] {
        let _ = write!(text, "\n{part}");
    }
    if !remarks.is_empty() {
        let _ = write!(text, "\n{}", remarks.iter().map(|remark| format!("- {remark}\n")).collect::<String>());
    }
    (text, failures)
}

/// Everything that an engine missed, or found where it is not, a JSON object a line.
fn write_mistakes(folder: &Path, name: &str, records: &[Record], score: &Score) -> Result<()> {
    let line = |mistake: &score::Mistake| {
        let record = &records[mistake.record];
        json!({
            "row": mistake.row.to_string(), "missed": mistake.missed, "file": record.file,
            "value": record.text.get(mistake.range.clone()), "text": record.text,
        })
    };
    write_lines(&folder.join(format!("mistakes-{name}.jsonl")), score.mistakes.iter().map(line))
}

/// Every line of source code and logs with a finding.
fn write_hits(folder: &Path, name: &str, lines: &[&str], findings: &[Vec<Finding>]) -> Result<()> {
    let hits = lines.iter().zip(findings).flat_map(|(line, findings)| {
        findings.iter().map(move |finding| {
            json!({
                "type": finding.kind.kind().name, "acted_on": finding.acted_on,
                "value": line.get(finding.range.clone()), "text": line,
            })
        })
    });
    write_lines(&folder.join(format!("hits-{name}.jsonl")), hits)
}

fn write_lines(file: &Path, lines: impl Iterator<Item = serde_json::Value>) -> Result<()> {
    let text: String = lines.map(|line| format!("{line}\n")).collect();
    fs::write(file, text).with_context(|| format!("writing {}", file.display()))?;
    eprintln!("wrote {}", file.display());
    Ok(())
}
