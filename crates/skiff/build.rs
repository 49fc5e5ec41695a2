//! Builds the program of the embedded `hello-world` image and packs it as that image's only layer.

#![allow(clippy::disallowed_methods, reason = "a build script adds no dependency for better errors")]

use std::{env, fs, path::PathBuf, process::Command};

fn main() {
    println!("cargo::rerun-if-changed=hello/main.rs");
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets OUT_DIR"));
    let program = out.join("hello");
    let status = Command::new(env::var("RUSTC").expect("cargo sets RUSTC"))
        .args(["--edition=2024", "--crate-name=hello", "-Copt-level=s", "-Cpanic=abort", "-Cstrip=symbols"])
        .args(["-Clto=fat", "-Ccodegen-units=1", "-Ctarget-feature=+crt-static", "hello/main.rs", "--target"])
        .arg(env::var("TARGET").expect("cargo sets TARGET"))
        .arg("-o")
        .arg(&program)
        .status()
        .expect("cannot run rustc");
    assert!(status.success(), "the hello program does not build");

    let content = fs::read(&program).expect("the hello program was just built");
    fs::write(out.join("hello.tar"), layer("hello", &content)).expect("cannot write hello.tar");
}

/// A ustar archive with one executable file, owned by root, dated 1970: the same bytes for the same program.
fn layer(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = [0u8; 512];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000755\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{:011o}\0", content.len()));
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());

    let mut tar = header.to_vec();
    tar.extend_from_slice(content);
    tar.resize(tar.len().next_multiple_of(512) + 1024, 0);
    tar
}
