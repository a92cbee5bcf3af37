//! What must hold of every parser whatever it is given, as plain functions over bytes. The fuzz engine drives them with
//! inputs that it finds by coverage; the replay of the kept corpus drives them in the normal suite. A function that
//! returns is content, one that panics has found a defect.
//!
//! Nothing here reads a clock, a file outside of this folder and the samples, or a network.
#![allow(clippy::panic, reason = "a property that does not hold is told by a panic")]

mod config;
mod credentials;
mod headers;
mod images;
mod messages;
mod names;
pub mod rules;
mod samples;
mod upstream;

/// Longest input any target is given, in bytes. What takes longer than linear time shows below this.
pub const INPUT_BYTES_MAX: usize = 64 << 10;

/// One door that hostile bytes come through.
#[derive(Clone, Copy)]
pub struct Target {
    /// Names its corpus and dictionary.
    pub name: &'static str,
    /// What must hold.
    pub check: fn(&[u8]),
    /// Where to begin: inputs made of the samples, and of what production sends.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// Every target.
pub const TARGETS: [Target; 13] = [
    Target { name: "auth_json", check: credentials::check, seeds: credentials::seeds },
    Target { name: "bodhi", check: upstream::check_bodhi, seeds: upstream::bodhi },
    Target { name: "builds", check: upstream::check_build, seeds: upstream::builds },
    Target { name: "challenge", check: headers::check_challenge, seeds: headers::challenges },
    Target { name: "config", check: config::check, seeds: config::seeds },
    Target { name: "delivery", check: messages::check_delivery, seeds: messages::deliveries },
    Target { name: "frames", check: messages::check_frames, seeds: messages::streams },
    Target { name: "image", check: images::check_image, seeds: images::images },
    Target { name: "manifest", check: images::check_manifest, seeds: images::manifests },
    Target { name: "names", check: names::check, seeds: names::seeds },
    Target { name: "ranges", check: headers::check_range, seeds: headers::ranges },
    Target { name: "record", check: messages::check_record, seeds: messages::records },
    Target { name: "xmlrpc", check: upstream::check_xmlrpc, seeds: upstream::xmlrpc },
];

/// The target of that name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}
