//! Where things are: the workspace, and the build cache under `target/` that survives between tasks.

use std::path::{Path, PathBuf};

/// The workspace's root.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace")
}

/// Tools that are built or downloaded once.
pub(crate) fn cache() -> PathBuf {
    root().join("target/acp-cache")
}

/// The linker of BPF programs.
pub(crate) fn bpf_linker() -> PathBuf {
    cache().join("bin/bpf-linker")
}

/// The Python environment of the tests and benchmarks.
pub(crate) fn venv() -> PathBuf {
    cache().join("venv")
}

/// The Python environment of Presidio, which `bench --safety` compares with.
pub(crate) fn presidio() -> PathBuf {
    cache().join("presidio")
}

/// The Node packages of the tests.
pub(crate) fn node() -> PathBuf {
    cache().join("npm")
}

/// The MCP server that the tests drive, once installed.
pub(crate) fn mcp_server() -> PathBuf {
    node().join("node_modules/@modelcontextprotocol/server-everything/dist/index.js")
}

/// The BPF object, where `acp-userspace/build.rs` looks for it.
pub(crate) fn bpf_object() -> PathBuf {
    root().join("target/bpf-object/acp.bpf.o")
}
