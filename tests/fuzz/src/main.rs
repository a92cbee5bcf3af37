//! The coverage-guided engine: libFuzzer, on the target that `FLATBUS_FUZZ` names. Arguments are libFuzzer's own.
#![no_main]
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a tool for a terminal")]

use std::{env, fs, path::Path, process::exit, sync::OnceLock};

use flatbus_fuzz::{TARGETS, Target, target};
use libfuzzer_sys::fuzz_target;

static CHOSEN: OnceLock<Target> = OnceLock::new();

fuzz_target!(init: { choose(); }, |data: &[u8]| {
    (CHOSEN.get().unwrap().check)(data);
});

/// Takes the target from the environment; with `FLATBUS_FUZZ_SEEDS` only writes its seeds there, a file each.
fn choose() {
    let name = env::var("FLATBUS_FUZZ").unwrap_or_default();
    let Some(chosen) = target(&name) else {
        let known = TARGETS.map(|target| target.name).join(", ");
        eprintln!("FLATBUS_FUZZ={name:?} is no target; there are: {known}");
        exit(2);
    };
    if let Some(folder) = env::var_os("FLATBUS_FUZZ_SEEDS") {
        for (number, seed) in (chosen.seeds)().into_iter().enumerate() {
            fs::write(Path::new(&folder).join(format!("seed-{number:03}")), seed).unwrap();
        }
        exit(0);
    }
    CHOSEN.get_or_init(|| chosen);
}
