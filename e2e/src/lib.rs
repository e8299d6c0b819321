//! A fake GitHub that can be told how to misbehave, and a harness that starts the real host with the real component.

mod dice;
pub mod fake;
pub mod harness;

pub use dice::Dice;
