use std::collections::BTreeSet;

/// Passes every check.
const ADMINISTRATOR: &str = "all";

/// What a caller may be allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// See flows.
    Read,
    /// Create, change and delete flows.
    Write,
    /// Start and stop flows.
    Control,
    /// Create or change many flows at once.
    Bulk,
    /// Store secrets.
    WriteSecrets,
    /// Get the values of secrets.
    ReadRawSecrets,
}

impl Permission {
    /// All there are.
    const ALL: [Self; 6] =
        [Self::Read, Self::Write, Self::Control, Self::Bulk, Self::WriteSecrets, Self::ReadRawSecrets];

    /// The names that mean something in a token.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        Self::ALL.into_iter().map(Self::as_str).chain([ADMINISTRATOR])
    }

    /// The name in a token.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "flows.read",
            Self::Write => "flows.write",
            Self::Control => "flows.control",
            Self::Bulk => "flows.bulk",
            Self::WriteSecrets => "secrets.write",
            Self::ReadRawSecrets => "secrets.secret.readRaw",
        }
    }
}

/// Who sent a request, as its verified token says.
#[derive(Clone, PartialEq, Eq)]
pub struct Caller {
    /// The user.
    pub sub: String,
    /// The user's tenant.
    pub tenant: Option<String>,
    permissions: BTreeSet<String>,
}

impl Caller {
    /// A caller with these permissions.
    pub fn new(sub: &str, tenant: Option<&str>, permissions: impl IntoIterator<Item = String>) -> Self {
        Self {
            sub: sub.into(),
            tenant: tenant.map(Into::into),
            permissions: permissions.into_iter().collect(),
        }
    }

    /// Whether the caller has this permission, or all.
    #[must_use]
    pub fn may(&self, permission: Permission) -> bool {
        self.is_admin() || self.permissions.contains(permission.as_str())
    }

    /// Whether the caller sees and may change everything.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.permissions.contains(ADMINISTRATOR)
    }
}
