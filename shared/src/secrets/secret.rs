use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::read::Reader;
use super::value::TooLarge;
use super::{SecretError, SecretType, SecretValue};
use crate::flow::{
    Actor, Fault, Field, Fields, MAX_OWNERS, ObjectId, SecretId, Timestamp, bounded, read_fields,
};
use crate::identity::{Caller, OwnerKey};
use crate::json::Tree;

/// Faults reported of one body.
const MAX_FAULTS: usize = 100;

/// Whether an owner is a user or a tenant. Unlike those of flows, owners of secrets are told apart by
/// it: nobody can put a secret into the list of a tenant by calling it a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum OwnerType {
    /// A user.
    User,
    /// A tenant, and so each of its users.
    Tenant,
}

/// Somebody who may see, use and change a secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SecretOwner {
    /// A user's or a tenant's id.
    pub id: String,
    /// Which of the two.
    #[serde(rename = "type")]
    pub kind: OwnerType,
}

impl SecretOwner {
    /// The owners that make a secret this user's: itself, and its tenant.
    #[must_use]
    pub fn of(user: &str, tenant: Option<&str>) -> Vec<Self> {
        let tenant = tenant.map(|id| Self { id: id.into(), kind: OwnerType::Tenant });
        std::iter::once(Self { id: user.into(), kind: OwnerType::User }).chain(tenant).collect()
    }

    /// The owner in one text.
    pub(crate) fn key(&self) -> String {
        let kind = match self.kind {
            OwnerType::User => "USER",
            OwnerType::Tenant => "TENANT",
        };
        format!("{kind}#{}", self.id)
    }
}

impl From<&SecretOwner> for OwnerKey {
    fn from(owner: &SecretOwner) -> Self {
        match owner.kind {
            OwnerType::User => Self::user(&owner.id),
            OwnerType::Tenant => Self::tenant(&owner.id),
        }
    }
}

impl From<&Caller> for Vec<SecretOwner> {
    fn from(caller: &Caller) -> Self {
        SecretOwner::of(&caller.sub, caller.tenant.as_deref())
    }
}

/// All of a secret but its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Secret {
    /// Its name for ever.
    pub id: SecretId,
    /// For people.
    pub name: String,
    /// What its value consists of.
    #[serde(rename = "type")]
    pub kind: SecretType,
    /// Where the credentials are good; free text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Who may see, use and change it.
    pub owners: Vec<SecretOwner>,
    /// Which version of the value is the one that counts.
    pub version: ObjectId,
    /// Which one did before, if there was another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<ObjectId>,
    /// Counts all changes, from 1.
    pub sequence: u64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Who changed it last.
    pub actor: Actor,
}

/// What a body says of a secret.
struct Draft<'a> {
    name: Field<String>,
    kind: Option<SecretType>,
    domain: Field<String>,
    /// Each once, with its place in the body.
    owners: Option<Vec<(String, SecretOwner)>>,
    value: Option<&'a RawValue>,
    /// Where in the body all this is.
    pointer: &'static str,
    faults: Vec<Fault>,
}

impl<'a> Draft<'a> {
    /// Reads a body, bare or in `data` as some of upstream's clients send it. Unknown members are dropped.
    fn read(fields: Fields<'a>) -> Self {
        let wrapped = fields.get("data").and_then(|data| read_fields(data));
        let pointer = if wrapped.is_some() { "/data" } else { "" };
        let mut faults = Vec::new();
        let mut reader =
            Reader { fields: wrapped.unwrap_or(fields), pointer: pointer.into(), faults: &mut faults };
        let name = reader.text("name");
        if matches!(name, Field::Null) || name.value().is_some_and(|name| name.trim().is_empty()) {
            reader.fault("name", "secret.name.required", "Secrets require a name.");
        }
        let kind = reader.raw("type").and_then(|kind| {
            let kind = serde_json::from_str(kind.get()).ok();
            if kind.is_none() {
                reader.fault(
                    "type",
                    "secret.type.unknown",
                    format!("Secrets have one of these types: {}.", SecretType::NAMES),
                );
            }
            kind
        });
        let domain = reader.text("domain");
        let owners = read_owners(&mut reader);
        let value = reader.raw("value");
        Self { name, kind, domain, owners, value, pointer, faults }
    }

    fn fault(&mut self, member: &str, reason: &'static str, message: &str) {
        let pointer = format!("{}/{member}", self.pointer);
        self.faults.push(Fault { message: message.into(), reason, pointer, help: None });
    }

    fn require(&mut self, member: &'static str, is_there: bool, reason: &'static str) {
        let pointer = format!("{}/{member}", self.pointer);
        if !is_there && self.faults.iter().all(|fault| fault.pointer != pointer) {
            self.fault(member, reason, &format!("Secrets require a {member}."));
        }
    }

    /// The owners that the body names. Tenants among them must be the caller's or have been there: nobody
    /// puts secrets into the list of another tenant.
    fn owners(&mut self, caller: &Caller, before: &[SecretOwner]) -> Option<Vec<SecretOwner>> {
        let owners = self.owners.take()?;
        for (place, owner) in &owners {
            if owner.kind == OwnerType::Tenant
                && Some(owner.id.as_str()) != caller.tenant.as_deref()
                && !before.contains(owner)
            {
                self.fault(&format!("{place}/id"), "owner.tenant.foreign", "Owners is not valid");
            }
        }
        Some(owners.into_iter().map(|(_, owner)| owner).collect())
    }

    /// The owners as they are to be must not be too many.
    fn check_count(&mut self, owners: &[SecretOwner]) {
        if owners.len() > MAX_OWNERS {
            let message = format!("Secrets can have at most {MAX_OWNERS} owners.");
            self.fault("owners", "secret.owners.too_many", &message);
        }
    }

    fn invalid(self) -> SecretError {
        SecretError::Invalid(bounded(self.faults, MAX_FAULTS))
    }

    fn value(
        &mut self,
        kind: SecretType,
        raw: &RawValue,
        stored: Option<&SecretValue>,
    ) -> Result<SecretValue, SecretError> {
        let pointer = format!("{}/value", self.pointer);
        let value = SecretValue::parse(kind, raw, stored, &pointer, &mut self.faults);
        value.map_err(|TooLarge| SecretError::TooLarge)
    }
}

fn read_owners(reader: &mut Reader<'_, '_>) -> Option<Vec<(String, SecretOwner)>> {
    let elements = reader.elements("owners")?;
    let mut owners: Vec<(String, SecretOwner)> = Vec::new();
    for (index, raw) in elements.into_iter().enumerate() {
        // The body is refused, whatever else is in it.
        if owners.len() > MAX_OWNERS || reader.faults.len() > MAX_FAULTS {
            break;
        }
        let place = format!("owners/{index}");
        let Some(mut owner) = reader.element(&place, raw) else { continue };
        let kind = match owner.text("type").value().map(|kind| kind.to_ascii_uppercase()).as_deref() {
            Some("USER") => Some(OwnerType::User),
            Some("TENANT") => Some(OwnerType::Tenant),
            _ => None,
        };
        if kind.is_none() {
            owner.fault("type", "owner.type.unknown", "Owners have one of these types: USER, TENANT.");
        }
        let id = owner.text("id").value().cloned().unwrap_or_default();
        if id.is_empty() {
            owner.fault("id", "owner.id.required", "Secret owners require an id.");
        }
        if let Some(kind) = kind {
            let owner = SecretOwner { id, kind };
            if owners.iter().all(|(_, other)| *other != owner) {
                owners.push((place, owner));
            }
        }
    }
    Some(owners)
}

impl Secret {
    /// A new secret from the members of a body, with its value. The caller becomes its first owner.
    ///
    /// # Errors
    /// All faults of the body, or that the value is too large.
    pub fn create(caller: &Caller, fields: Fields<'_>) -> Result<(Self, SecretValue), SecretError> {
        let mut draft = Draft::read(fields);
        let mut owners = draft.owners(caller, &[]).unwrap_or_default();
        let first = SecretOwner { id: caller.sub.clone(), kind: OwnerType::User };
        owners.retain(|owner| *owner != first);
        owners.insert(0, first);
        draft.check_count(&owners);
        draft.require("name", draft.name.value().is_some(), "secret.name.required");
        draft.require("type", draft.kind.is_some(), "secret.type.required");
        draft.require("value", draft.value.is_some(), "secret.value.required");
        let value = match (draft.kind, draft.value) {
            (Some(kind), Some(raw)) => Some((kind, draft.value(kind, raw, None)?)),
            _ => None,
        };
        let (Field::Value(name), Some((kind, value)), true) = (&draft.name, value, draft.faults.is_empty())
        else {
            return Err(draft.invalid());
        };
        let id = SecretId::generate();
        let now = id.timestamp();
        let secret = Self {
            id,
            name: name.clone(),
            kind,
            domain: draft.domain.value().cloned(),
            owners,
            version: ObjectId::generate(),
            previous: None,
            sequence: 1,
            created_at: now,
            updated_at: now,
            actor: caller.into(),
        };
        Ok((secret, value))
    }

    /// The secret after the members of `fields` have replaced its own, with its value; `None` when
    /// that changes nothing. A changed value is a new version.
    ///
    /// # Errors
    /// All faults of the secret as it would be, or that the caller may not change its owners.
    pub(super) fn patch(
        &self,
        caller: &Caller,
        fields: Fields<'_>,
        stored: &SecretValue,
    ) -> Result<Option<(Self, SecretValue)>, SecretError> {
        let mut draft = Draft::read(fields);
        let mut owners = draft.owners(caller, &self.owners);
        if let Some(owners) = &mut owners {
            let own: Vec<SecretOwner> = caller.into();
            if !owners.iter().any(|owner| own.contains(owner)) {
                // A change cannot leave the caller's side without an owner.
                owners.extend(own.iter().find(|owner| self.owners.contains(owner)).cloned());
            }
            draft.check_count(owners);
        }
        let kind = draft.kind.unwrap_or(self.kind);
        let value = match draft.value {
            Some(raw) => draft.value(kind, raw, Some(stored))?,
            None if kind == self.kind => stored.clone(),
            None => {
                // Another type needs a value of its own.
                draft.require("value", false, "secret.value.required");
                stored.clone()
            }
        };
        if !draft.faults.is_empty() {
            return Err(draft.invalid());
        }
        let mut next = Self { kind, ..self.clone() };
        if let Field::Value(name) = draft.name {
            next.name = name;
        }
        match draft.domain {
            Field::Absent => {}
            domain => next.domain = domain.value().cloned(),
        }
        if let Some(owners) = owners {
            let sorted = |owners: &[SecretOwner]| {
                let mut owners = owners.to_vec();
                owners.sort_unstable();
                owners
            };
            if sorted(&owners) != sorted(&self.owners) {
                // A colleague who has it through the tenant could take it away from everybody else.
                if !self.owners.iter().any(|owner| owner.kind == OwnerType::User && owner.id == caller.sub) {
                    return Err(SecretError::OwnersOfOthers);
                }
                next.owners = owners;
            }
        }
        if value != *stored {
            next.previous = Some(self.version);
            next.version = ObjectId::generate();
        }
        if next == *self {
            return Ok(None);
        }
        Ok(Some((next.changed_by(caller.into()), value)))
    }

    /// The secret without this owner; `None` when it is not one. It may be the last one.
    #[must_use]
    pub fn without_owner(&self, owner: &SecretOwner) -> Option<Self> {
        if !self.owners.contains(owner) {
            return None;
        }
        let mut next = self.clone().changed_by(Actor::platform());
        next.owners.retain(|other| other != owner);
        Some(next)
    }

    /// Whether one of these is among the owners.
    #[must_use]
    pub fn is_owned_by(&self, owners: &[SecretOwner]) -> bool {
        self.owners.iter().any(|owner| owners.contains(owner))
    }

    fn changed_by(mut self, actor: Actor) -> Self {
        self.sequence += 1;
        // Another sandbox's clock may be ahead.
        self.updated_at = self.updated_at.max(Timestamp::now());
        self.actor = actor;
        self
    }
}

/// A secret as clients see it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretView<'a> {
    #[serde(rename = "_id")]
    upstream_id: SecretId,
    id: SecretId,
    name: &'a str,
    #[serde(rename = "type")]
    kind: SecretType,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<&'a str>,
    owners: &'a [SecretOwner],
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Tree>,
    created_at: String,
    updated_at: String,
}

impl<'a> SecretView<'a> {
    /// With this of its value, if anything.
    #[must_use]
    pub fn new(secret: &'a Secret, value: Option<Tree>) -> Self {
        Self {
            upstream_id: secret.id,
            id: secret.id,
            name: &secret.name,
            kind: secret.kind,
            domain: secret.domain.as_deref(),
            owners: &secret.owners,
            value,
            created_at: secret.created_at.to_string(),
            updated_at: secret.updated_at.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn caller(sub: &str, tenant: &str) -> Caller {
        Caller::new(sub, Some(tenant).filter(|tenant| !tenant.is_empty()), [])
    }

    fn simple(more: &Value) -> Value {
        let mut body = json!({"name": "db", "type": "SIMPLE", "value": {"username": "u", "passphrase": "p"}});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    }

    fn create(caller: &Caller, body: &Value) -> Result<(Secret, SecretValue), SecretError> {
        Secret::create(caller, serde_json::from_str(&body.to_string()).unwrap())
    }

    fn patch(
        caller: &Caller,
        (secret, value): &(Secret, SecretValue),
        body: &Value,
    ) -> Result<Option<(Secret, SecretValue)>, SecretError> {
        secret.patch(caller, serde_json::from_str(&body.to_string()).unwrap(), value)
    }

    fn owners(secret: &Secret) -> Vec<String> {
        secret.owners.iter().map(SecretOwner::key).collect()
    }

    fn faults(result: Result<impl Sized, SecretError>) -> Vec<(String, &'static str)> {
        let Err(SecretError::Invalid(faults)) = result else { panic!("no faults") };
        faults.into_iter().map(|fault| (fault.pointer, fault.reason)).collect()
    }

    #[test]
    fn a_body_may_be_wrapped_and_pointers_say_so() {
        let anna = caller("anna", "acme");
        let (bare, _) = create(&anna, &simple(&json!({"domain": "d"}))).unwrap();
        let (wrapped, _) = create(&anna, &json!({"data": simple(&json!({}))})).unwrap();
        assert_eq!((bare.name.as_str(), wrapped.name.as_str()), ("db", "db"));
        assert_eq!(
            faults(create(&anna, &json!({"data": {"type": "X", "value": {}}}))),
            [("/data/type".into(), "secret.type.unknown"), ("/data/name".into(), "secret.name.required")]
        );
        assert_eq!(
            faults(create(&anna, &json!({}))),
            [
                ("/name".into(), "secret.name.required"),
                ("/type".into(), "secret.type.required"),
                ("/value".into(), "secret.value.required")
            ]
        );
    }

    #[test]
    fn a_secret_is_its_creators_until_it_is_shared() {
        let anna = caller("anna", "acme");
        assert_eq!(owners(&create(&anna, &simple(&json!({}))).unwrap().0), ["USER#anna"]);
        let shared =
            simple(&json!({"owners": [{"id": "acme", "type": "tenant"}, {"id": "bert", "type": "USER"}]}));
        assert_eq!(owners(&create(&anna, &shared).unwrap().0), ["USER#anna", "TENANT#acme", "USER#bert"]);
        for (bad, place, reason) in [
            (json!([{"id": "globex", "type": "TENANT"}]), "/owners/0/id", "owner.tenant.foreign"),
            (json!([{"id": "globex", "type": "Tenant"}]), "/owners/0/id", "owner.tenant.foreign"),
            (json!([{"id": "globex", "type": "group"}]), "/owners/0/type", "owner.type.unknown"),
            (json!([{"type": "USER"}]), "/owners/0/id", "owner.id.required"),
        ] {
            assert_eq!(faults(create(&anna, &simple(&json!({"owners": bad})))), [(place.into(), reason)]);
        }
    }

    #[test]
    fn only_a_user_among_the_owners_changes_them_and_stays_one() {
        let (anna, bert) = (caller("anna", "acme"), caller("bert", "acme"));
        let secret = create(&anna, &simple(&json!({"owners": [{"id": "acme", "type": "TENANT"}]}))).unwrap();
        let seizure = json!({"owners": [{"id": "bert", "type": "USER"}]});
        assert!(matches!(patch(&bert, &secret, &seizure), Err(SecretError::OwnersOfOthers)));
        let same = json!({"name": "new", "owners": [{"id": "acme", "type": "TENANT"}, {"id": "anna", "type": "USER"}]});
        assert_eq!(patch(&bert, &secret, &same).unwrap().unwrap().0.name, "new");
        let given = patch(&anna, &secret, &seizure).unwrap().unwrap();
        assert_eq!(owners(&given.0), ["USER#bert", "USER#anna"]);
        let none = patch(&anna, &secret, &json!({"owners": []})).unwrap().unwrap();
        assert_eq!(owners(&none.0), ["USER#anna"]);
        let to_tenant = patch(&anna, &secret, &json!({"owners": [{"id": "acme", "type": "TENANT"}]}));
        assert_eq!(owners(&to_tenant.unwrap().unwrap().0), ["TENANT#acme"]);
    }

    #[test]
    fn only_another_value_is_another_version() {
        let anna = caller("anna", "");
        let secret = create(&anna, &simple(&json!({}))).unwrap();
        let version = |body| patch(&anna, &secret, &body).unwrap().map(|(next, _)| next.version);
        assert_eq!(version(json!({"name": "other"})), Some(secret.0.version));
        assert_eq!(version(json!({"domain": null, "type": "SIMPLE", "name": "db"})), None);
        assert_eq!(version(json!({"value": {"username": "u", "passphrase": "***"}})), None);
        let changed = version(json!({"value": {"username": "u", "passphrase": "new"}}));
        assert!(changed.is_some_and(|version| version != secret.0.version));
        assert_eq!(
            faults(patch(&anna, &secret, &json!({"type": "MIXED"}))),
            [("/value".into(), "secret.value.required")]
        );
        assert_eq!(
            faults(patch(&anna, &secret, &json!({"name": null}))),
            [("/name".into(), "secret.name.required")]
        );
    }

    #[test]
    fn times_never_fall() {
        let anna = caller("anna", "acme");
        let mut secret =
            create(&anna, &simple(&json!({"owners": [{"id": "acme", "type": "TENANT"}]}))).unwrap();
        // By the clock of another sandbox.
        let ahead = Timestamp::now().plus(std::time::Duration::from_mins(1));
        secret.0.updated_at = ahead;
        let (patched, _) = patch(&anna, &secret, &json!({"name": "other"})).unwrap().unwrap();
        let left = secret.0.without_owner(&secret.0.owners[0]).unwrap();
        assert_eq!((patched.updated_at, left.updated_at), (ahead, ahead));
    }
}
