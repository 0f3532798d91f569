use std::fmt;

use super::Caller;

/// Whether an owner is a user or a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OwnerKind {
    /// A user, by the `sub` of its tokens.
    User,
    /// A tenant, and so each of its users.
    Tenant,
}

impl OwnerKind {
    /// The name in keys and documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Tenant => "tenant",
        }
    }

    /// By the name, in any case: some of upstream's services write `USER` and `TENANT`.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        [Self::User, Self::Tenant].into_iter().find(|kind| kind.as_str().eq_ignore_ascii_case(name))
    }
}

/// A user or a tenant. A user is never the tenant of the same id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnerKey {
    /// Which of the two.
    pub kind: OwnerKind,
    /// Its id.
    pub id: String,
}

impl OwnerKey {
    /// A user.
    #[must_use]
    pub fn user(id: &str) -> Self {
        Self { kind: OwnerKind::User, id: id.into() }
    }

    /// A tenant.
    #[must_use]
    pub fn tenant(id: &str) -> Self {
        Self { kind: OwnerKind::Tenant, id: id.into() }
    }

    /// Whether this is the owner's text, as [`fmt::Display`] gives it.
    #[must_use]
    pub fn is(&self, text: &str) -> bool {
        let id = text.strip_prefix(self.kind.as_str()).and_then(|rest| rest.strip_prefix('#'));
        id == Some(self.id.as_str())
    }
}

impl fmt::Display for OwnerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.kind.as_str(), self.id)
    }
}

impl Caller {
    /// As whom the caller owns things: itself, and its tenant.
    #[must_use]
    pub fn owner_keys(&self) -> Vec<OwnerKey> {
        let tenant = self.tenant.as_deref().map(OwnerKey::tenant);
        std::iter::once(OwnerKey::user(&self.sub)).chain(tenant).collect()
    }
}
