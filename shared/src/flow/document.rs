use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::OnceLock;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::parse::{MAX_FAULTS, bounded};
use super::{Fault, ObjectId, Role, Schedule, SecretId};
use crate::identity::OwnerKey;
use crate::json::{Tree, are_equal};

/// A member of a JSON object that may be missing, `null`, or a value; a client can tell the three
/// apart, so they are stored apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Field<T> {
    /// The member is not there.
    #[default]
    Absent,
    /// The member is `null`.
    Null,
    /// The member has a value.
    Value(T),
}

impl<T> Field<T> {
    /// Whether the member is missing, so that serde skips it.
    pub const fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// The value, if there is one.
    pub const fn value(&self) -> Option<&T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Null => None,
        }
    }

    /// The same with what `change` makes of the value.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Field<U> {
        match self {
            Self::Absent => Field::Absent,
            Self::Null => Field::Null,
            Self::Value(value) => Field::Value(change(value)),
        }
    }
}

impl<T: Serialize> Serialize for Field<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value().serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Null, Self::Value))
    }
}

/// Any JSON value, kept byte for byte as it was sent. Equal is what has the same value.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Json(pub(super) Box<RawValue>);

impl Json {
    pub(super) fn text(&self) -> &str {
        self.0.get()
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        are_equal(self.0.get(), other.0.get())
    }
}

impl Eq for Json {}

impl Hash for Json {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Tree::read(self.0.get()).ok().hash(state);
    }
}

/// What a client may write of a flow. A value of this type obeys every rule of the contract's
/// "flow document"; it is made only by parsing a body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the contract's table of fields describes them")]
pub struct Document {
    #[serde(default, skip_serializing_if = "Field::is_absent")]
    pub name: Field<String>,
    #[serde(default, skip_serializing_if = "Field::is_absent")]
    pub description: Field<String>,
    pub graph: Graph,
    #[serde(default, rename = "type", skip_serializing_if = "Field::is_absent")]
    pub kind: Field<String>,
    #[serde(default, skip_serializing_if = "Field::is_absent")]
    pub tenant: Field<String>,
    pub owners: Vec<Owner>,
    #[serde(default, skip_serializing_if = "Field::is_absent")]
    pub cron: Field<Schedule>,
    #[serde(default, skip_serializing_if = "Field::is_absent")]
    pub from_template: Field<ObjectId>,
    #[serde(default, skip_serializing_if = "Field::is_absent")]
    pub flow_settings: Field<Json>,
}

/// Which component feeds which.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the contract's table of fields describes them")]
pub struct Graph {
    pub nodes: Vec<Node>,
    pub edges: Field<Vec<Edge>>,
}

/// One step of a flow: a function of a component.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the contract's table of fields describes them")]
pub struct Node {
    pub id: String,
    #[serde(default, skip_serializing_if = "Field::is_absent")]
    pub component_id: Field<ObjectId>,
    #[serde(default, skip_serializing_if = "Field::is_absent")]
    pub function: Field<String>,
    #[serde(default, skip_serializing_if = "Field::is_absent")]
    pub name: Field<String>,
    #[serde(default, skip_serializing_if = "Field::is_absent")]
    pub description: Field<String>,
    #[serde(default, rename = "credentials_id", skip_serializing_if = "Field::is_absent")]
    pub credentials_id: Field<SecretId>,
    #[serde(default, skip_serializing_if = "Field::is_absent")]
    pub fields: Field<Json>,
    #[serde(default, skip_serializing_if = "Field::is_absent")]
    pub node_settings: Field<Json>,
}

/// What one node puts out goes into another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the contract's table of fields describes them")]
pub struct Edge {
    #[serde(default, skip_serializing_if = "Field::is_absent")]
    pub id: Field<String>,
    #[serde(default, skip_serializing_if = "Field::is_absent")]
    pub config: Field<EdgeConfig>,
    pub source: String,
    pub target: String,
}

/// How data passes along an edge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the contract's table of fields describes them")]
pub struct EdgeConfig {
    #[serde(default, skip_serializing_if = "Field::is_absent")]
    pub condition: Field<String>,
    #[serde(default, skip_serializing_if = "Field::is_absent")]
    pub mapper: Field<Json>,
}

/// Somebody who may see the flow, and more by its role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// A user's or a tenant's id.
    pub id: String,
    /// `user` or `tenant`; who is of another type is kept, and may do nothing.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it may do; everything where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
}

impl Edge {
    /// Whether it says where it leads from and to, as every edge does but in a draft.
    pub(super) const fn has_ends(&self) -> bool {
        !self.source.is_empty() && !self.target.is_empty()
    }
}

impl Graph {
    /// The secrets that its nodes use, each once.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = SecretId> + use<> {
        let used: BTreeSet<_> =
            self.nodes.iter().filter_map(|node| node.credentials_id.value()).copied().collect();
        used.into_iter()
    }
}

impl Document {
    /// What the flow lacks to run, in document order; empty when it can be started.
    #[must_use]
    pub fn missing_to_run(&self) -> Vec<Fault> {
        let nodes = self.graph.nodes.iter().enumerate();
        let missing = nodes.flat_map(|(index, node)| node.missing_to_run(&format!("/graph/nodes/{index}")));
        bounded(missing, MAX_FAULTS)
    }
}

/// What the table has of a document.
pub struct Stored {
    /// Its JSON.
    pub json: String,
    /// The same as the table has it.
    pub packed: Vec<u8>,
    /// What [`StoredDocument::tag`] gives, where it was stored.
    pub tag: Option<String>,
    /// Its owners, as [`OwnerKey`]s are written.
    pub owners: Vec<String>,
}

/// A document as a route needs it: to work with, or only to be shown.
pub trait StoredDocument: Sized {
    /// The document that was stored.
    ///
    /// # Errors
    /// When it is none.
    fn read(stored: Stored) -> Result<Self, serde_json::Error>;

    /// Its JSON.
    ///
    /// # Errors
    /// When it cannot be written.
    fn json(&self) -> Result<&str, serde_json::Error>;

    /// The beginning of [`FinalDocument::hash`], 8 characters: enough to tell two states of a flow apart.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    fn tag(&self) -> Result<&str, serde_json::Error>;

    /// Whether this user or tenant is among the owners.
    fn is_owned_by(&self, key: &OwnerKey) -> bool;
}

/// A document that does not change any more, with what was made of it: its JSON, a tag of that, and how the
/// table has it, each once or kept as it was read.
#[derive(Clone, Debug)]
pub struct FinalDocument {
    document: Document,
    json: OnceLock<String>,
    tag: OnceLock<String>,
    packed: OnceLock<Vec<u8>>,
}

impl FinalDocument {
    /// A short name for its JSON, the same for the same text (24 characters of SHA-256 in base64url).
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn hash(&self) -> Result<String, serde_json::Error> {
        Ok(hash(self.json()?))
    }

    /// As the table has it, or is to have it after `pack`.
    ///
    /// # Errors
    /// What `pack` says.
    pub fn packed<E>(&self, pack: impl FnOnce(&Self) -> Result<Vec<u8>, E>) -> Result<&[u8], E> {
        if let Some(packed) = self.packed.get() {
            return Ok(packed);
        }
        let packed = pack(self)?;
        Ok(self.packed.get_or_init(|| packed))
    }
}

impl StoredDocument for FinalDocument {
    fn read(stored: Stored) -> Result<Self, serde_json::Error> {
        Ok(Self {
            document: serde_json::from_str(&stored.json)?,
            json: stored.json.into(),
            tag: stored.tag.map_or_else(OnceLock::new, OnceLock::from),
            packed: stored.packed.into(),
        })
    }

    fn json(&self) -> Result<&str, serde_json::Error> {
        if let Some(json) = self.json.get() {
            return Ok(json);
        }
        let json = serde_json::to_string(&self.document)?;
        Ok(self.json.get_or_init(|| json))
    }

    fn tag(&self) -> Result<&str, serde_json::Error> {
        if let Some(tag) = self.tag.get() {
            return Ok(tag);
        }
        let tag = tag_of(&self.hash()?);
        Ok(self.tag.get_or_init(|| tag))
    }

    fn is_owned_by(&self, key: &OwnerKey) -> bool {
        self.document.is_owned_by(key)
    }
}

/// A document that is only shown: nothing of it was looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct ShownDocument {
    json: String,
    tag: String,
    owners: Vec<String>,
}

impl StoredDocument for ShownDocument {
    fn read(Stored { json, packed: _, tag, owners }: Stored) -> Result<Self, serde_json::Error> {
        Ok(Self { tag: tag.unwrap_or_else(|| tag_of(&hash(&json))), json, owners })
    }

    fn json(&self) -> Result<&str, serde_json::Error> {
        Ok(&self.json)
    }

    fn tag(&self) -> Result<&str, serde_json::Error> {
        Ok(&self.tag)
    }

    fn is_owned_by(&self, key: &OwnerKey) -> bool {
        self.owners.iter().any(|owner| key.is(owner))
    }
}

/// The tag of what has this hash.
pub(crate) fn tag_of(hash: &str) -> String {
    hash.chars().take(8).collect()
}

fn hash(json: &str) -> String {
    let hash = digest(&SHA256, json.as_bytes());
    URL_SAFE_NO_PAD.encode(hash.as_ref().get(..18).unwrap_or_default())
}

impl Deref for FinalDocument {
    type Target = Document;

    fn deref(&self) -> &Document {
        &self.document
    }
}

impl From<Document> for FinalDocument {
    fn from(document: Document) -> Self {
        Self { document, json: OnceLock::new(), tag: OnceLock::new(), packed: OnceLock::new() }
    }
}

impl PartialEq for FinalDocument {
    fn eq(&self, other: &Self) -> bool {
        self.document == other.document
    }
}

impl Node {
    pub(super) fn missing_to_run(&self, pointer: &str) -> impl Iterator<Item = Fault> + use<> {
        let function = self.function.value().is_none_or(String::is_empty).then(|| Fault {
            message: "Flow nodes require a function.".into(),
            reason: "node.function.required",
            pointer: format!("{pointer}/function"),
            help: None,
        });
        let component = self.component_id.value().is_none().then(|| Fault {
            message: "Flow nodes require a componentId.".into(),
            reason: "node.componentId.required",
            pointer: format!("{pointer}/componentId"),
            help: None,
        });
        function.into_iter().chain(component)
    }
}
