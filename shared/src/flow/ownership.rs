//! Whose a flow is, what each of them may do with it, and who may change that:
//! docs/adr/0007-owners-roles-stewards.md.

use std::fmt;
use std::mem;

use serde::{Deserialize, Serialize};

use super::document::{Document, Owner};
use super::parse::{Fault, Invalid, MAX_OWNERS, too_many_owners};
use crate::identity::{Caller, OwnerKey, OwnerKind};

/// What an owner may do, each besides what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// See the flow, its versions and their differences.
    Viewer,
    /// Start and stop it.
    Operator,
    /// Change it, and go back to a version.
    Editor,
    /// Delete and restore it, and share it.
    Owner,
}

impl Role {
    /// All names, as messages show them.
    pub(super) const NAMES: &str = "viewer, operator, editor, owner";

    /// The name clients and operators know.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Editor => "editor",
            Self::Owner => "owner",
        }
    }

    /// By the name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        [Self::Viewer, Self::Operator, Self::Editor, Self::Owner]
            .into_iter()
            .find(|role| role.as_str() == name)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a document does not become that of a flow.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EditError {
    /// It would not be valid.
    #[error("the flow is not valid")]
    Invalid(Invalid),
    /// It gives somebody a role that its sender may not give.
    #[error("the sender may not give this role")]
    Role(Vec<Fault>),
}

impl From<Vec<Fault>> for EditError {
    fn from(faults: Vec<Fault>) -> Self {
        Self::Invalid(faults.into())
    }
}

impl From<Invalid> for EditError {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}

impl Owner {
    /// Who it is; none when it is of a type that no token can be of.
    #[must_use]
    pub fn key(&self) -> Option<OwnerKey> {
        Some(OwnerKey { kind: OwnerKind::of(&self.kind)?, id: self.id.clone() })
    }

    fn new(key: OwnerKey, role: Role) -> Self {
        Self { id: key.id, kind: key.kind.as_str().into(), role: None }.with_role(role)
    }

    /// Whether it is this user or tenant.
    fn is(&self, key: &OwnerKey) -> bool {
        self.id == key.id && OwnerKind::of(&self.kind) == Some(key.kind)
    }

    /// Whether it is the same user or tenant.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let kinds = [self, other].map(|owner| OwnerKind::of(&owner.kind));
        self.id == other.id
            && if kinds == [None, None] { self.kind == other.kind } else { kinds[0] == kinds[1] }
    }

    fn role(&self) -> Role {
        self.role.unwrap_or(Role::Owner)
    }

    /// The role is told only where it is another than that of upstream's owners.
    fn with_role(self, role: Role) -> Self {
        Self { role: Some(role).filter(|role| *role != Role::Owner), ..self }
    }

    fn is_foreign_tenant(&self, caller: &Caller) -> bool {
        OwnerKind::of(&self.kind) == Some(OwnerKind::Tenant) && Some(&self.id) != caller.tenant.as_ref()
    }
}

impl Document {
    /// The owners that somebody's token can make him.
    pub(crate) fn owner_keys(&self) -> impl Iterator<Item = OwnerKey> {
        self.owners.iter().filter_map(Owner::key)
    }

    /// Whether this user or tenant is among the owners.
    #[must_use]
    pub fn is_owned_by(&self, key: &OwnerKey) -> bool {
        self.owners.iter().any(|owner| owner.is(key))
    }

    /// What a caller may do: by its own entry or its tenant's, whichever allows more. Those of another
    /// tenant than the flow's change it at most.
    #[must_use]
    pub fn role_of(&self, caller: &Caller) -> Option<Role> {
        if caller.is_admin() {
            return Some(Role::Owner);
        }
        let keys = caller.owner_keys();
        let own = self.owners.iter().filter(|owner| keys.iter().any(|key| owner.is(key)));
        let role = own.map(Owner::role).max()?;
        Some(if self.is_of_tenant(caller) { role } else { role.min(Role::Editor) })
    }

    /// Whether the flow is of the caller's tenant; one without a tenant is of callers without one.
    #[must_use]
    pub fn is_of_tenant(&self, caller: &Caller) -> bool {
        self.tenant.value().filter(|tenant| !tenant.is_empty()) == caller.tenant.as_ref()
    }

    /// Whether the caller may take others off, and make them owners: a user among the owners, of the flow's
    /// tenant, or an administrator.
    fn has_steward(&self, caller: &Caller) -> bool {
        let user = OwnerKey::user(&caller.sub);
        let is_owner = self.owners.iter().any(|owner| owner.is(&user) && owner.role() == Role::Owner);
        caller.is_admin() || is_owner && self.is_of_tenant(caller)
    }

    fn has_owner(&self) -> bool {
        self.owners.iter().any(|owner| owner.role() == Role::Owner && self.may_be_shared_by(owner))
    }

    /// Whether somebody's token can make him this owner, and he may be of the flow's tenant: of which a user
    /// is, nothing here tells.
    fn may_be_shared_by(&self, owner: &Owner) -> bool {
        match owner.key() {
            Some(OwnerKey { kind: OwnerKind::Tenant, id }) => self.tenant.value() == Some(&id),
            key => key.is_some(),
        }
    }

    /// Whether there are owners, and none of them may share the flow.
    pub(super) fn lacks_owner(&self) -> bool {
        !self.owners.is_empty() && !self.has_owner()
    }

    /// Makes the caller and its tenant owners of a new document.
    ///
    /// # Errors
    /// When it names tenants that are not the caller's, or too many owners.
    pub(super) fn give_to(&mut self, caller: &Caller, tenant_role: Role) -> Result<(), Vec<Fault>> {
        let mut faults = Vec::new();
        let user = OwnerKey::user(&caller.sub);
        let mut owners: Vec<Owner> = Vec::new();
        for (index, entry) in mem::take(&mut self.owners).into_iter().enumerate() {
            if owners.iter().any(|owner| owner.is_same(&entry)) {
                continue;
            }
            let is_foreign = entry.is_foreign_tenant(caller);
            if is_foreign && !caller.is_admin() {
                faults.push(foreign_tenant(index));
            }
            let is_own_tenant = entry.key().is_some_and(|key| key.kind == OwnerKind::Tenant) && !is_foreign;
            let role = match entry.role {
                // Who makes a flow can share it.
                _ if entry.is(&user) => Role::Owner,
                Some(role) => role,
                None if is_own_tenant => tenant_role,
                None => Role::Owner,
            };
            owners.push(entry.with_role(role));
        }
        let tenant = caller.tenant.as_deref().map(|tenant| (OwnerKey::tenant(tenant), tenant_role));
        for (key, role) in std::iter::once((user, Role::Owner)).chain(tenant) {
            if !owners.iter().any(|owner| owner.is(&key)) {
                owners.push(Owner::new(key, role));
            }
        }
        self.owners = owners;
        self.check_number(faults)
    }

    /// Takes of the owners that the caller sent what it may decide, of a flow whose document was `before`.
    /// An entry goes or gets a lower role only by a steward, and a sender never by its own document. Gives
    /// what is to be said of entries that stay.
    ///
    /// # Errors
    /// When somebody gets a role that the caller may not give, or is a tenant that it may not name.
    pub(super) fn settle_owners(&mut self, before: &Self, caller: &Caller) -> Result<Vec<Fault>, EditError> {
        let is_steward = before.has_steward(caller);
        let shares = is_steward || before.role_of(caller) == Some(Role::Owner);
        let user = OwnerKey::user(&caller.sub);
        let most = match (is_steward, shares) {
            (true, _) => Some(Role::Owner),
            (false, true) => Some(Role::Editor),
            (false, false) => None,
        };
        let (mut faults, mut raised, mut is_kept) = (Vec::new(), Vec::new(), false);
        let mut owners: Vec<Owner> = Vec::new();
        for (index, entry) in mem::take(&mut self.owners).into_iter().enumerate() {
            if owners.iter().any(|owner| owner.is_same(&entry)) {
                continue;
            }
            let stored = before.owners.iter().find(|owner| owner.is_same(&entry));
            // `user` and `USER` are one type: that is no change.
            let entry = Owner { kind: stored.map_or(entry.kind, |stored| stored.kind.clone()), ..entry };
            let stored = stored.map(Owner::role);
            let mut role = entry.role.or(stored).or(most).unwrap_or(Role::Editor);
            if stored.is_none_or(|stored| role > stored) {
                if most.is_none_or(|most| role > most) {
                    raised.push(not_a_steward(index));
                }
                if stored.is_none() && entry.is_foreign_tenant(caller) && !caller.is_admin() {
                    faults.push(foreign_tenant(index));
                }
            } else if let Some(stored) = stored.filter(|stored| role < *stored)
                && (!is_steward || entry.is(&user))
            {
                role = stored;
                is_kept = true;
            }
            owners.push(entry.with_role(role));
        }
        for stored in &before.owners {
            if !owners.iter().any(|owner| owner.is_same(stored)) && (!is_steward || stored.is(&user)) {
                owners.push(stored.clone());
                is_kept = true;
            }
        }
        self.owners = owners;
        if before.has_owner() && !self.has_owner() {
            // Somebody must be able to share it; an administrator may have been asked to take everybody off.
            for stored in before.owners.iter().filter(|owner| owner.role() == Role::Owner) {
                self.owners.retain(|owner| !owner.is_same(stored));
                self.owners.push(stored.clone());
            }
            is_kept = true;
        }
        // To be kept is no change.
        if is_kept
            && self.owners.len() == before.owners.len()
            && self.owners.iter().all(|owner| before.owners.contains(owner))
        {
            self.owners.clone_from(&before.owners);
        }
        if let Err(mut faults) = self.check_number(faults) {
            faults.extend(raised);
            return Err(faults.into());
        }
        if !raised.is_empty() {
            return Err(EditError::Role(raised));
        }
        Ok(Vec::from_iter(is_kept.then(owners_kept)))
    }

    fn check_number(&self, mut faults: Vec<Fault>) -> Result<(), Vec<Fault>> {
        if self.owners.len() > MAX_OWNERS {
            faults.push(too_many_owners());
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// Takes a user or a tenant off the owners.
    pub(super) fn remove_owner(&mut self, key: &OwnerKey) {
        self.owners.retain(|owner| !owner.is(key));
    }
}

fn foreign_tenant(index: usize) -> Fault {
    Fault {
        message: "Only your own tenant can be made an owner.".into(),
        reason: "owner.tenant.foreign",
        pointer: format!("/owners/{index}/id"),
        help: None,
    }
}

fn not_a_steward(index: usize) -> Fault {
    Fault {
        message: "Only a user of the flow's tenant who is an owner of the flow may give this role.".into(),
        reason: "flow.owners.steward",
        pointer: format!("/owners/{index}"),
        help: None,
    }
}

fn owners_kept() -> Fault {
    Fault {
        message: "Owners that the document leaves out or lowers stay as they are.".into(),
        reason: "flow.owners.kept",
        pointer: "/owners".into(),
        help: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::flow::{ComponentCheck, Fields, Flow};

    fn caller(sub: &str, tenant: Option<&str>) -> Caller {
        Caller::new(sub, tenant, [])
    }

    fn root() -> Caller {
        Caller::new("root", None, ["all".to_owned()])
    }

    fn create(caller: &Caller, body: &Value, tenant_role: Role) -> Result<Flow, Vec<Fault>> {
        let mut flow = json!({"graph": {"nodes": [{"id": "a"}]}});
        flow.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        let text = flow.to_string();
        let fields: Fields<'_> = serde_json::from_str(&text).unwrap();
        Flow::create(caller, fields, ComponentCheck::AtStart, tenant_role).map_err(|invalid| invalid.faults)
    }

    /// A flow of anna's and of acme's.
    fn annas() -> Flow {
        create(&caller("anna", Some("acme")), &json!({}), Role::Owner).unwrap()
    }

    fn patch(flow: &Flow, caller: &Caller, body: &Value) -> Result<Flow, EditError> {
        let text = body.to_string();
        let next = flow.patch(caller, serde_json::from_str(&text).unwrap(), ComponentCheck::AtStart)?;
        Ok(next.unwrap_or_else(|| flow.clone()))
    }

    /// Owners in short: `anna`, `acme*` for a tenant, `bert:editor`.
    fn owners(flow: &Flow) -> Vec<String> {
        let owners = flow.document.owners.iter().map(|owner| {
            let tenant = if owner.key().is_some_and(|key| key.kind == OwnerKind::Tenant) { "*" } else { "" };
            let role = owner.role.map(|role| format!(":{role}")).unwrap_or_default();
            format!("{}{tenant}{role}", owner.id)
        });
        owners.collect()
    }

    fn user(id: &str) -> Value {
        json!({"id": id, "type": "user"})
    }

    fn reasons(error: EditError) -> Vec<(&'static str, String)> {
        let (EditError::Invalid(Invalid { faults, .. }) | EditError::Role(faults)) = error;
        faults.into_iter().map(|fault| (fault.reason, fault.pointer)).collect()
    }

    #[test]
    fn a_colleague_who_edits_becomes_no_owner_and_takes_nobody_off() {
        let (anna, bert) = (caller("anna", Some("acme")), caller("bert", Some("acme")));
        let edited = patch(&annas(), &bert, &json!({"description": "mine"})).unwrap();
        let renamed = patch(&edited, &anna, &json!({"name": "anna's"})).unwrap();
        let emptied = patch(&renamed, &bert, &json!({"owners": []})).unwrap();
        assert_eq!(owners(&emptied), ["anna", "acme*"]);
        assert_eq!((emptied.sequence, emptied.notes.len()), (renamed.sequence, 1), "nothing has changed");
        assert_eq!(emptied.notes[0].reason, "flow.owners.kept");
        // What it may change is changed all the same.
        let named = patch(&renamed, &bert, &json!({"name": "bert's", "owners": [user("bert")]})).unwrap();
        assert_eq!(owners(&named), ["bert:editor", "anna", "acme*"]);
        assert_eq!(named.notes[0].reason, "flow.owners.kept");
        assert_eq!(patch(&named, &bert, &json!({"description": null})).unwrap().notes, []);
    }

    #[test]
    fn an_account_of_another_tenant_takes_nobody_off() {
        let (anna, pia) = (caller("anna", Some("acme")), caller("pia", None));
        let shared = patch(&annas(), &anna, &json!({"owners": [user("anna"), user("pia")]})).unwrap();
        assert_eq!(owners(&shared), ["anna", "pia"], "a steward takes the tenant off");
        assert_eq!(
            shared.document.role_of(&pia),
            Some(Role::Editor),
            "owners of other tenants change at most"
        );
        assert_eq!(owners(&patch(&shared, &pia, &json!({"owners": []})).unwrap()), ["anna", "pia"]);
        let raised = patch(&shared, &pia, &json!({"owners": [user("eve")]})).unwrap_err();
        assert_eq!(reasons(raised), [("flow.owners.steward", "/owners/0".into())]);
    }

    #[test]
    fn nobody_takes_itself_off_by_a_document() {
        let anna = caller("anna", Some("acme"));
        let alone = patch(&annas(), &anna, &json!({"owners": []})).unwrap();
        assert_eq!(owners(&alone), ["anna"]);
        let lowered = json!({"owners": [{"id": "anna", "type": "user", "role": "viewer"}]});
        assert_eq!(owners(&patch(&alone, &anna, &lowered).unwrap()), ["anna"]);
    }

    #[test]
    fn an_administrator_who_edits_becomes_no_owner_and_leaves_one() {
        let edited = patch(&annas(), &root(), &json!({"name": "x"})).unwrap();
        assert_eq!(owners(&edited), ["anna", "acme*"]);
        let given = patch(&edited, &root(), &json!({"owners": [user("bert")]})).unwrap();
        assert_eq!((owners(&given), given.notes.len()), (vec!["bert".to_owned()], 0));
        let emptied = patch(&given, &root(), &json!({"owners": []})).unwrap();
        assert_eq!((owners(&emptied), emptied.notes.len()), (vec!["bert".to_owned()], 1));
        let lowered = json!({"owners": [{"id": "bert", "type": "user", "role": "viewer"}]});
        assert_eq!(owners(&patch(&given, &root(), &lowered).unwrap()), ["bert"]);
    }

    #[test]
    fn a_flow_that_is_nobodys_is_given_away_with_its_reason() {
        let mut flow = annas().without_owner(&OwnerKey::user("anna")).unwrap();
        flow = flow.without_owner(&OwnerKey::tenant("acme")).unwrap();
        flow.status_reason = Some("The last owner of the flow was deleted.".into());
        let renamed = patch(&flow, &root(), &json!({"name": "x"})).unwrap();
        assert_eq!((owners(&renamed).len(), renamed.status_reason.is_some()), (0, true));
        let mended = patch(&renamed, &root(), &json!({"owners": [user("bert")]})).unwrap();
        assert_eq!((owners(&mended), mended.status_reason), (vec!["bert".to_owned()], None));
    }

    #[test]
    fn roles_are_given_and_taken_by_who_may() {
        let (anna, bert) = (caller("anna", Some("acme")), caller("bert", Some("acme")));
        let with = |role: &str| json!({"owners": [{"id": "carl", "type": "user", "role": role}]});
        for (role, steward, peer) in
            [("viewer", true, true), ("operator", true, true), ("editor", true, true), ("owner", true, false)]
        {
            assert_eq!(patch(&annas(), &anna, &with(role)).is_ok(), steward, "{role}");
            assert_eq!(patch(&annas(), &bert, &with(role)).is_ok(), peer, "{role}");
        }
        let viewed = patch(&annas(), &anna, &with("viewer")).unwrap();
        assert_eq!(owners(&viewed), ["carl:viewer", "anna"]);
        // An entry that does not say its role keeps it.
        assert_eq!(
            owners(&patch(&viewed, &anna, &json!({"owners": [user("carl")]})).unwrap())[0],
            "carl:viewer"
        );
        let carl = caller("carl", Some("acme"));
        assert_eq!(viewed.document.role_of(&carl), Some(Role::Viewer));
        let raised = reasons(patch(&viewed, &carl, &with("editor")).unwrap_err());
        assert_eq!(raised, [("flow.owners.steward", "/owners/0".into())]);
        let lowered =
            patch(&annas(), &bert, &json!({"owners": [{"id": "acme", "type": "tenant", "role": "viewer"}]}));
        assert_eq!(owners(&lowered.unwrap()), ["anna", "acme*"], "only by a steward");
        let lowered =
            patch(&annas(), &anna, &json!({"owners": [{"id": "acme", "type": "tenant", "role": "viewer"}]}));
        assert_eq!(owners(&lowered.unwrap()), ["acme*:viewer", "anna"]);
    }

    #[test]
    fn the_higher_role_counts_and_types_are_no_names() {
        let body = json!({"owners": [
            {"id": "bert", "type": "USER", "role": "viewer"}, {"id": "acme", "type": "user"}, {"id": "x", "type": "group"},
        ]});
        let flow = create(&caller("anna", Some("acme")), &body, Role::Operator).unwrap();
        assert_eq!(owners(&flow), ["bert:viewer", "acme", "x", "anna", "acme*:operator"]);
        for (sub, tenant, role) in [
            ("anna", Some("acme"), Some(Role::Owner)),
            ("anna", None, Some(Role::Editor)),
            ("bert", Some("acme"), Some(Role::Operator)),
            ("bert", Some("globex"), Some(Role::Viewer)),
            ("acme", Some("globex"), Some(Role::Editor)),
            ("x", Some("group"), None),
            ("eve", Some("anna"), None),
            ("vera", Some("acme"), Some(Role::Operator)),
        ] {
            assert_eq!(flow.document.role_of(&caller(sub, tenant)), role, "{sub} of {tenant:?}");
        }
    }

    #[test]
    fn a_stranger_plants_no_flow() {
        let eve = caller("eve", Some("globex"));
        let planted = json!({"owners": [user("anna"), {"id": "acme", "type": "tenant"}]});
        let faults = create(&eve, &planted, Role::Owner).unwrap_err();
        assert_eq!((faults[0].reason, faults[0].pointer.as_str()), ("owner.tenant.foreign", "/owners/1/id"));
        let own = create(&eve, &json!({}), Role::Owner).unwrap();
        let refused = reasons(patch(&own, &eve, &planted).unwrap_err());
        assert_eq!(refused, [("owner.tenant.foreign", "/owners/1/id".into())]);
        assert!(create(&root(), &planted, Role::Owner).is_ok());
    }

    #[test]
    fn a_double_counts_once_and_pointers_lead_into_the_body() {
        let eve = caller("eve", Some("globex"));
        let doubled = json!({"owners": [user("eve"), {"id": "eve", "type": "USER"}, user("eve"), {"id": "acme", "type": "tenant"}]});
        assert_eq!(create(&eve, &doubled, Role::Owner).unwrap_err()[0].pointer, "/owners/3/id");
        let body = json!({"owners": [user("bert"), user("bert")]});
        let flow = create(&eve, &body, Role::Owner).unwrap();
        assert_eq!(owners(&flow), ["bert", "eve", "globex*"]);
        let many = vec![user("bert"); MAX_OWNERS + 1];
        assert_eq!(owners(&create(&eve, &json!({"owners": many}), Role::Owner).unwrap()), owners(&flow));
        let again = json!({"owners": [{"id": "bert", "type": "USER"}, user("eve"), {"id": "globex", "type": "tenant"}]});
        assert_eq!(patch(&flow, &eve, &again).unwrap(), flow, "it is one type");
    }
}
