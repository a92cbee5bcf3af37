//! Faults as they look in HTTP: the real mirror with its real clients, retry loops, budgets and lists of hosts, against a
//! registry, a Koji and a Bodhi that are on a network within this process. Each story is one fault, and its end.
//!
//! A story says what happens and nothing else: [`stage::story`] owns the ending, and fails on whatever is left.

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
