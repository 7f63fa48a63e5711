//! Decides where `plim-runtime` begins.

use std::env::var;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-check-cfg=cfg(early)");
    let is =
        |what: &str, wanted: &str| var(what).is_ok_and(|value| value.split(',').any(|one| one == wanted));
    // What begins there is written for this processor, and relocates nothing.
    if is("CARGO_CFG_TARGET_ARCH", "x86_64")
        && is("CARGO_CFG_TARGET_OS", "linux")
        && is("CARGO_CFG_TARGET_FEATURE", "crt-static")
    {
        println!("cargo:rustc-cfg=early");
        println!("cargo:rustc-link-arg-bin=plim-runtime=-Wl,--entry=plim_entry");
    }
}
