//! Who calls, and what they may do.

mod caller;
mod keys;
mod owner;
mod token;

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod providers;
#[cfg(test)]
mod published;

pub use caller::{Caller, Permission};
pub(crate) use keys::are_certificates;
pub use keys::{KeyError, KeySource};
pub use owner::{OwnerKey, OwnerKind};
pub use token::{AuthError, AuthSettings, Refusal, Verifier};
