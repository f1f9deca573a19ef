//! `cargo xtask bench --flood`: what an offender costs its victim, the gateway and the machine, with the kernel plane and
//! without.
//!
//! The offender opens a connection for each attempt, at a fixed pace and whatever it is told; the victim sends as the
//! users of other tenants, at half of what it reaches alone. [`scenario`] has the floods: a declared source over its
//! tenant's limit or over a user's, a learned one, the victim's own address, refused or left without an answer, on
//! loopback and from another host; and the first of each network without the kernel plane, beside it. [`clean`] and
//! [`steering`] measure what the kernel plane costs, and does, where nobody attacks.
//!
//! - *On time*: answered correctly within the deadline, counted from when the request was due; what is never answered
//!   is not on time.
//! - *CPU per refused attempt*: the gateway's CPU time with nobody but the offender, less what an idle gateway uses in
//!   the same time, per attempt that got nothing. Beside the victim it is shown as well, as what the same victim's
//!   requests do not explain: a small difference of two large numbers.
//! - *Of the machine*: the same for all cores and everybody, the offender included; and without what the offender's
//!   process was charged with. The kernel refuses in an interrupt, which no process is charged for, or whoever happens
//!   to run.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value, json};

use super::host::Host;
use super::keys::{self, Keys};
use super::lab::Lab;
use super::peers;

pub(super) mod blast;
mod clean;
pub(super) mod machine;
mod programs;
mod round;
mod scenario;
mod series;
mod steering;
mod verdict;
mod wire;

use clean::Clean;
use round::Field;
use scenario::Flood;
use series::Series;
use steering::Steering;
use verdict::Verdict;
use wire::Wire;

/// Tenants: so many that one's limit is far below the offender's pace and far above what one of the victim's sends.
const TENANTS: usize = 500;

/// What can be asked for by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A flood.
    Flood(Flood),
    /// The cost of the kernel plane to clean traffic.
    Clean,
    /// Two workers with and without steering.
    Steering,
}

impl Part {
    /// All of them.
    pub(super) fn all() -> Vec<Self> {
        Flood::ALL.into_iter().map(Self::Flood).chain([Self::Clean, Self::Steering]).collect()
    }

    /// By its name.
    ///
    /// # Errors
    /// When there is none of that name; the names there are.
    pub(super) fn parse(name: &str) -> Result<Self, String> {
        let found = Self::all().into_iter().find(|part| part.name() == name);
        found.ok_or_else(|| Self::all().iter().map(|part| part.name()).collect::<Vec<_>>().join(", "))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Flood(flood) => flood.name(),
            Self::Clean => "clean",
            Self::Steering => "steering",
        }
    }
}

/// Sizes of the flood.
#[derive(Clone, Debug)]
pub(super) struct Sizes {
    /// Which floods.
    pub(super) parts: Vec<Part>,
    /// Rounds; medians are of these.
    pub(super) rounds: usize,
    /// Each window, seconds; a flood with open windows takes whole cycles.
    pub(super) seconds: f64,
    /// The victim's connections.
    pub(super) connections: usize,
    /// The offender's connections per second.
    pub(super) offender_rate: f64,
    /// Later is not on time, milliseconds.
    pub(super) deadline_ms: u64,
}

/// The two sides' tokens.
struct Sides {
    tenant: String,
    offender: PathBuf,
    victims: PathBuf,
}

/// All that was measured.
#[derive(Default)]
struct Results {
    floods: Vec<Series>,
    clean: Option<Clean>,
    steering: Option<Steering>,
}

/// Mints the tokens of the flood: more tenants than the rows have.
///
/// # Errors
/// When it fails.
pub(super) fn mint(acp: &std::path::Path, root: &std::path::Path) -> Result<Keys> {
    Keys::mint(acp, &root.join("flood-keys"), TENANTS)
}

/// Runs what was asked for and writes tables and JSON.
///
/// # Errors
/// When the gateway fails, the victim gets a wrong answer, or a criterion is missed.
pub(super) fn run(lab: &Lab, sizes: &Sizes, network: &str) -> Result<()> {
    let sides = split_tokens(lab)?;
    let (server, backend) = peers::start_backend(lab)?;
    let floods: Vec<Flood> =
        sizes.parts.iter().filter_map(|part| if let Part::Flood(flood) = part { Some(*flood) } else { None }).collect();
    let wire = floods.iter().any(|flood| flood.is_wired()).then(Wire::lay).transpose()?;
    let field = Field { lab, sides: &sides, backend, wire: wire.as_ref(), sizes };
    let rate = round::quiet_maximum(field, Flood::Declared)? / 2.0;
    let wired = if wire.is_some() { round::quiet_maximum(field, Flood::Wire)? / 2.0 } else { 0.0 };
    eprintln!("victim: {rate:.0} requests/s, half of its quiet maximum; offender: {} connects/s", sizes.offender_rate);
    let all = floods.iter().map(|&flood| {
        let rate = if flood.is_wired() { wired } else { rate };
        Series { flood, rounds: Vec::new(), rate }
    });
    let mut results = Results { floods: all.collect(), ..Results::default() };
    measure_floods(field, &mut results.floods)?;
    if sizes.parts.contains(&Part::Clean) {
        results.clean = Some(clean::run(field, rate)?);
    }
    if sizes.parts.contains(&Part::Steering) {
        results.steering = Some(steering::run(field, rate)?);
    }
    drop(wire);
    server.stop()?;
    results.report(lab, sizes, &Host::describe_flood(lab, network, sizes))
}

fn measure_floods(field: Field<'_>, all: &mut [Series]) -> Result<()> {
    for number in 0..field.sizes.rounds {
        for turn in 0..all.len() {
            // Each round starts one further, so that no flood always follows the same one.
            let index = (turn + number) % all.len();
            let series = &mut all[index];
            let round = round::run(field, series.flood, series.rate)
                .with_context(|| format!("in the flood {}", series.flood.name()))?;
            eprintln!(
                "round {}/{}  {:<14} victim {:.1} % on time (quiet {:.1} %)   {:.1} % of {} attempts kept out   \
                 {:.2} µs CPU each ({:.2} beside the victim)",
                number + 1,
                field.sizes.rounds,
                series.flood.name(),
                100.0 * round.flood.on_time_share(),
                100.0 * round.quiet.on_time_share(),
                100.0 * round.kept_out_share(series.flood),
                round.offender.made(),
                round.cpu_us_per_refused_alone(),
                round.cpu_us_per_refused(),
            );
            series.rounds.push(round);
        }
    }
    Ok(())
}

/// The offender is the first user; its whole tenant is kept out of the victim's traffic.
fn split_tokens(lab: &Lab) -> Result<Sides> {
    let tokens = lab.keys.read_tokens()?;
    let first = tokens.first().context("there are no tokens")?;
    let tenant = keys::tenant(first)?;
    let mut victims = Vec::new();
    for token in &tokens {
        if keys::tenant(token)? != tenant {
            victims.push(token.as_str());
        }
    }
    let directory = lab.fresh_directory("flood")?;
    let sides = Sides { tenant, offender: directory.join("offender.txt"), victims: directory.join("victims.txt") };
    fs::write(&sides.offender, first)?;
    fs::write(&sides.victims, victims.join("\n"))?;
    Ok(sides)
}

impl Results {
    fn verdicts(&self) -> Vec<Verdict> {
        let floods = self.floods.iter().flat_map(Series::verdicts);
        let clean = self.clean.iter().flat_map(Clean::verdicts);
        let steering = self.steering.iter().flat_map(Steering::verdicts);
        floods.chain(clean).chain(steering).collect()
    }

    #[expect(clippy::print_stdout, reason = "the tables are what the command is for")]
    fn report(&self, lab: &Lab, sizes: &Sizes, host: &Host) -> Result<()> {
        let verdicts = self.verdicts();
        if !self.floods.is_empty() {
            println!("\n{}", series::to_text(&self.floods));
        }
        if let Some(clean) = &self.clean {
            println!("{}", clean.to_text());
        }
        if let Some(steering) = &self.steering {
            println!("{}", steering.to_text());
        }
        println!("\n{}\n{}", verdict::to_text(&verdicts), host.to_text());
        self.write(lab, sizes, host, &verdicts)?;
        let errors: u64 = self.floods.iter().map(Series::errors).sum();
        if errors > 0 {
            bail!("{errors} of the victim's requests failed");
        }
        match verdict::missed(&verdicts) {
            None => Ok(()),
            Some(missed) => bail!("missed: {missed}"),
        }
    }

    /// A run of some parts leaves the others' results of earlier runs where they are.
    fn write(&self, lab: &Lab, sizes: &Sizes, host: &Host, verdicts: &[Verdict]) -> Result<()> {
        let file = lab.root.join("flood.json");
        let earlier = fs::read_to_string(&file).ok().and_then(|text| serde_json::from_str::<Value>(&text).ok());
        let mut parts = match earlier.as_ref().map(|earlier| &earlier["parts"]) {
            Some(Value::Object(parts)) => parts.clone(),
            _ => Map::new(),
        };
        for part in &sizes.parts {
            let mut result = match part {
                Part::Flood(flood) => self.floods.iter().find(|it| it.flood == *flood).map(Series::to_json),
                Part::Clean => self.clean.as_ref().map(Clean::to_json),
                Part::Steering => self.steering.as_ref().map(Steering::to_json),
            }
            .unwrap_or_default();
            let own = verdicts.iter().filter(|verdict| verdict.of == part.name());
            result["criteria"] = own.map(Verdict::to_json).collect();
            result["host"] = host.to_json();
            parts.insert(part.name().to_owned(), result);
        }
        let json = json!({
            "parts": parts,
            "offender_connects_per_second": sizes.offender_rate,
            "deadline_ms": sizes.deadline_ms,
        });
        fs::write(&file, serde_json::to_string_pretty(&json)? + "\n").with_context(|| format!("{}", file.display()))?;
        eprintln!("wrote {}", file.display());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_found_by_its_name_and_no_other_is() {
        for part in Part::all() {
            assert_eq!(Part::parse(part.name()), Ok(part));
        }
        let names = Part::parse("everything").expect_err("there is none");
        assert!(names.contains("wire-silent") && names.contains("steering"), "{names}");
    }

    #[test]
    fn the_verdicts_of_all_parts_are_in_one_table() {
        let results = Results::default();
        assert!(results.verdicts().is_empty());
    }
}
