//! Members of a body that no flow has. They are dropped, as upstream does; but not without a word.

use strsim::osa_distance;

use super::cast::shorten;
use super::cut_pointer;
use super::parse::{Fault, Help, MAX_FAULTS, bounded};
use super::rules::{Level, MAX_OF_RULE};

/// The members of one kind of object.
pub(super) struct Known {
    /// What messages call such objects.
    owner: &'static str,
    /// What a document keeps.
    kept: &'static [&'static str],
    /// What answers and events show, here or upstream, and clients send back.
    shown: &'static [&'static str],
}

pub(super) const FLOW: Known = Known {
    owner: "Flows",
    kept: &[
        "name",
        "description",
        "graph",
        "type",
        "tenant",
        "owners",
        "cron",
        "fromTemplate",
        "flowSettings",
    ],
    shown: &[
        "id",
        "status",
        "createdAt",
        "updatedAt",
        "statusReason",
        "statusSince",
        "runId",
        "startedBy",
        "deletedAt",
        "expiresAt",
        "_id",
        "__v",
    ],
};

pub(super) const GRAPH: Known = Known { owner: "Graphs", kept: &["nodes", "edges"], shown: OF_MONGOOSE };

pub(super) const NODE: Known = Known {
    owner: "Flow nodes",
    kept: &[
        "id",
        "componentId",
        "function",
        "name",
        "description",
        "credentials_id",
        "fields",
        "nodeSettings",
    ],
    shown: OF_MONGOOSE,
};

pub(super) const EDGE: Known =
    Known { owner: "Flow edges", kept: &["source", "target", "config", "id"], shown: OF_MONGOOSE };

pub(super) const EDGE_CONFIG: Known =
    Known { owner: "Configs of edges", kept: &["condition", "mapper"], shown: OF_MONGOOSE };

pub(super) const OWNER: Known =
    Known { owner: "Flow owners", kept: &["id", "type", "role"], shown: OF_MONGOOSE };

/// What upstream's database gives to any object.
const OF_MONGOOSE: &[&str] = &["_id", "__v"];

impl Known {
    pub(super) fn has(&self, name: &str) -> bool {
        self.kept.contains(&name) || self.shown.contains(&name)
    }

    /// What the name may stand for: a third of it may be wrong.
    fn nearest(&self, name: &str) -> Option<&'static str> {
        let near = self.kept.iter().filter(|known| name.len().abs_diff(known.len()) <= known.len() / 3);
        let name = name.to_lowercase();
        let near = near.map(|known| (osa_distance(&name, &known.to_lowercase()), *known));
        near.filter(|(wrong, known)| *wrong <= known.len() / 3).min().map(|(_, known)| known)
    }
}

/// Members that are unknown, as many as are told and one more.
pub(super) struct Unknown {
    level: Level,
    found: Vec<Fault>,
}

impl Default for Unknown {
    /// Of what nobody wants to know.
    fn default() -> Self {
        Self::new(Level::Off)
    }
}

impl Unknown {
    pub(super) const fn new(level: Level) -> Self {
        Self { level, found: Vec::new() }
    }

    const fn most(&self) -> usize {
        match self.level {
            Level::Off | Level::Info => 0,
            Level::Warning => MAX_OF_RULE,
            Level::Error => MAX_FAULTS,
        }
    }

    /// Notes these members of the object at `pointer`.
    pub(super) fn note<'n>(&mut self, pointer: &str, names: impl Iterator<Item = &'n str>, known: &Known) {
        if self.level < Level::Warning {
            return;
        }
        let room = (self.most() + 1).saturating_sub(self.found.len());
        self.found.extend(names.take(room).map(|name| {
            let fix = known.nearest(name).map(|near| format!("Did you mean `{near}`?"));
            Fault {
                message: format!("{} have no member \"{}\".", known.owner, shorten(name)),
                reason: "member.unknown",
                pointer: cut_pointer(&format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1")))
                    .into(),
                help: fix.map(|fix| Box::new(Help { detail: None, fix: Some(fix) })),
            }
        }));
    }

    /// Adds them to the faults of the body where they are errors; otherwise gives them, but if there are more
    /// faults than are told.
    pub(super) fn settle(self, faults: &mut Vec<Fault>) -> Vec<Fault> {
        let most = self.most();
        if self.level == Level::Error {
            faults.extend(self.found);
            return Vec::new();
        }
        if faults.len() > MAX_FAULTS { Vec::new() } else { bounded(self.found, most) }
    }
}
