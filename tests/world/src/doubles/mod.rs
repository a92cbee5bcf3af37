//! The outside as a process sees it: the in-memory twins behind the gate.

mod broker;
mod registry;
mod store;
mod upstream;

pub use self::{
    broker::{Affected, GatedPublisher, GatedSource},
    registry::GatedRegistry,
    store::GatedStore,
    upstream::{GatedBodhi, GatedKoji, GatedQuay},
};
