//! Configuration in two steps: [`raw`] is what the file says, [`resolved`] is what it means, checked. Only the second
//! is passed on; nothing below this module reads the file or the environment.

pub mod raw;
pub mod resolved;

pub use resolved::Config;
