//! How many real flows fit one write unit, as `tests/bench/real-flows` has measured.

use std::fmt::Write;
use std::path::Path;

use serde::Deserialize;

use crate::http::Error;

const FILE: &str = "tests/bench/real-flows.json";

/// All that was measured.
#[derive(Deserialize)]
struct RealFlows {
    /// Of the head of a flow that was just created.
    beside_the_document: usize,
    classes: Vec<Class>,
    rows: Vec<Row>,
}

/// Flows of about the same size, in KB.
#[derive(Deserialize)]
struct Class {
    from: usize,
    to: usize,
    flows: usize,
}

/// What one way of compressing makes of each class.
#[derive(Deserialize)]
struct Row {
    name: String,
    /// Bytes of the document.
    median: Vec<usize>,
    /// Which part of the heads takes one unit.
    one_unit: Vec<f64>,
}

/// What performance.md says of them.
pub(crate) fn section(root: &Path) -> Result<String, Error> {
    let RealFlows { beside_the_document, classes, rows } =
        serde_json::from_slice(&std::fs::read(root.join(FILE))?)?;
    let mut section = format!(
        "\n## Real flows\n\nWhat others have published, as documents: the median of what they take \
         compressed, and how many heads take\none write unit when they have just been created, which is {beside_the_document} bytes and the document. \
         Measured by `tests/bench/real-flows`; the flow of 4 KB is made to pack as they do, and neither `dictionary` nor what zstd's\ntrainer has made knows a flow of the same repository, and \
         functions have no level above 4 ([ADR 0020](adr/0020-dictionary.md)).\n\n|"
    );
    for Class { from, to, flows } in &classes {
        write!(section, " | {from} – {to} KB ({flows})")?;
    }
    writeln!(section, " |\n|---{}|", "|---".repeat(classes.len()))?;
    for Row { name, median, one_unit } in &rows {
        write!(section, "| {name}")?;
        for (median, share) in median.iter().zip(one_unit) {
            write!(section, " | {median} bytes, {:.0} %", share * 100.0)?;
        }
        section += " |\n";
    }
    Ok(section)
}
