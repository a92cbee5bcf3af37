//! What the kill soak is made of: a world whose story goes on, the stage that the unit is killed on, the instants that it
//! is killed at, and those who look at what is left: the broker, the ledger of the dead, the tags.
//!
//! One seed decides what is told and when the unit is killed. It repeats these choices and no more: processes, servers
//! and disks go their own ways.

pub mod autopsy;
pub mod broker;
pub mod images;
pub mod manager;
pub mod scene;
pub mod stage;
pub mod tally;
pub mod verdict;
pub mod witness;
pub mod world;
