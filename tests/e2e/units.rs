//! The units of systemd that the documentation gives, as systemd itself reads them.

use std::path::Path;
use std::process::Command;

use crate::process::{acp, run};

const INSTALLED: &str = "/usr/local/bin/acp";

/// The block of deployment.md that holds `mark`.
fn block(mark: &str) -> &'static str {
    let blocks = include_str!("../../docs/deployment.md").split("```");
    let found = blocks.skip(1).step_by(2).filter_map(|block| block.strip_prefix("ini\n"));
    found.into_iter().find(|block| block.contains(mark)).unwrap_or_else(|| panic!("no block with {mark:?}"))
}

/// Writes a unit that runs the binary of this build, for the one of the documentation may not be installed.
fn write(path: &Path, text: &str) {
    let binary = acp().get_program().to_string_lossy().into_owned();
    std::fs::create_dir_all(path.parent().expect("a directory")).expect("created");
    std::fs::write(path, text.replace(INSTALLED, &binary)).expect("written");
}

#[test]
fn systemd_takes_the_units_of_the_documentation_as_they_are() {
    let verify = |paths: &[&Path], units: &Path| {
        let mut command = Command::new("systemd-analyze");
        // A list that ends in a colon goes on with the directories of the host.
        command.env("SYSTEMD_UNIT_PATH", format!("{}:", units.display())).args(["verify", "--man=no"]).args(paths);
        run(&mut command)
    };
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        eprintln!("SKIPPED: there is no systemd-analyze");
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let [gateway, agent, report] =
        ["acp.service", "agent.service", "acp-confine.service"].map(|name| dir.path().join(name));
    write(&gateway, include_str!("../../examples/acp.service"));
    write(&agent, "[Service]\nExecStart=/bin/true\n");
    write(&dir.path().join("agent.service.d/acp.conf"), block("ExecStartPre=+"));
    write(&report, block("Description=What confined processes"));
    let said = verify(&[&gateway, &agent, &report], dir.path());
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{}", said.stdout);
    // That it looks at all.
    write(&agent.with_file_name("agent.service.d").join("typo.conf"), "[Service]\nRestrictNamespace=yes\n");
    let said = verify(&[&agent], dir.path());
    assert!(said.stderr.contains("RestrictNamespace"), "{}", said.stderr);
}
