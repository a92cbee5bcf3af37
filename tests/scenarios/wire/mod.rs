//! Faults as they look in HTTP: the real mirror with its real clients, retry loops, budgets and lists of hosts, against
//! registries, a Koji and a Bodhi that are on a network within this process. Each story is one fault, and its end.
//!
//! A story says what happens and nothing else: which requests a fault strikes ([`stage::Stage::strike`]), what is pushed,
//! how much time passes. [`stage::story`] owns the ending and fails on whatever is left, on a host that should not have
//! been asked, and on a fault that never struck. `FLATBUS_TELL=1` shows every request of a story, as a failure does.

mod ending;
mod hosts;
mod stage;
mod strike;
mod truth;
mod unit;
mod visitor;

mod bodhi;
mod bodies;
mod each;
mod harness;
mod koji;
mod moving;
mod refusals;
mod uploads;
