//! Who calls, and what they may do.

mod caller;
mod keys;
mod token;

#[cfg(test)]
mod attacks;

pub use caller::{Caller, Permission};
pub use keys::{KeyError, KeySource};
pub use token::{AuthError, AuthSettings, Verifier};
