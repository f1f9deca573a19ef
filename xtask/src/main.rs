//! Development tasks.

mod bench;

use clap::Parser as _;

#[derive(clap::Parser)]
#[command(name = "xtask")]
enum Command {
    /// Measure the gateway against its peers, or with --flood under attack.
    Bench(bench::Args),
}

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Bench(args) => bench::run(args),
    }
}
