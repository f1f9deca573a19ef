//! Placeholder until the programs land.

fn main() {}
