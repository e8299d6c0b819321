//! Who asks GitHub, and when nobody does: of all who want the same page one at a time, of all pages so many at once,
//! and none while a gate is closed.

pub mod fill;
pub mod flight;
pub mod gate;
pub mod lease;
pub mod permits;
pub mod trouble;
