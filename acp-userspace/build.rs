//! Embeds the BPF object, if there is one.
//!
//! `cargo xtask build-ebpf` puts it at `target/bpf-object/acp.bpf.o`; `ACP_BPF_OBJECT` names another. Without it the
//! gateway builds all the same and says at start that it has no kernel plane. The directory is created so that cargo
//! has something to watch: a missing path would make it rebuild the crate every time.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rustc-check-cfg=cfg(acp_bpf_object)");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=ACP_BPF_OBJECT");
    let object = object()?;
    if object.is_file() {
        let out = PathBuf::from(env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?);
        fs::copy(&object, out.join("acp.bpf.o"))?;
        println!("cargo::rustc-cfg=acp_bpf_object");
    }
    Ok(())
}

/// Where the object is, or will be.
fn object() -> io::Result<PathBuf> {
    if let Some(path) = env::var_os("ACP_BPF_OBJECT") {
        let path = PathBuf::from(path);
        println!("cargo::rerun-if-changed={}", path.display());
        return Ok(path);
    }
    let manifest = env::var_os("CARGO_MANIFEST_DIR").ok_or(io::ErrorKind::NotFound)?;
    let directory = Path::new(&manifest).join("../target/bpf-object");
    // A read-only source tree has no object to watch for either.
    if fs::create_dir_all(&directory).is_ok() {
        println!("cargo::rerun-if-changed={}", directory.display());
    }
    Ok(directory.join("acp.bpf.o"))
}
