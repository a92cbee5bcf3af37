//! The HTTP clients against doubles of the services, on loopback.
#![expect(clippy::unwrap_used, reason = "test helpers stand outside of the test functions that may")]

mod conformance;
mod double;
mod faults;
