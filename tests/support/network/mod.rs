//! What the broken network is made of: the stage with a proxy on every line, the counts of the process, the judgement.

pub mod judge;
pub mod lines;
pub mod process;
pub mod stage;
