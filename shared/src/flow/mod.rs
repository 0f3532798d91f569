//! The domain: what a flow is, which documents are valid, and how a flow runs. It knows nothing of
//! AWS or HTTP.

mod cast;
mod credentials;
mod diff;
mod document;
mod id;
mod lifecycle;
mod ownership;
mod parse;
mod patch;
mod pointer;
mod rules;
mod schedule;
mod time;
mod unknown;
mod view;

pub(crate) use cast::id_text;
pub use credentials::CredentialCheck;
pub use diff::{Difference, json_patch};
pub(crate) use document::tag_of;
pub use document::{
    Document, Edge, EdgeConfig, Field, FinalDocument, Graph, Json, Node, Owner, ShownDocument, Stored,
    StoredDocument,
};
pub use id::{FlowId, InvalidId, ObjectId, SecretId};
pub(crate) use lifecycle::MAX_REPEATS;
pub use lifecycle::{Actor, Deletion, Flow, NoEffect, RunEvent, StartError, Status};
pub use ownership::{EditError, Role};
pub(crate) use parse::MAX_FAULTS;
pub use parse::{
    Checks, ComponentCheck, Fault, Fields, Help, Invalid, MAX_OWNERS, Parsed, bounded, more_faults,
    read_fields, too_large,
};
pub use patch::{Lack, Operation, Patch, PatchError};
pub(crate) use pointer::cut as cut_pointer;
pub use rules::{
    Diagnostic, InvalidLevel, InvalidLevels, Level, NodeIds, RULES, Rule, RuleLevels, rules_page,
};
pub use schedule::Schedule;
pub use time::Timestamp;
pub use view::{FlowView, MAX_ANSWER_BYTES};
