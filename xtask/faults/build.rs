//! Builds the shim, as a library to be preloaded; `src/shim.rs` takes it in.

use std::{env, path::PathBuf};

fn main() {
    println!("cargo:rerun-if-changed=shim/shim.c");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("linux") {
        return;
    }
    let Some(folder) = env::var_os("OUT_DIR").map(PathBuf::from) else {
        panic!("cargo sets OUT_DIR for every build script");
    };
    let library = folder.join("ipa_faults.so");
    // cc finds the compiler and what it needs for the target, but links no shared libraries itself.
    let mut command = cc::Build::new().warnings(true).extra_warnings(true).get_compiler().to_command();
    command.args(["-shared", "-fPIC", "-pthread", "-std=gnu11", "shim/shim.c", "-o"]).arg(&library);
    match command.status() {
        Ok(status) if status.success() => {}
        outcome => panic!("the C compiler does not build shim/shim.c: {command:?}: {outcome:?}"),
    }
}
